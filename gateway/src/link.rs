//! The ways that terminals are heard: TCP listeners and serial ports.
//!
//! A link that goes away is weather: a gauge, an event, and a new try after a growing pause. A link reads a little, has
//! it decoded, hands it to the log and waits for the commit before it reads on, so that a slow log slows the terminals
//! down instead of filling memory.

mod backoff;
mod config;
mod intake;
mod serial;
mod session;
mod tcp;
pub mod upload;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::{Config, ListenerConfig, Parity, Unknown};
use intake::Intake;

use crate::log::Log;
use crate::metrics::Metrics;
use crate::profile::Profile;
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
                match (config.listen, config.serial.clone()) {
                    (Some(address), _) => tasks.spawn(tcp::listen(address, intake)),
                    (None, Some(path)) => tasks.spawn(serial::run(path, config.line(), intake)),
                    // A configuration that was checked has one of the two.
                    (None, None) => continue,
                };
            }
        }
        for (config, profile) in listeners {
            tasks.spawn(tcp::listen(config.listen, Intake::shared(shared, &config, profile)));
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
