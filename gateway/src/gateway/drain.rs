//! Stopping in order: nothing new is read, what was read is committed and answered, rules end behind their batch, the rest is
//! sent. Every stage has a deadline; what is not done by then stands in the log, and the next start goes on with it.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{End, Gateway, append};
use crate::event::{Event, Kind};

/// How long the log may take beyond everything else: it has a transaction to end, and nothing is safer for hurrying it.
const CLOSING: Duration = Duration::from_secs(5);

impl Gateway {
    /// Ends every stage within `gateway.drain_s`: links and commands may take a quarter of it, and rules another, the
    /// forwarder and HTTP what is left.
    pub(super) async fn drain(self, end: End) {
        let whole = Duration::from_secs(self.config.gateway.drain_s);
        let (until, quarter) = (Instant::now() + whole, whole / 4);
        let Gateway { base, links, rules, commands, forwarder, api, log, .. } = self;
        base.stop.cancel();
        drop(base);

        let commands = async {
            if let Some(commands) = commands {
                commands.stop().await;
            }
        };
        tokio::join!(in_time("The commands", quarter, commands), in_time("A link", quarter, links.stop()));
        let rules = tokio::task::spawn_blocking(move || rules.map(crate::rules::Rules::stop));
        if in_time("A rule", quarter, rules).await.is_some_and(|ended| ended.is_err()) {
            tracing::error!("The rule engine ended in a panic.");
        }
        if end == End::Stopped {
            let event = Event::new(Kind::GatewayStopped).detail("the gateway was stopped");
            in_time("The event log", quarter, append(&log, event)).await;
        }

        let forwarding = async {
            if let Some(forwarder) = forwarder {
                forwarder.stop(until.saturating_duration_since(Instant::now())).await;
            }
        };
        let mut serving = api.task;
        let answering = async {
            if timeout_at(until, &mut serving).await.is_err() {
                tracing::warn!("A request was not answered in time.");
                serving.abort();
            }
        };
        tokio::join!(forwarding, answering);

        let closing = tokio::task::spawn_blocking(move || log.close());
        if in_time("The event log", CLOSING, closing).await.is_some_and(|closed| closed.is_err()) {
            tracing::error!("The log could not be closed.");
        }
    }
}

/// Waits for a stage; says so where it takes too long. What it still does then ends with the process.
async fn in_time<T>(stage: &str, patience: Duration, ending: impl Future<Output = T>) -> Option<T> {
    let ended = timeout(patience, ending).await;
    if ended.is_err() {
        tracing::warn!("{stage} did not end within {patience:?}; what it left is in the log.");
    }
    ended.ok()
}
