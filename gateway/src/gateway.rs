//! The composition root: builds every stage, runs them, changes them, drains them. It alone knows them all.
//!
//! ```text
//! start ─→ run ─ Reload ─→ reload   (checked whole first; only what changed is touched)
//!            └── Stop ───→ drain    (in the order of an event's path, within `gateway.drain_s`)
//! ```

mod changes;
mod drain;
mod orders;
mod prepare;
mod reload;
mod supervisor;
mod timekeeper;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use orders::Order;
use orders::Orders;
pub use prepare::{Survey, survey};
pub use supervisor::Supervisor;

use crate::auth::Auth;
use crate::command::Restart;
use crate::commands::{self, Commands};
use crate::config::{Config, Faults};
use crate::event::{Event, Kind};
use crate::forward::{self, Forwarder};
use crate::link::{self, Lines, Links};
use crate::log::{Log, LogError, OpenError, Opened, Submission};
use crate::metrics::Metrics;
use crate::mqtt::Broker;
use crate::rules::{self, Rules};
use crate::terminals::{Directory, Inventory, TerminalFold};
use crate::{api, clock};

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The event store.
    #[error("{0}")]
    Store(#[from] OpenError),
    /// The HTTP port.
    #[error("cannot listen on {address} for HTTP (http.listen): {source}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// HTTP would be open to everybody.
    #[error("http.{0}: {1}")]
    Exposed(&'static str, String),
    /// Tokens or certificates that cannot be used.
    #[error("{0}")]
    Unfit(Faults),
    /// A metric was defined twice: a bug.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The rule engine.
    #[error("the rule engine cannot start: {0}")]
    Rules(#[from] rules::EngineError),
}

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to, and drained; what it could not finish in time is in the log.
    Stopped,
    /// It was asked to a second time, and left at once.
    Hurried,
    /// The event log could not go on: the next start reads again what there is.
    LogFailed,
}

/// A running gateway.
pub struct Gateway {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// The event log.
    pub log: Log,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The configuration that is in force.
    config: Config,
    base: Base,
    auth: Auth,
    links: Links,
    rules: Option<Rules>,
    commands: Option<Commands>,
    forwarder: Option<Forwarder>,
    api: Api,
    supervisor: Supervisor,
}

/// What lasts as long as the process. Every stage is built on it.
struct Base {
    log: Log,
    metrics: Arc<Metrics>,
    inventory: Arc<Inventory>,
    directory: Directory,
    lines: Arc<Lines>,
    listener: Arc<TcpListener>,
    reloads: api::Reloads,
    stop: CancellationToken,
}

/// HTTP as it is served now.
struct Api {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Gateway {
    /// Builds and starts every stage: what is wrong at start is an error, what goes wrong later is weather.
    ///
    /// # Errors
    /// Where HTTP would be open to everybody, or the tokens, certificates, store, HTTP port or rule engine cannot be had.
    pub async fn start(config: Config) -> Result<Gateway, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);

        // A configuration that was read from a file has been checked for this; whoever makes one otherwise is told here.
        if let Some((key, reason)) = config.http.exposed(&config.auth) {
            return Err(StartError::Exposed(key, reason));
        }
        let opened = prepare::open(&config);
        let (auth, tls) = opened.map_err(|faults| StartError::Unfit(Faults(faults)))?;
        let rules = rules::Ready::new(config.rules.clone())?;

        let inventory = Arc::new(Inventory::new(config.terminals()));
        let fold = Box::new(TerminalFold::new(Arc::clone(&inventory), Arc::clone(&metrics)));
        let opened = Log::open(&config.log, &config.gateway.id, fold, Arc::clone(&metrics))?;
        if let Some(path) = &opened.set_aside {
            // The event names the file alone: who reads the log is told where it is.
            tracing::error!("What the damaged store holds: `vestibule outbox salvage {} --to FILE`", path.display());
        }
        let news = opened.news();
        let Opened { log, set_aside, newest_confirmed, undated, .. } = opened;
        clock::configure(&config.clock, newest_confirmed);
        log.keep_for_broker(config.forward.is_some());
        let address = config.http.listen;
        let listener = TcpListener::bind(address).await.map_err(|source| StartError::Http { address, source })?;
        let http = listener.local_addr().map_err(|source| StartError::Http { address, source })?;
        announce(&log, set_aside, news).await;
        if config.log.salvage {
            let log = log.clone();
            // It ends by itself, with the log at the latest.
            tokio::task::spawn_blocking(move || log.salvage_wrecks());
        }

        let base = Base {
            lines: Arc::new(Lines::new(Arc::clone(&inventory), &config.links(), &config.listeners())),
            directory: Directory::new(&config.terminal),
            listener: Arc::new(listener),
            reloads: api::Reloads::default(),
            stop: CancellationToken::new(),
            log: log.clone(),
            metrics: Arc::clone(&metrics),
            inventory,
        };
        timekeeper::start(&base, undated);
        let commands = base.commands(&config, &auth);
        let api = base.api(&config, &auth, tls, &commands);
        let rules = base.rules(rules);
        let forwarder = base.forwarder(&config);
        let links = Links::start(base.shared(), base.plan(&config));
        metrics.config_applied.set(Timestamp::now().as_second());

        let (rules, commands, supervisor) = (Some(rules), Some(commands), Supervisor::default());
        Ok(Gateway { http, log, metrics, config, base, auth, links, rules, commands, forwarder, api, supervisor })
    }

    /// Has whoever started the process told how it goes.
    pub fn supervised_by(&mut self, supervisor: Supervisor) {
        self.supervisor = supervisor;
    }

    /// What HTTP asks for: that the configuration is read again. Whoever takes this gives the order, and HTTP waits for the
    /// event that tells how it ended; where nobody does, it says that there is no file to read.
    pub fn reloads(&self) -> mpsc::Receiver<()> {
        self.base.reloads.heed()
    }

    /// Runs until `shutdown` or until the log fails, then drains the stages in the order of an event's path.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> End {
        let (teller, orders) = mpsc::channel(1);
        let mut obeying = pin!(self.obey(orders));
        tokio::select! {
            end = &mut obeying => return end,
            () = shutdown => {}
        }
        // One that ends already needs no order.
        let _ = teller.try_send(Order::Stop);
        obeying.await
    }

    /// The same, doing as it is told meanwhile.
    pub async fn obey(mut self, orders: mpsc::Receiver<Order>) -> End {
        let supervisor = std::mem::take(&mut self.supervisor);
        let mut head = self.log.head();
        let mut orders = Orders::new(orders);
        let mut beat = supervisor.heartbeat();
        supervisor.ready();
        let end = loop {
            tokio::select! {
                order = orders.next() => match order {
                    Order::Stop => break End::Stopped,
                    Order::Reload(file) => {
                        supervisor.reloading();
                        let hurry = CancellationToken::new();
                        let told = async {
                            orders.stop().await;
                            hurry.cancel();
                            orders.stop().await;
                        };
                        tokio::select! {
                            () = self.reload(file, &hurry) => {}
                            () = told => return End::Hurried,
                            never = beat.keep(&supervisor) => match never {},
                        }
                        if hurry.is_cancelled() {
                            break End::Stopped;
                        }
                        supervisor.ready();
                    }
                },
                going = head.changed() => if going.is_err() {
                    break End::LogFailed;
                },
                () = beat.next() => supervisor.alive(),
            }
        };
        supervisor.stopping();
        tokio::select! {
            () = self.drain(end) => end,
            () = orders.stop() => End::Hurried,
        }
    }
}

