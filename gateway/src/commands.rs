//! Commands to terminals: taken, kept, delivered at most once, and their ends told.
//!
//! ```text
//! HTTP, MQTT ─→ accept ─┐ (row + event, one transaction, then the answer)
//! rules ────────────────┤
//!                       ▼
//!                    log's table ─→ deliver ─ sent, committed ─→ link or switch ─→ done · refused · unknown
//!                       └─→ mqtt: how it ended, until the broker has it
//! ```
//!
//! - **Committed before it is acknowledged**: HTTP's 202 and MQTT's PUBACK come behind the commit.
//! - **At most once**: `sent` is committed before the first byte goes out, and only a command that was `requested` becomes
//!   `sent`: the store itself refuses anything else. What is `sent` at a start was lost with the process before, and
//!   ends as `unknown`.
//! - **One at a time**: while a command of a terminal is out, the next waits; who waits too long expires.
//! - **Who may**: [`accept`] asks the one table of `auth`, whatever way a command came by; rules have their grants.

mod accept;
mod config;
mod deliver;
mod gpio;
mod mqtt;
mod payload;
mod refusals;
mod switch;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use accept::Counter;
pub use config::{Config, Trust};
pub use gpio::open_line;
pub use switch::{Line, OpenLine};

use crate::auth::Auth;
use crate::command::{Restart, Ways};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::mqtt::Broker;
use deliver::Delivery;
use switch::Switches;

/// What the stage is built from.
pub struct Parts {
    /// Settings.
    pub config: Config,
    /// Where commands are kept.
    pub log: Log,
    /// The ways to the terminals.
    pub ways: Arc<dyn Ways>,
    /// Who may do what.
    pub auth: Auth,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// What switches the terminals' power, by their names.
    pub switches: BTreeMap<String, Restart>,
    /// What opens a line of this machine's pins.
    pub open_line: OpenLine,
    /// The broker and the front of every topic there, `{root}/{site}/`, where there is one.
    pub broker: Option<(Broker, String)>,
}

/// The running stage.
pub struct Commands {
    counter: Arc<Counter>,
    delivery: JoinHandle<()>,
    refusals: JoinHandle<()>,
    stop_delivery: CancellationToken,
    session: Option<JoinHandle<()>>,
    stop_session: CancellationToken,
}

impl Commands {
    /// Starts delivery and, where something needs it, the connection to the broker.
    pub fn start(parts: Parts) -> Commands {
        let Parts { config, log, ways, auth, metrics, switches, open_line, broker } = parts;
        let config = Arc::new(config);
        let (stop_delivery, stop_session) = (CancellationToken::new(), CancellationToken::new());
        let counter = Arc::new(Counter::new(
            log.clone(),
            Arc::clone(&config),
            Arc::clone(&ways),
            switches.keys().cloned().collect(),
            Arc::clone(&metrics),
        ));
        let mut running = None;
        let needed = config.mqtt || switches.values().any(|switch| switch.mqtt_topic.is_some());
        let publisher = broker.filter(|_| needed).map(|(broker, front)| {
            let (publisher, session) = mqtt::session(mqtt::Parts {
                broker,
                front,
                config: Arc::clone(&config),
                log: log.clone(),
                auth,
                counter: Arc::clone(&counter),
                metrics: Arc::clone(&metrics),
                stop: stop_session.clone(),
            });
            running = Some(tokio::spawn(session.run()));
            publisher
        });
        let alarm = switch::alarm(log.clone(), Arc::clone(&metrics));
        let switches = Arc::new(Switches::new(switches, publisher, open_line, alarm));
        let delivery = Delivery::new(log, ways, switches, &config, metrics, stop_delivery.clone());
        let refusals = tokio::spawn(Arc::clone(counter.refusals()).run(stop_session.clone()));
        let delivery = tokio::spawn(delivery.run());
        Commands { counter, delivery, refusals, stop_delivery, session: running, stop_session }
    }

    /// Where commands are asked for.
    pub fn counter(&self) -> Arc<Counter> {
        Arc::clone(&self.counter)
    }

    /// Takes and sends nothing more. What is out and unanswered stays `sent`, and is `unknown` at the next start.
    pub async fn stop(self) {
        // Delivery first: it may have to say that power comes back.
        self.stop_delivery.cancel();
        let delivered = self.delivery.await;
        self.stop_session.cancel();
        let ended = match self.session {
            Some(session) => session.await,
            None => Ok(()),
        };
        for end in [delivered, ended, self.refusals.await] {
            if end.is_err() {
                tracing::error!("A part of the commands ended in a panic.");
            }
        }
    }
}
