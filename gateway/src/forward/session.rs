//! The forwarder's task: connect, forward until the connection ends, wait, again.
//!
//! Brokers are tried in their order, and after each round of them we wait longer. Whoever was connected for a while
//! begins with the first again.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, chance};
use super::client::{Broken, Client, Route};
use super::connection::{self, Connection};
use super::health::Status;
use super::payload::Envelope;
use super::secrets::{self, Login, Watch};
use super::states::IsThere;
use super::tls::Tls;
use super::topic::{Topics, push_encoded};
use super::wire::{Greeting, Limits};
use super::{Address, Config, Identity};
use crate::log::{Log, LogError, Progress, Revived, Settled};
use crate::metrics::Metrics;

/// First and longest pause between connections.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));
/// A connection that lasted this long was a good one; so was one that took a whole window of events.
const STABLE: Duration = Duration::from_secs(10);
/// How often the gauges are brought up to date while nothing happens.
const REFRESH: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Client(#[from] Broken),
    #[error("the broker is not fit: {0}")]
    Unsuitable(&'static str),
    #[error("the broker did not acknowledge a message within {0:?}")]
    AckTimeout(Duration),
    #[error("{0}: {1}")]
    File(&'static str, String),
    #[error("{0}")]
    Log(#[from] LogError),
}

/// Why we left a connection in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// We were asked to stop.
    Stopped,
    /// The files that it was made with have changed.
    ForNewFiles,
}

/// What outlives a connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) identity: Identity,
    pub(super) log: Log,
    pub(super) metrics: Arc<Metrics>,
    pub(super) is_there: IsThere,
    pub(super) topics: Topics,
    pub(super) envelope: Envelope,
    pub(super) head: watch::Receiver<u64>,
    /// Our copy of the progress that the log's writer owns.
    pub(super) progress: Progress,
    /// What it was not told yet.
    pub(super) unsaved: Settled,
    /// Dead letters that are made pending again.
    revived: mpsc::UnboundedReceiver<Revived>,
    /// Since when the broker does not allow us to publish an event.
    pub(super) refused: HashMap<u64, Instant>,
    /// Our window; halved where acknowledgements did not come in time, so that a slow line is not sent the same again
    /// and again.
    pub(super) limit: u16,
    stop: CancellationToken,
    backoff: Backoff,
    /// The brokers, each with what was last said about it, so that it is said once.
    brokers: Vec<(Address, Option<String>)>,
    /// The broker that is tried now, or connected.
    at: usize,
}

impl Session {
    pub(super) fn new(
        config: Config,
        identity: Identity,
        log: Log,
        metrics: Arc<Metrics>,
        is_there: IsThere,
        stop: CancellationToken,
    ) -> Self {
        Session {
            topics: Topics::new(&config.root, &identity),
            envelope: Envelope::new(&identity, log.id_prefix()),
            head: log.head(),
            progress: Progress::default(),
            unsaved: Settled::default(),
            revived: mpsc::unbounded_channel().1,
            refused: HashMap::new(),
            limit: config.window,
            backoff: Backoff::new(RECONNECT.0, RECONNECT.1),
            brokers: config.addresses().into_iter().map(|address| (address, None)).collect(),
            at: 0,
            config,
            identity,
            log,
            metrics,
            is_there,
            stop,
        }
    }

    /// Forwards until stopped, or until the log has stopped.
    pub(super) async fn run(mut self) {
        match self.log.follow().await {
            Ok((progress, revived)) => (self.progress, self.revived) = (progress, revived),
            Err(error) => return tracing::error!(%error, "the forwarder's position cannot be read"),
        }
        self.refresh(0);
        while !self.stop.is_cancelled() {
            self.show_broker(false);
            let mut good = false;
            let mut connected = false;
            let end = self.connect(&mut connected, &mut good).await;
            self.metrics.forward_connected.set(0);
            self.show_broker(false);
            self.refresh(0);
            match end {
                Ok(Left::Stopped) => return,
                Ok(Left::ForNewFiles) => continue,
                Err(Lost::Log(LogError::Stopped)) => {
                    return tracing::error!("the forwarder ends: the event log has stopped");
                }
                Err(lost) => self.complain(&lost, connected),
            }
            if good {
                self.backoff.reset();
            }
            self.at = if good { 0 } else { self.at + 1 };
            if good || self.at >= self.brokers.len() {
                self.at = 0;
                self.pause().await;
            }
        }
    }

    /// One connection from its first byte to its end. `connected` tells whether the broker had accepted us, `good`
    /// whether it took something from us or lasted for a while.
    async fn connect(&mut self, connected: &mut bool, good: &mut bool) -> Result<Left, Lost> {
        while let Ok(ranges) = self.revived.try_recv() {
            ranges.into_iter().for_each(|(first, last)| self.progress.revive(first, last));
        }
        self.refused.retain(|seq, _| !self.progress.is_settled(*seq));
        let Some((address, _)) = self.brokers.get(self.at) else { return Err(Lost::Unsuitable("it has no address")) };
        let (config, address) = (self.config.clone(), address.clone());
        let prepared = tokio::task::spawn_blocking(move || prepare(&config, address)).await;
        let (route, login, watch) = prepared.map_err(|error| Lost::File("internal", error.to_string()))??;
        // Half of the random number: what every JSON reader can hold.
        let number = u32::try_from(chance() >> 32).unwrap_or_default();
        let greeting = Greeting {
            client_id: self.client_id(),
            keep_alive_s: self.config.keep_alive_s.max(5),
            login,
            will: self.health(Status::Offline, number),
        };
        let Some((client, limits)) = self.welcome(&route, &greeting).await? else { return Ok(Left::Stopped) };
        if !limits.acknowledges {
            return Err(Lost::Unsuitable("it takes no QoS 1"));
        }
        let mut connection = Connection::new(self, client, limits, watch, number);
        let since = Instant::now();
        *connected = true;
        self.metrics.forward_connections.with_label_values(&["connected"]).inc();
        self.metrics.forward_connected.set(1);
        self.show_broker(true);
        let pending = self.progress.pending(*self.head.borrow());
        if let Some((address, complaint)) = self.brokers.get_mut(self.at) {
            *complaint = None;
            tracing::info!(broker = %address, version = self.config.version.name(), pending, "connected to the broker");
        }
        self.publish_health(&mut connection, Status::Online)?;
        let end = self.forward(&mut connection).await;
        self.save(&connection);
        *good = since.elapsed() >= STABLE || connection.accepted() >= u64::from(self.config.window);
        if end.is_ok() {
            connection.client.leave().await;
        }
        end
    }

    /// Waits for the broker's acceptance; `None` where we were asked to stop first.
    async fn welcome(&self, route: &Route, greeting: &Greeting) -> Result<Option<(Client, Limits)>, Broken> {
        let patience = Duration::from_secs(u64::from(self.config.connect_timeout_s.max(1)));
        let connect = Client::connect(route, self.config.version, greeting, patience);
        let mut connect = pin!(connect);
        let mut refresh = time::interval(REFRESH);
        loop {
            tokio::select! {
                connected = &mut connect => return connected.map(Some),
                () = self.stop.cancelled() => return Ok(None),
                _ = refresh.tick() => self.refresh(0),
            }
        }
    }

    async fn forward(&mut self, connection: &mut Connection) -> Result<Left, Lost> {
        let mut check = time::interval(
            (Duration::from_secs(u64::from(self.config.ack_timeout_s)) / 10).clamp(Duration::from_millis(100), REFRESH),
        );
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(left) = self.fill(connection, Instant::now())? {
                return Ok(left);
            }
            let (goes_on, reads) = (connection.goes_on(), connection.may_read());
            let due = self.batch_due(connection);
            tokio::select! {
                word = connection.client.hear() => {
                    let now = Instant::now();
                    self.hear(connection, word?, now)?;
                    // What has arrived with it is taken in the same round.
                    while let Some(word) = connection.client.heard()? {
                        self.hear(connection, word, now)?;
                    }
                }
                rows = connection::read(&mut connection.reading) => {
                    let (read, rows) = rows?;
                    self.take_rows(connection, read, rows);
                }
                changed = self.head.changed(), if reads => changed.map_err(|_| LogError::Stopped)?,
                Some(ranges) = self.revived.recv(), if reads => self.revive(connection, ranges),
                () = time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() && connection.has_room() => {}
                () = self.stop.cancelled(), if goes_on => self.drain(connection),
                _ = check.tick() => self.check(connection, Instant::now()).await?,
            }
            self.save(connection);
        }
    }

    /// Tells the log what was dealt with, and shows it.
    fn save(&mut self, connection: &Connection) {
        if !self.unsaved.is_empty() {
            self.log.settle(std::mem::take(&mut self.unsaved));
        }
        self.metrics.forward_held.set(i64::try_from(connection.held()).unwrap_or(i64::MAX));
        self.refresh(connection.in_flight());
    }

    fn refresh(&self, in_flight: usize) {
        let Progress { forwarded, dead_lettered, discarded, .. } = self.progress;
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.forward_pending.set(gauge(self.progress.pending(*self.head.borrow())));
        self.metrics.forward_forwarded.set(gauge(forwarded));
        self.metrics.forward_dead_lettered.set(gauge(dead_lettered));
        self.metrics.forward_discarded.set(gauge(discarded));
        self.metrics.forward_inflight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
    }

    /// Shows which broker is in use.
    fn show_broker(&self, connected: bool) {
        for (at, (address, _)) in self.brokers.iter().enumerate() {
            let gauge = self.metrics.forward_broker.with_label_values(&[address.to_string().as_str()]);
            gauge.set(i64::from(connected && at == self.at));
        }
    }

    /// Counts an attempt that failed, and says what is wrong when it was not said before.
    fn complain(&mut self, lost: &Lost, connected: bool) {
        if !connected {
            let outcome = match lost {
                Lost::Client(broken) => broken.outcome(),
                Lost::Unsuitable(_) => "refused",
                _ => "failed",
            };
            self.metrics.forward_connections.with_label_values(&[outcome]).inc();
        }
        if matches!(lost, Lost::AckTimeout(_)) {
            self.limit = (self.limit / 2).max(1);
        }
        let Some((address, complaint)) = self.brokers.get_mut(self.at) else { return };
        let reason = lost.to_string();
        if complaint.as_ref() != Some(&reason) {
            let what = if connected { "lost the broker" } else { "not connected to the broker" };
            tracing::warn!(broker = %address, reason, "{what}; events are kept");
            *complaint = Some(reason);
        }
    }

    /// Waits before the next attempt, or until we are asked to stop.
    async fn pause(&mut self) {
        let pause = time::sleep(self.backoff.next(chance()));
        let mut pause = pin!(pause);
        let mut refresh = time::interval(REFRESH);
        loop {
            tokio::select! {
                () = &mut pause => return,
                () = self.stop.cancelled() => return,
                _ = refresh.tick() => self.refresh(0),
            }
        }
    }

    /// The configured client id, or one after the gateway's name, in characters that every broker accepts.
    fn client_id(&self) -> String {
        let mut id = self.config.client_id.clone();
        if id.is_empty() {
            id.push_str("vestibule-");
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            push_encoded(&mut id, &self.identity.gateway, |c| !plain(c));
        }
        id
    }
}

/// Reads the files that a connection needs, as they are now. Blocks for the time of a few small reads.
fn prepare(config: &Config, address: Address) -> Result<(Route, Login, Watch), Lost> {
    let tls = address.tls.then(|| config.tls.clone().unwrap_or_default());
    let files = tls.iter().flat_map(Tls::files).map(|path| path.to_owned());
    let files = files.chain(config.password_file.clone()).chain(config.token_file.clone());
    let watch = Watch::new(files.collect());
    let tls = match tls {
        None => None,
        Some(tls) => {
            let name = tls.server_name.clone().unwrap_or_else(|| address.host.clone());
            let name = name.try_into().map_err(|_| Lost::File("tls", format!("`{}` is no host name", address.host)))?;
            Some((tls.read().map_err(|why| Lost::File("tls", why))?, name))
        }
    };
    let login = secrets::login(config).map_err(|why| Lost::File("password_file or token_file", why))?;
    Ok((Route { host: address.host, port: address.port, tls }, login, watch))
}
