//! The composition root: builds every stage, runs them, drains them. It alone knows them all.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::command::Restart;
use crate::commands::{self, Commands};
use crate::config::Config;
use crate::event::{Event, Kind};
use crate::forward::{self, Forwarder};
use crate::link::{self, Lines, Links};
use crate::log::{Log, OpenError, Opened, Submission};
use crate::metrics::Metrics;
use crate::rules::{self, Rules};
use crate::terminals::{Directory, Inventory, TerminalFold};
use crate::{api, auth, clock};

/// How long a stop may take before what is left is left for the next start.
const DRAIN: Duration = Duration::from_secs(5);

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
    #[error("http.listen: {0}")]
    Exposed(String),
    /// The tokens.
    #[error("auth.tokens: {0}")]
    Tokens(#[from] auth::FileFault),
    /// The certificate of HTTP.
    #[error("http.tls: {0}")]
    Tls(String),
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
    /// It was asked to, and drained.
    Stopped,
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
    links: Links,
    rules: Rules,
    commands: Commands,
    forwarder: Option<Forwarder>,
    api: tokio::task::JoinHandle<()>,
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
        let stop = CancellationToken::new();

        // A configuration that was read from a file has been checked for this; whoever makes one otherwise is told here.
        if let Some(reason) = config.http.exposed(&config.auth) {
            return Err(StartError::Exposed(reason));
        }
        let auth = Auth::open(config.auth.clone())?;
        let tls = config.http.tls.clone().map(api::Tls::open).transpose().map_err(StartError::Tls)?;

        let (terminals, links, listeners) = (config.terminals(), config.links(), config.listeners());
        let names = terminals.iter().map(|terminal| terminal.name.clone()).collect();
        let inventory = Arc::new(Inventory::new(terminals));

        let fold = Box::new(TerminalFold::new(names, Arc::clone(&metrics)));
        let Opened { log, set_aside } = Log::open(&config.log, &config.gateway.id, fold, Arc::clone(&metrics))?;
        let address = config.http.listen;
        let listener = TcpListener::bind(address).await.map_err(|source| StartError::Http { address, source })?;
        let http = listener.local_addr().map_err(|source| StartError::Http { address, source })?;
        let directory = Directory::new(&config.terminal);
        announce(&log, set_aside).await;

        let lines = Arc::new(Lines::new(Arc::clone(&inventory), &links, &listeners));
        let commands = Commands::start(commands::Parts {
            config: config.commands.clone(),
            log: log.clone(),
            ways: Arc::clone(&lines) as _,
            auth: auth.clone(),
            metrics: Arc::clone(&metrics),
            switches: switches(&config),
            open_line: Arc::new(commands::open_line),
            broker: broker(&config),
        });
        let view = api::View {
            log: log.clone(),
            metrics: Arc::clone(&metrics),
            directory: directory.clone(),
            auth,
            desk: Arc::new(commands.counter()),
            stop: stop.clone(),
        };
        let api = tokio::spawn(api::serve(listener, config.http.clone(), tls, view));

        let rules = rules::start(config.rules, log.clone(), flags(Arc::clone(&inventory)), Arc::clone(&metrics))?;

        let identity = forward::Identity { site: config.gateway.site, gateway: config.gateway.id };
        let is_there = {
            let log = log.clone();
            forward::IsThere::new(move |name| directory.knows(&log, name))
        };
        let forwarder = config
            .forward
            .map(|forward| forward::start(forward, log.clone(), identity, Arc::clone(&metrics), is_there));

        let shared = link::Shared {
            log: log.clone(),
            metrics: Arc::clone(&metrics),
            inventory: Arc::clone(&inventory),
            lines,
            stop: stop.clone(),
        };
        let with_links =
            links.into_iter().filter_map(|(name, links)| Some((Arc::clone(inventory.named(&name)?), links)));
        let links = Links::start(&shared, with_links, listeners);

        Ok(Gateway { http, log, metrics, links, rules, commands, forwarder, api, stop })
    }

    /// Runs until `shutdown` or until the log fails, then drains the stages in the order of an event's path.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> End {
        let mut head = self.log.head();
        let failed = async { while head.changed().await.is_ok() {} };
        let end = tokio::select! {
            () = shutdown => End::Stopped,
            () = failed => End::LogFailed,
        };
        self.drain(end).await;
        end
    }

    async fn drain(self, end: End) {
        self.stop.cancel();
        if tokio::time::timeout(DRAIN, self.commands.stop()).await.is_err() {
            tracing::warn!("The commands did not end in time.");
        }
        if tokio::time::timeout(DRAIN, self.links.stop()).await.is_err() {
            tracing::warn!("A link did not end in time.");
        }
        let rules = self.rules;
        if tokio::task::spawn_blocking(move || rules.stop()).await.is_err() {
            tracing::error!("The rule engine ended in a panic.");
        }
        if end == End::Stopped {
            append(&self.log, Event::new(Kind::GatewayStopped).detail("the gateway was stopped")).await;
        }
        if let Some(forwarder) = self.forwarder {
            forwarder.stop(DRAIN).await;
        }
        self.api.abort();
        let log = self.log;
        if tokio::task::spawn_blocking(move || log.close()).await.is_err() {
            tracing::error!("The log could not be closed.");
        }
    }
}

