//! `vestibule health`: asks a running gateway whether it is ready; for a container's HEALTHCHECK.

pub(super) mod tls;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::exit::Exit;
use crate::config::Config;

/// A gateway that takes longer is not healthy.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask a running gateway whether it is ready.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Where its HTTP interface listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", conflicts_with = "config")]
    http: SocketAddr,
    /// The gateway's configuration, which says where.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Health {
    /// Succeeds where `/readyz` says so.
    pub(super) fn execute(mut self) -> Result<(), Exit> {
        let mut certificate = None;
        if let Some(file) = &self.config {
            let http = Config::load(file)?.http;
            self.http = http.listen;
            certificate = http.tls.map(|tls| tls.certificate);
            if self.http.ip().is_unspecified() {
                self.http.set_ip(Ipv4Addr::LOCALHOST.into());
            }
        }
        let status = self
            .ask(certificate.as_deref())
            .map_err(|error| Exit::unavailable(format!("no gateway answers at {}: {error}", self.http)))?;
        if status.starts_with("HTTP/1.1 200 ") {
            return Ok(());
        }
        Err(Exit::unavailable(format!("the gateway at {} is not ready: {}", self.http, status.trim())))
    }

    fn ask(&self, certificate: Option<&Path>) -> std::io::Result<String> {
        let stream = TcpStream::connect_timeout(&self.http, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        match certificate {
            Some(certificate) => self.ask_on(tls::wrap(stream, self.http, certificate)?),
            None => self.ask_on(stream),
        }
    }

    fn ask_on(&self, mut stream: impl Read + Write) -> std::io::Result<String> {
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http)?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer)?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }
}
