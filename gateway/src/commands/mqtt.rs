//! The second connection to the broker: commands come in, how they ended goes out, relays are switched.
//!
//! The session outlives the connection, and a command is acknowledged by hand behind its commit: what the gateway has not
//! kept the broker brings again. Results are told from the log's table, one at a time, each until the broker has
//! acknowledged it. As in the forwarder, nothing of a connection outlives it on our side: a publish that was not acknowledged is made
//! anew, from the table, under another packet id.

mod connection;
mod deal;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Config, Counter};
use crate::auth::Auth;
use crate::log::{Log, LogError};
use crate::metrics::Metrics;
use crate::mqtt::{Broken, Broker, Ended, Greeting, Keeper, Opened, Resume, Verdict};
use connection::Connection;

/// Commands that the broker may bring before the first is acknowledged.
const AT_ONCE: u16 = 16;

/// What a session is built from.
pub(super) struct Parts {
    pub(super) broker: Broker,
    /// The front of every topic: `{root}/{site}/`.
    pub(super) front: String,
    pub(super) config: Arc<Config>,
    pub(super) log: Log,
    pub(super) auth: Auth,
    pub(super) counter: Arc<Counter>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
}

/// A message that somebody wants the broker to have.
pub(super) struct Wanted {
    pub(super) topic: String,
    pub(super) payload: String,
    /// Where it is told that it is about to be written, with what the broker's word on it will come by. Whoever has given
    /// the message up before hears nothing of it, and it must not be written any more.
    pub(super) begun: oneshot::Sender<oneshot::Receiver<Verdict>>,
}

/// What became of a message that somebody wanted the broker to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The broker has it.
    Taken,
    /// The broker will not have it: why.
    Refused(&'static str),
    /// No byte of it was written.
    Unsaid,
    /// It may have been written, and the connection ended before the broker's word on it.
    Unknown,
}

impl From<Verdict> for Said {
    fn from(verdict: Verdict) -> Said {
        match verdict {
            Verdict::Accepted => Said::Taken,
            Verdict::Forbidden => Said::Refused("not authorised"),
            Verdict::Later(why) | Verdict::Never(why) => Said::Refused(why),
        }
    }
}

/// Publishes by this connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Publisher {
    wanted: mpsc::Sender<Wanted>,
    connected: watch::Receiver<bool>,
}

impl Publisher {
    /// Publishes with QoS 1 as soon as there is a connection, unless `over` comes before the first byte is written.
    pub(super) async fn publish(&self, topic: String, payload: String, over: impl Future<Output = ()>) -> Said {
        let (begun, mut written) = oneshot::channel();
        let mut over = std::pin::pin!(over);
        tokio::select! {
            biased;
            () = &mut over => return Said::Unsaid,
            sent = self.wanted.send(Wanted { topic, payload, begun }) => if sent.is_err() { return Said::Unsaid },
        }
        let begun = tokio::select! {
            begun = &mut written => begun.ok(),
            () = &mut over => {
                // From here on the connection cannot begin with it; where it was faster, its word is still to come.
                written.close();
                written.try_recv().ok()
            }
        };
        match begun {
            None => Said::Unsaid,
            Some(verdict) => verdict.await.map_or(Said::Unknown, Said::from),
        }
    }

    /// Whether there is a connection now.
    pub(super) fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Whether there will never be one again.
    pub(super) fn is_closed(&self) -> bool {
        self.wanted.is_closed()
    }

    /// Comes once there is no connection.
    pub(super) async fn lost(&self) {
        // Where nobody says any more whether there is one, there is none.
        let _ = self.changes().wait_for(|connected| !*connected).await;
    }

    /// Changes with the connection.
    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Client(#[from] Broken),
    #[error("it did not answer us within {0:?}")]
    AckTimeout(Duration),
    #[error("a command could not be kept")]
    NotKept,
    #[error("{0}")]
    Log(#[from] LogError),
}

impl Lost {
    /// Whether it was the broker, or the line, that ended it.
    fn is_cut(&self) -> bool {
        matches!(self, Lost::Client(broken) if broken.is_cut())
    }
}

/// Why we left a connection in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// We were asked to stop.
    Stopped,
    /// The files that it was made with have changed.
    ForNewFiles,
}

/// All connections, one after the other.
pub(super) struct Session {
    parts: Parts,
    keeper: Keeper,
    wanted: mpsc::Receiver<Wanted>,
    connected: watch::Sender<bool>,
}

/// A session, and what publishes by it.
pub(super) fn session(parts: Parts) -> (Publisher, Session) {
    let (sender, wanted) = mpsc::channel(4);
    let (connected, watched) = watch::channel(false);
    let attempts = parts.metrics.commands_connections.clone();
    let keeper = Keeper::new(parts.broker.clone(), attempts, "commands come once it is back", parts.stop.clone());
    (Publisher { wanted: sender, connected: watched }, Session { parts, keeper, wanted, connected })
}

impl Session {
    /// Connects again and again until it is stopped, or the log has stopped.
    pub(super) async fn run(mut self) {
        let greeting = Greeting {
            client_id: self.parts.broker.client_id.clone(),
            keep_alive_s: self.parts.broker.keep_alive_s,
            will: None,
            session: self.parts.resume(),
        };
        while let Some(opened) = self.keeper.connect(&greeting).await {
            self.connected.send_replace(true);
            let end = self.serve(opened).await;
            self.connected.send_replace(false);
            self.parts.metrics.commands_connected.set(0);
            match end {
                Ok(Left::Stopped) | Err((Lost::Log(LogError::Stopped), _)) => return,
                Ok(Left::ForNewFiles) => {}
                Err((lost, good)) => {
                    self.keeper.lost(&Ended { why: lost.to_string(), cut: lost.is_cut(), good });
                }
            }
        }
    }

    /// One connection from the broker's welcome to its end; with a loss, whether it was a good one: it carried something,
    /// or lasted for a while and not by our waiting for an answer.
    async fn serve(&mut self, opened: Opened) -> Result<Left, (Lost, bool)> {
        let Opened { client, limits, watch, address, is_news } = opened;
        if is_news {
            let (version, resumed) = (self.parts.broker.version.name(), limits.resumed);
            tracing::info!(broker = %address, version, resumed, "Connected to the broker for commands.");
        }
        let since = Instant::now();
        let mut connection = Connection::new(&self.parts, client, limits, watch);
        let end = connection.serve(&mut self.wanted).await;
        match end {
            Ok(left) => {
                connection.leave().await;
                Ok(left)
            }
            Err(lost) => {
                let waited = if let Lost::AckTimeout(patience) = lost { patience } else { Duration::ZERO };
                let good = connection.carried() || Keeper::is_good(since.elapsed().saturating_sub(waited));
                Err((lost, good))
            }
        }
    }
}

impl Parts {
    /// What the broker is to keep of us: nothing, where we hear no commands.
    fn resume(&self) -> Resume {
        if self.config.mqtt {
            Resume::Within { seconds: self.config.mqtt_session_s, at_once: AT_ONCE }
        } else {
            Resume::Never
        }
    }
}

/// A publisher without a session: what it wants, and whether it thinks that it is connected.
#[cfg(test)]
pub(super) fn unconnected() -> (Publisher, mpsc::Receiver<Wanted>, watch::Sender<bool>) {
    let (sender, wanted) = mpsc::channel(4);
    let (connected, watched) = watch::channel(true);
    (Publisher { wanted: sender, connected: watched }, wanted, connected)
}