/// What switches the terminals' power.
fn switches(config: &Config) -> BTreeMap<String, Restart> {
    let switched =
        config.terminal.iter().filter_map(|terminal| Some((terminal.name.clone(), terminal.restart.clone()?)));
    switched.collect()
}

/// The broker as the commands' own connection needs it: where the forwarder's is.
fn broker(config: &Config) -> Option<commands::Broker> {
    let forward = config.forward.as_ref()?;
    Some(commands::Broker {
        host: forward.host.clone(),
        port: forward.port,
        username: forward.username.clone(),
        password_file: forward.password_file.clone(),
        keep_alive_s: forward.keep_alive_s,
        connect_timeout_s: forward.connect_timeout_s,
        ack_timeout_s: forward.ack_timeout_s,
        client_id: format!("vestibule-{}-commands", config.gateway.id),
        front: forward::front(&forward.root, &config.gateway.site),
    })
}

/// What rules may ask of a terminal's profile.
fn flags(inventory: Arc<Inventory>) -> rules::TerminalFlags {
    Arc::new(move |terminal, flag| match flag {
        "reports_requests" => inventory.named(terminal).is_some_and(|terminal| terminal.reports_requests),
        _ => false,
    })
}

/// The first events of a run: that it began, and that a damaged store was set aside.
async fn announce(log: &Log, set_aside: Option<PathBuf>) {
    if let Some(path) = set_aside {
        tracing::error!(path = %path.display(), "The event store was damaged. It was set aside, and a new one begun.");
        append(log, store_replaced(&path)).await;
    }
    let event = Event::new(Kind::GatewayStarted)
        .detail(format!("vestibule {} started", env!("CARGO_PKG_VERSION")))
        .attribute("version", env!("CARGO_PKG_VERSION"))
        .attribute("epoch", log.epoch().to_string());
    append(log, event).await;
}

/// The event of a damaged store that was set aside.
pub(crate) fn store_replaced(path: &Path) -> Event {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Event::new(Kind::GatewayStoreReplaced)
        .detail(format!("the event store was damaged and set aside as {file}; a new one was begun"))
        .attribute("file", file)
}

/// Appends an event of the gateway itself.
async fn append(log: &Log, mut event: Event) {
    let (now, synced) = clock::now();
    event.terminal = "gateway".to_owned();
    event.received_at = Some(now);
    event.time_synced = synced;
    if let Err(error) = log.submit(Submission { events: vec![event.into()], ..Submission::default() }).await {
        tracing::error!(%error, "An event of the gateway itself is not kept.");
    }
}
