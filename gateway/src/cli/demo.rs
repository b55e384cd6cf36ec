//! `vestibule demo`: the whole path on one machine, with nothing installed: broker, terminals, rules.

mod broker;
mod cast;
mod screen;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::cast::Cast;
use self::screen::{Screen, Summary};
use super::exit::Exit;
use super::{logging, run};
use crate::gateway::Gateway;
use crate::log::Log;

/// How long the demo waits at its end for the broker to acknowledge what is left.
const LAST_ACKS: Duration = Duration::from_secs(5);
/// Events read at once for the screen.
const PAGE: usize = 256;

/// Show the main job at work: simulated terminals, rules, an embedded broker.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Stop after this many seconds; without it, at Ctrl-C.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Keep the event store here; without it, in a fresh folder that goes away at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where HTTP listens; without it, the first free port from 8080.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where the embedded broker serves MQTT 3.1.1; without it, the first free port from 1883. MQTT 5 is on the next free one.
    #[arg(long, value_name = "ADDR")]
    mqtt: Option<SocketAddr>,
    /// Write one JSON object a line instead of text.
    #[arg(long)]
    json: bool,
}

impl Demo {
    /// Runs until `--seconds` are over or Ctrl-C, then says what happened.
    pub(super) fn execute(self) -> Result<(), Exit> {
        logging::start(self.json, "warn,rumqttd=off");
        super::runtime()?.block_on(self.play())
    }

    async fn play(self) -> Result<(), Exit> {
        // Whoever presses Ctrl-C while the demo starts is heard too.
        let shutdown = run::stop_signal()?;
        let (dir, temporary) = match &self.dir {
            Some(dir) => (dir.clone(), None),
            None => {
                let made = tempfile::tempdir().map_err(|error| Exit::io(format!("no temporary folder: {error}")))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let broker = broker::start(self.mqtt)?;
        let cast = Cast::new()?;
        let http = match self.http {
            Some(address) => address,
            None => broker::free_port(8080)?,
        };
        let gateway = Gateway::start(cast.config(dir.clone(), http, broker.v5)).await?;
        let screen = Screen::new(self.json);
        screen.opening(&broker, gateway.http, &dir, temporary.is_some())?;

        let (log, metrics) = (gateway.log.clone(), std::sync::Arc::clone(&gateway.metrics));
        let first = *log.head().borrow();
        let (ended, over) = watch::channel(false);
        let showing = tokio::spawn(show(log.clone(), screen, over));
        let stop = CancellationToken::new();
        let actors = cast.perform(&stop);
        let until = async {
            let time = async {
                match self.seconds {
                    Some(seconds) => sleep(Duration::from_secs(seconds)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => {}
                () = shutdown => {}
            }
            forwarded(&log).await;
        };
        // The terminals play on while the gateway stops: in a branch they do, too.
        let end = gateway.run(until).await;
        stop.cancel();
        actors.wait().await;
        ended.send_replace(true);
        let shown = showing.await.map_err(|error| Exit::software(format!("the screen failed: {error}")))??;
        let summary = Summary::new(&log, &metrics, first, shown)?;
        screen.closing(&summary, end)?;
        if summary.holds() {
            Ok(())
        } else {
            Err(Exit::software("appended = forwarded + pending + dead-lettered + discarded does not hold"))
        }
    }
}

/// Waits until the broker has acknowledged what is in the log now, for a while.
async fn forwarded(log: &Log) {
    let (head, deadline) = (*log.head().borrow(), Instant::now() + LAST_ACKS);
    while Instant::now() < deadline && log.progress().is_ok_and(|progress| progress.floor < head) {
        sleep(Duration::from_millis(50)).await;
    }
}

/// Shows events as they are committed, until the log is at its end and the demo is over; gives the tally.
async fn show(log: Log, screen: Screen, mut over: watch::Receiver<bool>) -> Result<screen::Tally, Exit> {
    let (mut head, mut at, mut tally) = (log.head(), 0, screen::Tally::default());
    loop {
        let events = log.read_after(at, PAGE).map_err(|error| Exit::io(error.to_string()))?;
        for stored in &events {
            at = stored.seq;
            tally.take(stored);
            screen.event(stored)?;
        }
        if !events.is_empty() {
            continue;
        }
        if *over.borrow_and_update() {
            return Ok(tally);
        }
        tokio::select! {
            // Closed once the log has ended; then only `over` is waited for.
            Ok(()) = head.changed() => {}
            _ = over.changed() => {}
        }
    }
}
