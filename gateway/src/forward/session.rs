//! The forwarder's task: connect, forward until the connection ends, wait, again.
//!
//! The client library's poll must never be dropped half-way, so each connection's event loop lives in a stream that keeps
//! the unfinished poll; the task only ever takes whole words from it. Messages are handed to the client between polls and
//! never waited for.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream};
use futures_util::{FutureExt, StreamExt};
use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet};
use rumqttc::v5::{AsyncClient, ConnectionError, Event};
use tokio::sync::watch;
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connection::{Connection, chance};
use super::health::{self, Status};
use super::payload::Envelope;
use super::states::IsThere;
use super::topic::{Topics, push_encoded};
use super::window::OutOfStep;
use super::{Config, Identity, broker, settled};
use crate::log::{Log, LogError, Progress};
use crate::metrics::Metrics;

/// Words of the client library taken before the progress is saved and the window filled again.
const ROUND: usize = 64;
/// First and longest pause between connections.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));
/// A connection that lasted this long was a good one; so was one that took a whole window of events.
const STABLE: Duration = Duration::from_secs(10);
/// How often the gauges are brought up to date while nothing happens.
const REFRESH: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{}", broker::failure(.0).1)]
    Client(ConnectionError),
    #[error("the broker is not fit: {0}")]
    Unsuitable(&'static str),
    #[error("the broker did not acknowledge a message within {0:?}")]
    AckTimeout(Duration),
    #[error("the broker acknowledged out of order until no packet id was free")]
    Collision,
    #[error("the client is out of step: {0}")]
    OutOfStep(#[from] OutOfStep),
    #[error("the client took no message")]
    Stuck,
    #[error("the password file `{0}` cannot be read: {1}")]
    Password(String, std::io::Error),
    #[error("{0}")]
    Log(#[from] LogError),
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
    pub(super) progress: Progress,
    /// Our window; halved where acknowledgements did not come in time, so that a slow line is not sent the same again
    /// and again.
    pub(super) limit: u16,
    stop: CancellationToken,
    backoff: Backoff,
    /// What was last said about the broker, so that it is said once.
    complaint: Option<String>,
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
            limit: config.window,
            backoff: Backoff::new(RECONNECT.0, RECONNECT.1),
            complaint: None,
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
        let log = self.log.clone();
        match tokio::task::spawn_blocking(move || log.progress()).await {
            Ok(Ok(progress)) => self.progress = progress,
            Ok(Err(error)) => return tracing::error!(%error, "the forwarder's position cannot be read"),
            Err(error) => return tracing::error!(%error, "the forwarder's position cannot be read"),
        }
        self.refresh(0);
        while !self.stop.is_cancelled() {
            let mut connected = None;
            let end = self.connect(&mut connected).await;
            self.metrics.forward_connected.set(0);
            self.refresh(0);
            match end {
                Ok(()) => return,
                Err(Lost::Log(LogError::Stopped)) => {
                    return tracing::error!("the forwarder ends: the event log has stopped");
                }
                Err(lost) => self.complain(&lost, connected.is_some()),
            }
            self.pause().await;
        }
    }

    /// One connection from its first byte to its end; `Ok` where we were asked to stop. `connected` tells since when
    /// the broker had accepted us.
    async fn connect(&mut self, connected: &mut Option<Instant>) -> Result<(), Lost> {
        // Half of the random number: what every JSON reader can hold.
        let number = u32::try_from(chance() >> 32).unwrap_or_default();
        let password = self.password().await?;
        let client_id = self.client_id();
        let will = health::payload(Status::Offline, number, &self.identity, self.log.id_prefix());
        let will = broker::will(self.topics.health(), will, self.config.content_type);
        let options = broker::options(&self.config, &client_id, password, will);
        // Two places more than events can be in flight, for a state and the disconnect.
        let (client, eventloop) = AsyncClient::new(options, usize::from(self.config.window) + 3);
        let words = stream::unfold(Box::new(eventloop), |mut eventloop| async move {
            let word = eventloop.poll().await;
            Some((word, eventloop))
        });
        let mut words = pin!(words);
        let Some(connack) = self.connack(words.as_mut()).await? else { return Ok(()) };
        let mut connection = Connection::new(self, client, &connack, number)?;
        *connected = Some(Instant::now());
        self.metrics.forward_connections.with_label_values(&["connected"]).inc();
        self.metrics.forward_connected.set(1);
        self.complaint = None;
        let pending = settled::pending(&self.progress, *self.head.borrow());
        tracing::info!(host = self.config.host, port = self.config.port, pending, "connected to the broker");
        self.publish_health(&mut connection, Status::Online)?;
        let end = self.forward(&mut connection, words).await;
        self.save(&mut connection);
        let lasted = connected.is_some_and(|since| since.elapsed() >= STABLE);
        if lasted || connection.accepted() >= u64::from(self.config.window) {
            self.backoff.reset();
        }
        end
    }

    /// Waits for the broker's acceptance; `None` where we were asked to stop first.
    async fn connack(
        &mut self,
        mut words: Pin<&mut impl Stream<Item = Result<Event, ConnectionError>>>,
    ) -> Result<Option<ConnAck>, Lost> {
        let mut refresh = time::interval(REFRESH);
        loop {
            tokio::select! {
                word = words.next() => match word {
                    Some(Ok(Event::Incoming(Packet::ConnAck(connack)))) => return Ok(Some(connack)),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Lost::Client(error)),
                    None => return Err(Lost::Client(ConnectionError::RequestsDone)),
                },
                () = self.stop.cancelled() => return Ok(None),
                _ = refresh.tick() => self.refresh(0),
            }
        }
    }

    async fn forward(
        &mut self,
        connection: &mut Connection,
        mut words: Pin<&mut impl Stream<Item = Result<Event, ConnectionError>>>,
    ) -> Result<(), Lost> {
        let mut check = time::interval(
            (Duration::from_secs(u64::from(self.config.ack_timeout_s)) / 10).clamp(Duration::from_millis(100), REFRESH),
        );
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !connection.has_left() {
            self.fill(connection, Instant::now())?;
            let waits = connection.waits_for_events();
            let forwarding = connection.is_forwarding();
            tokio::select! {
                word = words.next() => {
                    let now = Instant::now();
                    self.hear(connection, word, now)?;
                    // What is there already is taken in the same round; a poll that is not done stays in the stream.
                    for _ in 1..ROUND {
                        let Some(word) = words.next().now_or_never() else { break };
                        self.hear(connection, word, now)?;
                    }
                }
                rows = connection.read() => self.take_rows(connection, rows?),
                changed = self.head.changed(), if waits => changed.map_err(|_| LogError::Stopped)?,
                () = self.stop.cancelled(), if forwarding => self.drain(connection),
                _ = check.tick() => self.check(connection, Instant::now()).await?,
            }
            self.save(connection);
        }
        Ok(())
    }

    /// Saves the progress if it moved, and shows it.
    fn save(&self, connection: &mut Connection) {
        if std::mem::take(&mut connection.moved) {
            self.log.save_progress(self.progress.clone());
        }
        self.refresh(connection.in_flight());
    }

    fn refresh(&self, in_flight: usize) {
        let Progress { forwarded, dead_lettered, discarded, .. } = self.progress;
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.forward_pending.set(gauge(settled::pending(&self.progress, *self.head.borrow())));
        self.metrics.forward_forwarded.set(gauge(forwarded));
        self.metrics.forward_dead_lettered.set(gauge(dead_lettered));
        self.metrics.forward_discarded.set(gauge(discarded));
        self.metrics.forward_inflight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
    }

    /// Counts an attempt that failed, and says what is wrong when it was not said before.
    fn complain(&mut self, lost: &Lost, connected: bool) {
        if !connected {
            let outcome = match lost {
                Lost::Client(error) => broker::failure(error).0,
                Lost::Unsuitable(_) => "refused",
                _ => "failed",
            };
            self.metrics.forward_connections.with_label_values(&[outcome]).inc();
        }
        if matches!(lost, Lost::AckTimeout(_)) {
            self.limit = (self.limit / 2).max(1);
        }
        let reason = lost.to_string();
        if self.complaint.as_ref() != Some(&reason) {
            let what = if connected { "lost the broker" } else { "not connected to the broker" };
            tracing::warn!(host = self.config.host, port = self.config.port, reason, "{what}; events are kept");
            self.complaint = Some(reason);
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

    /// The password, read anew at each connection so that a change needs no restart.
    async fn password(&self) -> Result<Option<String>, Lost> {
        let Some(path) = &self.config.password_file else { return Ok(None) };
        match tokio::fs::read_to_string(path).await {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => Err(Lost::Password(path.display().to_string(), error)),
        }
    }
}
