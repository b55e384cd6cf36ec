//! `vestibule run`: the gateway, until it is told to stop.

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::exit::Exit;
use super::logging;
use super::signals::{Heard, Signals};
use crate::config::Config;
use crate::gateway::{End, Gateway, Order, Supervisor};

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
    /// Runs until SIGTERM or SIGINT; a second one, a second later or more, ends it at once. SIGHUP has the configuration read again.
    pub(super) fn execute(self) -> Result<(), Exit> {
        logging::start(self.json, "info");
        let config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        let runtime = super::runtime()?;
        let end = runtime.block_on(run(config, self.config));
        // What a stop has left behind is not waited for: the log is closed, or safe as it is.
        runtime.shutdown_background();
        match end? {
            End::Stopped => Ok(()),
            End::Hurried => {
                Err(Exit::hurried("left at once, at a second signal; the next start goes on from the event log"))
            }
            End::LogFailed => Err(Exit::io("the event log could not go on; start again, and read why above")),
        }
    }
}

async fn run(config: Config, file: Option<PathBuf>) -> Result<End, Exit> {
    // From here on no signal ends the process by itself.
    let mut signals = Signals::catch().map_err(|error| Exit::io(error.to_string()))?;
    // A start may take its time: it reads files, and a store that was not closed is looked through.
    let runtime = tokio::runtime::Handle::current();
    let starting = tokio::task::spawn_blocking(move || runtime.block_on(Gateway::start(config)));
    let started = tokio::select! {
        started = starting => started,
        () = signals.stop() => {
            tracing::info!("Told to stop before the start was over.");
            return Ok(End::Stopped);
        }
    };
    let mut gateway = started.map_err(|error| Exit::software(error.to_string()))??;
    gateway.supervised_by(Supervisor::from_environment());
    tracing::info!(http = %gateway.http, store = gateway.log.id_prefix(), "The gateway is running.");
    // Without a file there is nothing to read again, whoever asks.
    let mut asked = file.as_ref().map(|_| gateway.reloads());
    let (teller, orders) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let heard = tokio::select! {
                heard = signals.next() => heard,
                // As by a signal: what becomes of it is for HTTP to find out.
                () = wished(&mut asked) => Heard::Hangup,
            };
            let order = match (heard, &file) {
                (Heard::Stop, _) => {
                    tracing::info!("Told to stop.");
                    Order::Stop
                }
                (Heard::Hangup, Some(path)) => Order::Reload(path.clone()),
                (Heard::Hangup, None) => {
                    tracing::warn!("There is no configuration file to read again: the gateway runs without one.");
                    continue;
                }
            };
            if teller.send(order).await.is_err() {
                return;
            }
        }
    });
    Ok(gateway.obey(orders).await)
}

/// Completes once HTTP asks for another reading of the configuration; never where there is none.
async fn wished(asked: &mut Option<mpsc::Receiver<()>>) {
    let heard = match asked {
        Some(asked) => asked.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending().await
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
