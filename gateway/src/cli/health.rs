//! `vestibule health`: asks a running gateway whether it is ready; for a container's HEALTHCHECK.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::door::{Key, Place};
use super::exit::Exit;
use crate::config::Config;

/// A gateway that takes longer is not healthy.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask a running gateway whether it is ready.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Where its HTTP interface listens, `HOST:PORT` or `https://HOST:PORT`; 127.0.0.1:8080 where nobody says.
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    http: Option<Place>,
    /// File with the certificates of those who have issued the gateway's (PEM), for `https://`.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    ca: Option<PathBuf>,
    /// The gateway's configuration, which says where.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Health {
    /// Succeeds where `/readyz` says so.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let config = self.config.as_deref().map(Config::load).transpose()?;
        let key = Key { http: self.http, ca: self.ca, ..Key::default() };
        let door = key.door_without_token(config.as_ref())?;
        let answer = door.ask("GET", "/readyz", None, TIMEOUT)?;
        if answer.is_good() {
            return Ok(());
        }
        Err(Exit::unavailable(format!("the gateway at {} is not ready: {}", door.place, answer.status)))
    }
}
