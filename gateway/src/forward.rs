//! Forwarding: every event of the log to an MQTT broker, at least once, with a stable id; and, beside them, the present
//! state of each terminal as a retained message.
//!
//! ```text
//! log ──read_after──→ session ──QoS 1──→ broker
//!  ↑                     │
//!  └────settle─────── PUBACK
//! ```
//!
//! The log is the only queue. One task owns the connection, the window of messages in flight and the progress; a row is
//! dealt with when the broker's PUBACK says so and not before. Every connection starts with a clean session and the rows
//! that are still unacknowledged, so whatever the broker or the line kept or lost does not matter.
//! A broker that is away, refuses us or does not answer is weather: a gauge, a log line when it changes, and backoff.
//!
//! Deliberately not here: subscriptions. Commands arrive on a connection of their own.

mod batch;
mod config;
mod connection;
mod doubts;
mod flow;
mod health;
mod held;
mod identity;
mod lanes;
mod payload;
mod publish;
mod session;
mod states;
mod suspicion;
mod task;
mod topic;
mod verdicts;
mod window;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

pub use self::batch::Batching;
pub use self::config::{Config, Reconnect};
pub use self::identity::Identity;
pub use self::lanes::Order;
pub use self::payload::Envelope;
pub use self::states::IsThere;
pub use self::topic::front;
use crate::log::Log;
use crate::metrics::Metrics;
pub use crate::mqtt::{Address, Tls, Version};

/// The running forwarder. Dropping it ends the connection without a farewell; [`Forwarder::stop`] is the orderly way.
#[derive(Debug)]
pub struct Forwarder {
    stop: DropGuard,
    /// Set where another goes on in its place: nobody need hear that it stops.
    relieved: CancellationToken,
    /// The brokers, and the front of its topics.
    station: (Vec<Address>, String),
    task: JoinHandle<()>,
}

/// Starts forwarding in a task of the current runtime. It never fails: what the broker does is weather.
///
/// `is_there` tells of which terminals the retained state is kept at the broker; of others it is cleared.
pub fn start(config: Config, log: Log, identity: Identity, metrics: Arc<Metrics>, is_there: IsThere) -> Forwarder {
    for (key, why) in config.exposed() {
        tracing::warn!("forward.{key}: {why}");
    }
    let (stop, relieved, station) = (CancellationToken::new(), CancellationToken::new(), station(&config));
    let ends = session::Ends { stop: stop.clone(), relieved: relieved.clone() };
    let session = session::Session::new(config, identity, log, metrics, is_there, ends);
    Forwarder { stop: stop.drop_guard(), relieved, station, task: tokio::spawn(session.run()) }
}

/// What tells subscribers that it is the same gateway that speaks.
fn station(config: &Config) -> (Vec<Address>, String) {
    (config.addresses(), config.root.clone())
}

impl Forwarder {
    /// Returns when the forwarder has ended although nobody asked it to: the log has stopped, or there is a bug.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the forwarder has ended");
        }
    }

    /// As [`Forwarder::stop`], before another with these settings takes its place. Where that one speaks to the same brokers
    /// under the same topics, nobody is told that we stopped, for the gateway has not.
    pub async fn make_way(self, next: Option<&Config>, deadline: Duration) {
        if next.is_some_and(|next| station(next) == self.station) {
            self.relieved.cancel();
        }
        self.stop(deadline).await;
    }

    /// Sends a short rest of events, waits for the acknowledgements, says on the health topic that we stopped, and
    /// disconnects; whatever is not done at the deadline is left for the next start.
    pub async fn stop(self, deadline: Duration) {
        let Forwarder { stop, task, .. } = self;
        stop.disarm().cancel();
        if task.is_finished() {
            return;
        }
        // Whoever does not wait until then ends it too.
        let task = AbortOnDropHandle::new(task);
        if tokio::time::timeout(deadline, task).await.is_err() {
            tracing::warn!("the broker did not acknowledge everything in time; the rest is sent after the next start");
        }
    }
}
