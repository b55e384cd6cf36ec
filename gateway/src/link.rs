//! The ways that terminals are heard, and on which some may be told something: TCP from either side, with or without TLS, serial ports, and WebSocket services.
//!
//! A link that goes away is weather: a gauge, an event, and a new try after a growing pause. A link reads a little, has
//! it decoded, hands it to the log and waits for the commit before it reads on, so that a slow log slows the terminals
//! down instead of filling memory.

mod address;
mod backoff;
mod config;
mod dial;
mod flood;
mod intake;
mod lines;
mod serial;
mod session;
mod tcp;
mod tls;
pub mod upload;
mod xfs4iot;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{Config, ListenerConfig, Parity, Unknown};
use intake::Intake;
pub use lines::Lines;
pub use tls::{ClientCertificate, Config as TlsConfig, Pin, Side};

use crate::log::Log;
use crate::metrics::Metrics;
use crate::profile::Profile;
use crate::protocol::Protocol;
use crate::terminals::{Inventory, Terminal};

/// The links of one terminal, each with the profile it is decoded by.
pub type Profiled = Vec<(Config, Arc<Profile>)>;

/// What every link needs.
#[derive(Clone)]
pub struct Shared {
    /// Where events go.
    pub log: Log,
    /// Where figures go.
    pub metrics: Arc<Metrics>,
    /// Who may speak.
    pub inventory: Arc<Inventory>,
    /// Where commands come from.
    pub lines: Arc<Lines>,
    /// Ends every link.
    pub stop: CancellationToken,
}

/// The running links.
pub struct Links {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Links {
    /// Starts the links of each terminal, and the listeners that terminals share.
    pub fn start(
        shared: &Shared,
        terminals: impl IntoIterator<Item = (Arc<Terminal>, Profiled)>,
        listeners: Vec<(ListenerConfig, Arc<Profile>)>,
    ) -> Links {
        let tasks = TaskTracker::new();
        for (terminal, links) in terminals {
            for (config, profile) in links {
                let intake = Intake::of_terminal(shared, Arc::clone(&terminal), &config, profile);
                secure(&tasks, &intake);
                let dial = config.dial.as_deref().map(str::parse);
                match (config.listen, config.serial.clone(), dial) {
                    (Some(address), ..) => tasks.spawn(tcp::listen(address, intake)),
                    (_, Some(path), _) => tasks.spawn(serial::run(path, config.line(), intake)),
                    (.., Some(Ok(address))) if config.protocol == Protocol::Xfs4iot => {
                        tasks.spawn(xfs4iot::run(address, intake))
                    }
                    (.., Some(Ok(address))) => tasks.spawn(dial::run(address, intake)),
                    // A configuration that was checked has one of the three.
                    (.., None | Some(Err(_))) => continue,
                };
            }
        }
        for (config, profile) in listeners {
            let intake = Intake::shared(shared, &config, profile);
            secure(&tasks, &intake);
            tasks.spawn(tcp::listen(config.listen, intake));
        }
        tasks.close();
        Links { tasks, stop: shared.stop.clone() }
    }

    /// Ends every link, and waits until what it was reading is in the log.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// Takes a link's certificates, and again whenever they are renewed.
fn secure(tasks: &TaskTracker, intake: &Arc<Intake>) {
    if let Some(tls) = &intake.tls {
        tasks.spawn(tls::begin(Arc::clone(tls), Arc::clone(intake)));
    }
}
