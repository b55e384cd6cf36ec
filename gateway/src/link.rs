//! The ways that terminals are heard, and on which some may be told something: TCP from either side, with or without TLS, serial ports, and WebSocket services.
//!
//! A link that goes away is weather: a gauge, an event, and a new try after a growing pause. A link reads a little, has
//! it decoded, hands it to the log and waits for the commit before it reads on, so that a slow log slows the terminals
//! down instead of filling memory.

mod address;
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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
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

/// First and longest pause before a new try.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

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

/// The links as the configuration has them.
#[derive(Debug, Default)]
pub struct Plan {
    /// Those of each terminal.
    pub terminals: Vec<(Arc<Terminal>, Profiled)>,
    /// The ports that terminals share.
    pub listeners: Vec<(ListenerConfig, Arc<Profile>)>,
}

/// A link and all that it is made from: where that is the same, so is the link.
#[derive(Clone, Debug, PartialEq)]
enum Made {
    Of(Arc<Terminal>, Box<Config>, Arc<Profile>),
    Shared(Box<ListenerConfig>, Arc<Profile>),
}

/// Which link it is: the terminal, none for a port that is shared, and its name.
type Key = (Option<String>, String);

/// A link that runs.
struct Running {
    made: Made,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The running links.
pub struct Links {
    shared: Shared,
    running: BTreeMap<Key, Running>,
    /// Those that were closed, and may not have ended yet.
    leaving: Vec<TaskTracker>,
}

/// What a change of the links has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Links that are new, or were made anew.
    pub opened: usize,
    /// Links that are gone, or were made anew.
    pub closed: usize,
    /// Links that go on as they are.
    pub kept: usize,
}

impl Links {
    /// Starts the links of each terminal, and the listeners that terminals share.
    pub fn start(shared: Shared, plan: Plan) -> Links {
        let mut links = Links { shared, running: BTreeMap::new(), leaving: Vec::new() };
        links.open(plan.made());
        links
    }

    /// Closes what is not in the plan or is another there, then opens what is new; what is as it was is not touched. A link
    /// that has not ended when it is `enough` is left behind: its port is tried until it is free.
    pub async fn change(&mut self, plan: Plan, enough: impl Future<Output = ()>) -> Changed {
        let made = plan.made();
        let stays = |key: &Key, running: &Running| made.get(key) == Some(&running.made);
        let closed: Vec<(Key, Running)> = self.running.extract_if(.., |key, running| !stays(key, running)).collect();
        closed.iter().for_each(|(_, running)| running.stop.cancel());
        self.leaving.retain(|tasks| !tasks.is_empty());
        self.leaving.extend(closed.iter().map(|(_, running)| running.tasks.clone()));
        let ended = join_all(closed.iter().map(|(_, running)| running.tasks.wait()));
        tokio::select! {
            _ = ended => {}
            () = enough => tracing::warn!("A link that is no longer configured as it was did not end in time."),
        }
        for ((terminal, link), _) in &closed {
            if !made.contains_key(&(terminal.clone(), link.clone())) {
                let labels = [terminal.as_deref().unwrap_or_default(), link];
                // A link that never had the gauge has none to lose.
                let _ = self.shared.metrics.link_up.remove_label_values(&labels);
            }
        }
        let kept = self.running.len();
        self.open(made);
        Changed { opened: self.running.len() - kept, closed: closed.len(), kept }
    }

    /// Opens those that do not run yet.
    fn open(&mut self, made: BTreeMap<Key, Made>) {
        for (key, made) in made {
            if self.running.contains_key(&key) {
                continue;
            }
            let (tasks, stop) = (TaskTracker::new(), self.shared.stop.child_token());
            let shared = Shared { stop: stop.clone(), ..self.shared.clone() };
            match &made {
                Made::Of(terminal, config, profile) => open_own(&shared, &tasks, terminal, config, profile),
                Made::Shared(config, profile) => {
                    let intake = Intake::shared(&shared, config, Arc::clone(profile));
                    secure(&tasks, &intake);
                    tasks.spawn(tcp::listen(config.listen, intake));
                }
            }
            tasks.close();
            self.running.insert(key, Running { made, tasks, stop });
        }
    }

    /// Ends every link, and waits until what it was reading is in the log.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        let running = self.running.values().map(|running| &running.tasks);
        join_all(running.chain(&self.leaving).map(TaskTracker::wait)).await;
    }
}

impl Plan {
    fn made(self) -> BTreeMap<Key, Made> {
        let own = self.terminals.into_iter().flat_map(|(terminal, links)| {
            links.into_iter().map(move |(config, profile)| {
                let key = (Some(terminal.name.clone()), config.name.clone());
                (key, Made::Of(Arc::clone(&terminal), Box::new(config), profile))
            })
        });
        let shared = self.listeners.into_iter().map(|(config, profile)| {
            // Their names are for people; the port is what makes it one.
            ((None, format!("{} {}", config.name, config.listen)), Made::Shared(Box::new(config), profile))
        });
        own.chain(shared).collect()
    }
}

fn open_own(shared: &Shared, tasks: &TaskTracker, terminal: &Arc<Terminal>, config: &Config, profile: &Arc<Profile>) {
    let intake = Intake::of_terminal(shared, Arc::clone(terminal), config, Arc::clone(profile));
    let dial = config.dial.as_deref().map(str::parse);
    secure(tasks, &intake);
    match (config.listen, config.serial.clone(), dial) {
        (Some(address), ..) => drop(tasks.spawn(tcp::listen(address, intake))),
        (_, Some(path), _) => drop(tasks.spawn(serial::run(path, config.line(), intake))),
        (.., Some(Ok(address))) if config.protocol == Protocol::Xfs4iot => {
            drop(tasks.spawn(xfs4iot::run(address, intake)));
        }
        (.., Some(Ok(address))) => drop(tasks.spawn(dial::run(address, intake))),
        // A configuration that was checked has one of the three.
        (.., None | Some(Err(_))) => {}
    }
}

/// Takes a link's certificates, and again whenever they are renewed.
fn secure(tasks: &TaskTracker, intake: &Arc<Intake>) {
    if let Some(tls) = &intake.tls {
        tasks.spawn(tls::begin(Arc::clone(tls), Arc::clone(intake)));
    }
}
