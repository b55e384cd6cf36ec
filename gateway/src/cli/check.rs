//! `vestibule check`: whether a configuration would run.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::exit::Exit;
use crate::auth;
use crate::config::Config;

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
    /// Says everything that is wrong, or that nothing is.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let config = Config::load(&self.config)?;
        let mut faults = Vec::new();
        if !self.no_environment {
            faults.extend(writable(&config.log.dir).map(|fault| format!("log.dir: {fault}")));
            if let Some(path) = &config.auth.tokens {
                faults.extend(auth::read(path).err().map(|fault| format!("auth.tokens: {fault}")));
            }
            if let Some(tls) = &config.http.tls {
                faults.extend(tls.check().err().map(|fault| format!("http.tls: {fault}")));
            }
            faults.extend(config.rules.unloadable().into_iter().map(|fault| format!("rules.dir: {fault}")));
            faults.extend(taken(config.http.listen).map(|fault| format!("http.listen: {fault}")));
            for terminal in &config.terminal {
                for path in terminal.link.iter().filter_map(|link| link.serial.as_ref()).filter(|path| !path.exists()) {
                    faults.push(format!("terminal `{}`: {} is not there", terminal.name, path.display()));
                }
            }
            for terminal in &config.terminal {
                for link in &terminal.link {
                    let fault = |fault| format!("terminal `{}`, link `{}`: tls: {fault}", terminal.name, link.name);
                    faults.extend(link.file_faults().into_iter().map(fault));
                }
            }
            for listener in &config.listener {
                let fault = |fault| format!("listener `{}`: tls: {fault}", listener.name);
                faults.extend(listener.file_faults().into_iter().map(fault));
            }
            if let Some(forward) = &config.forward {
                faults.extend(forward.unreadable().into_iter().map(|(key, fault)| format!("forward.{key}: {fault}")));
                let addresses = forward.addresses();
                let silent = addresses.iter().filter_map(|at| reachable(&at.host, at.port));
                faults.extend(silent.map(|fault| format!("forward: {fault}")));
            }
        }
        if faults.is_empty() {
            writeln!(std::io::stdout(), "{}: good", self.config.display()).map_err(|error| Exit::io(error.to_string()))
        } else {
            Err(Exit::unavailable(faults.join("\n")))
        }
    }
}

fn writable(dir: &Path) -> Option<String> {
    let probe = std::fs::create_dir_all(dir).and_then(|()| tempfile::tempfile_in(dir));
    probe.err().map(|error| format!("{} cannot be written: {error}", dir.display()))
}

/// Why this address cannot be listened on, unless it is because a gateway that runs does so already.
fn taken(address: SocketAddr) -> Option<String> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() != ErrorKind::AddrInUse => Some(format!("cannot listen on {address}: {error}")),
        _ => None,
    }
}

fn reachable(host: &str, port: u16) -> Option<String> {
    let addresses = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => return Some(format!("`{host}` is not found: {error}")),
    };
    let reached = addresses.iter().any(|address| TcpStream::connect_timeout(address, BROKER_TIMEOUT).is_ok());
    (!reached).then(|| format!("nothing answers at {host}:{port}"))
}