/// The stages, each from the configuration.
impl Base {
    fn commands(&self, config: &Config, auth: &Auth) -> Commands {
        Commands::start(commands::Parts {
            config: config.commands.clone(),
            log: self.log.clone(),
            ways: Arc::clone(&self.lines) as _,
            auth: auth.clone(),
            metrics: Arc::clone(&self.metrics),
            switches: switches(config),
            open_line: Arc::new(commands::open_line),
            broker: broker(config),
        })
    }

    fn api(&self, config: &Config, auth: &Auth, tls: Option<api::Tls>, commands: &Commands) -> Api {
        let stop = self.stop.child_token();
        let view = api::View {
            log: self.log.clone(),
            metrics: Arc::clone(&self.metrics),
            directory: self.directory.clone(),
            auth: auth.clone(),
            desk: Arc::new(commands.counter()),
            reloads: self.reloads.clone(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(api::serve(Arc::clone(&self.listener), config.http.clone(), tls, view));
        Api { task, stop }
    }

    fn rules(&self, ready: rules::Ready) -> Rules {
        ready.start(self.log.clone(), flags(Arc::clone(&self.inventory)), Arc::clone(&self.metrics))
    }

    fn forwarder(&self, config: &Config) -> Option<Forwarder> {
        let identity = forward::Identity { site: config.gateway.site.clone(), gateway: config.gateway.id.clone() };
        let (log, directory) = (self.log.clone(), self.directory.clone());
        let is_there = forward::IsThere::new(move |name| directory.knows(&log, name));
        let forward = config.forward.clone()?;
        Some(forward::start(forward, self.log.clone(), identity, Arc::clone(&self.metrics), is_there))
    }

    fn shared(&self) -> link::Shared {
        link::Shared {
            log: self.log.clone(),
            metrics: Arc::clone(&self.metrics),
            inventory: Arc::clone(&self.inventory),
            lines: Arc::clone(&self.lines),
            stop: self.stop.child_token(),
        }
    }

    /// The links of the terminals that the inventory has.
    fn plan(&self, config: &Config) -> link::Plan {
        let own = config.links().into_iter();
        let terminals = own.filter_map(|(name, links)| Some((self.inventory.named(&name)?, links))).collect();
        link::Plan { terminals, listeners: config.listeners() }
    }
}

/// What switches the terminals' power.
fn switches(config: &Config) -> BTreeMap<String, Restart> {
    let switched =
        config.terminal.iter().filter_map(|terminal| Some((terminal.name.clone(), terminal.restart.clone()?)));
    switched.collect()
}

/// The broker as the commands' own connection needs it: the forwarder's, under another client id.
fn broker(config: &Config) -> Option<(Broker, String)> {
    let forward = config.forward.as_ref()?;
    Some((forward.broker(config.commands_client_id()), forward::front(&forward.root, &config.gateway.site)))
}

/// What rules may ask of a terminal's profile.
fn flags(inventory: Arc<Inventory>) -> rules::TerminalFlags {
    Arc::new(move |terminal, flag| match flag {
        "reports_requests" => inventory.named(terminal).is_some_and(|terminal| terminal.reports_requests),
        _ => false,
    })
}

/// The first events of a run: that it began, and what became of the store before.
async fn announce(log: &Log, set_aside: Option<PathBuf>, news: Vec<Event>) {
    if let Some(path) = set_aside {
        let path = path.display();
        tracing::error!("What the damaged store holds: `vestibule outbox salvage {path} --to FILE`.");
    }
    for event in news {
        tracing::error!(epoch = %log.epoch(), "{}", event.detail);
        append(log, event).await;
    }
    let event = Event::new(Kind::GatewayStarted)
        .detail(format!("vestibule {} started", env!("CARGO_PKG_VERSION")))
        .attribute("version", env!("CARGO_PKG_VERSION"))
        .attribute("epoch", log.epoch().to_string());
    append(log, event).await;
}

/// An event of the gateway itself, at this moment.
fn own(mut event: Event) -> Event {
    let (now, synced) = clock::now();
    event.terminal = "gateway".to_owned();
    event.received_at = Some(now);
    event.time_synced = synced;
    event
}

/// Appends an event of the gateway itself.
async fn append(log: &Log, event: Event) {
    let event = own(event);
    let submission = || Submission { events: vec![event.clone().into()], ..Submission::default() };
    match log.submit(submission()).await {
        Ok(_) => {}
        // Told once there is room.
        Err(LogError::NoRoom(_)) => drop(log.enqueue(submission())),
        Err(error) => tracing::error!(%error, "An event of the gateway itself is not kept."),
    }
}
