//! `vestibule check`: whether a configuration would run.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::exit::Exit;
use super::store::is_running;
use crate::config::{Config, Fault, Faults};
use crate::forward;
use crate::gateway::{Survey, survey};

/// How long the broker may take to take a connection.
const BROKER_TIMEOUT: Duration = Duration::from_secs(5);

/// Check a configuration, and what it needs of this machine.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Check the file alone: not the data folder, plugins, ports, certificates or the broker.
    #[arg(long)]
    no_environment: bool,
}

impl Check {
    /// Says everything that is wrong, or that nothing is; what may be wrong besides.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let config = Config::load(&self.config)?;
        let Survey { mut faults, doubts } = match self.no_environment {
            true => Survey::default(),
            false => survey(&config, is_running(&config.log.dir)),
        };
        if !self.no_environment {
            let mut note = |path: &str, reason| faults.push(Fault { path: path.to_owned(), reason });
            writable(&config.log.dir).into_iter().for_each(|reason| note("log.dir", reason));
            crate::log::cramped(&config.log).into_iter().for_each(|reason| note("log.dir", reason));
            let brokers = config.forward.iter().flat_map(forward::Config::addresses);
            let silent = brokers.filter_map(|at| reachable(&at.host, at.port));
            silent.for_each(|reason| note("forward", reason));
        }
        for doubt in doubts {
            writeln!(std::io::stderr(), "warning: {}", Faults(vec![doubt]))
                .map_err(|error| Exit::io(error.to_string()))?;
        }
        if faults.is_empty() {
            writeln!(std::io::stdout(), "{}: good", self.config.display()).map_err(|error| Exit::io(error.to_string()))
        } else {
            Err(Exit::unavailable(Faults(faults).to_string()))
        }
    }
}

fn writable(dir: &Path) -> Option<String> {
    let probe = std::fs::create_dir_all(dir).and_then(|()| tempfile::tempfile_in(dir));
    probe.err().map(|error| format!("{} cannot be written: {error}", dir.display()))
}

fn reachable(host: &str, port: u16) -> Option<String> {
    let addresses = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => return Some(format!("`{host}` is not found: {error}")),
    };
    let reached = addresses.iter().any(|address| TcpStream::connect_timeout(address, BROKER_TIMEOUT).is_ok());
    (!reached).then(|| format!("nothing answers at {host}:{port}"))
}
