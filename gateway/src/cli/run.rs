//! `vestibule run`: the gateway, until it is told to stop.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Exit;
use super::logging;
use crate::config::Config;
use crate::gateway::{End, Gateway};

/// Run the gateway.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration file; without it, the embedded default runs.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the gateway's own log as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

impl Run {
    /// Runs until SIGTERM or SIGINT.
    pub(super) fn execute(self) -> Result<(), Exit> {
        logging::start(self.json, "info");
        let config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        super::runtime()?.block_on(async {
            let gateway = Gateway::start(config).await?;
            tracing::info!(http = %gateway.http, store = gateway.log.id_prefix(), "The gateway is running.");
            match gateway.run(stop_signal()?).await {
                End::Stopped => Ok(()),
                End::LogFailed => Err(Exit::io("the event log could not go on; start again, and read why above")),
            }
        })
    }
}

/// Completes at the first SIGTERM or SIGINT.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, Exit> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| Exit::io(error.to_string()))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| Exit::io(error.to_string()))?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
