//! Keeps one client of the brokers connected: which broker is tried next and when, what its files say, what is counted, and
//! what is said of it in the log. Whoever uses the connections says how each of them ended.

use std::time::{Duration, Instant};

use prometheus::IntCounterVec;
use tokio_util::sync::CancellationToken;

use super::round::Round;
use super::{Address, Broken, Broker, Client, Greeting, Limits, Unfit};
use crate::watch::Watch;

/// A connection that served so long was a good one.
const STABLE: Duration = Duration::from_secs(10);
/// So many connections in a row that the broker accepts, and ends before they are good, are no accident.
const CUTS: u32 = 4;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Absent {
    #[error("{0}")]
    Client(#[from] Broken),
    #[error("{0}")]
    File(#[from] Unfit),
    #[error("the broker is not fit: it takes no QoS 1")]
    Unsuitable,
}

impl Absent {
    /// As a metric label.
    fn outcome(&self) -> &'static str {
        match self {
            Absent::Client(broken) => broken.outcome(),
            Absent::File(_) => "failed",
            Absent::Unsuitable => "refused",
        }
    }
}

/// A connection that a broker has accepted.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) limits: Limits,
    /// The files that it was made with.
    pub(crate) watch: Watch,
    /// Whose it is.
    pub(crate) address: Address,
    /// Whether it is worth a line of the log: the first, or one after a complaint.
    pub(crate) is_news: bool,
}

/// How a connection ended that was not left in order.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Why, in a sentence.
    pub(crate) why: String,
    /// Whether it was the broker, or the line, that ended it.
    pub(crate) cut: bool,
    /// Whether the broker did on it what it is there for: it is preferred again then, and at once.
    pub(crate) good: bool,
}

/// One client of the brokers.
pub(crate) struct Keeper {
    broker: Broker,
    round: Round,
    stop: CancellationToken,
    /// Attempts by outcome.
    attempts: IntCounterVec,
    /// What becomes of its work while it is not connected.
    meanwhile: &'static str,
    /// To be made before the next attempt.
    pause: Option<Duration>,
    /// Connections in a row that were cut before they were good.
    cuts: u32,
}

impl Keeper {
    /// For this client of the brokers. `attempts` counts by outcome; `meanwhile` ends the sentences in the log that say that
    /// there is no connection.
    pub(crate) fn new(
        broker: Broker,
        attempts: IntCounterVec,
        meanwhile: &'static str,
        stop: CancellationToken,
    ) -> Keeper {
        let round = Round::new(broker.addresses.clone(), broker.reconnect);
        Keeper { broker, round, stop, attempts, meanwhile, pause: None, cuts: 0 }
    }

    /// Whether a connection was a good one that served so long: the broker did what it is there for.
    pub(crate) fn is_good(served: Duration) -> bool {
        served >= STABLE
    }

    /// All brokers, each with whether it is tried now, or connected.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Address, bool)> {
        self.round.all()
    }

    /// The next connection, however long it takes; `None` where we were asked to stop.
    pub(crate) async fn connect(&mut self, greeting: &Greeting) -> Option<Opened> {
        while !self.stop.is_cancelled() {
            if let Some(pause) = self.pause.take() {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.stop.cancelled() => return None,
                }
            }
            let attempt = tokio::select! {
                attempt = self.attempt(greeting) => attempt,
                () = self.stop.cancelled() => return None,
            };
            match attempt {
                Ok(opened) => {
                    self.attempts.with_label_values(&["connected"]).inc();
                    return Some(Opened { is_news: self.round.connected(), ..opened });
                }
                Err(absent) => {
                    self.attempts.with_label_values(&[absent.outcome()]).inc();
                    self.cuts = 0;
                    self.complain("not connected to the broker", &absent.to_string());
                    self.pause = self.round.next(false, Instant::now());
                }
            }
        }
        None
    }

    async fn attempt(&self, greeting: &Greeting) -> Result<Opened, Absent> {
        let Some(address) = self.round.current().cloned() else {
            return Err(Unfit("brokers", "there is none".to_owned()).into());
        };
        let (broker, at) = (self.broker.clone(), address.clone());
        let door = tokio::task::spawn_blocking(move || broker.door(at)).await;
        let door = door.map_err(|error| Unfit("internal", error.to_string()))??;
        let (client, limits) = door.open(greeting).await?;
        if !limits.acknowledges {
            return Err(Absent::Unsuitable);
        }
        Ok(Opened { client, limits, watch: door.watch, address, is_news: false })
    }

    /// The connection has ended without our will: which broker comes next, and after which pause. What was said of it before
    /// is not said again, however often connections come and go.
    pub(crate) fn lost(&mut self, ended: &Ended) {
        self.complain("lost the broker", &ended.why);
        self.cuts = if ended.cut && !ended.good { self.cuts.saturating_add(1) } else { 0 };
        if self.cuts >= CUTS {
            let why = "it accepts us and ends the connection soon after, again and again: \
                       another client may have our client id, or it does not like what we send";
            self.complain("the broker does not keep us", why);
        }
        self.pause = self.round.next(ended.good, Instant::now());
    }

    fn complain(&mut self, what: &str, reason: &str) {
        if let Some(address) = self.round.complain(reason, Instant::now()) {
            let (client_id, meanwhile) = (&self.broker.client_id, self.meanwhile);
            tracing::warn!(broker = %address, client_id, reason, "{what}; {meanwhile}");
        }
    }
}
