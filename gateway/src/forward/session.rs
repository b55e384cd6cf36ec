//! What outlives a connection: the position, the settings, the brokers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::doubts::Doubts;
use super::identity::Identity;
use super::payload::Envelope;
use super::states::IsThere;
use super::topic::Topics;
use crate::log::{Log, LogError, Moved, Progress, Revived, Settled};
use crate::metrics::Metrics;
use crate::mqtt::{Broken, Broker, Expiries, Keeper};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Client(#[from] Broken),
    #[error("the broker did not acknowledge a message within {0:?}")]
    AckTimeout(Duration),
    #[error("the broker put everything off for {0:?}, and there is another")]
    TakesNothing(Duration),
    #[error("{0}")]
    Log(#[from] LogError),
}

impl Lost {
    /// Whether it was the broker, or the line, that ended it.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self, Lost::Client(broken) if broken.is_cut())
    }
}

/// Why we left a connection in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// We were asked to stop.
    Stopped,
    /// The files that it was made with have changed.
    ForNewFiles,
}

/// What ends it.
#[derive(Debug)]
pub(super) struct Ends {
    /// It is to stop, in order.
    pub(super) stop: CancellationToken,
    /// Another goes on in its place.
    pub(super) relieved: CancellationToken,
}

/// What outlives a connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) broker: Broker,
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
    /// What moves in the progress without us.
    pub(super) moves: mpsc::UnboundedReceiver<Moved>,
    /// Since when the broker does not allow us to publish an event.
    pub(super) refused: HashMap<u64, Instant>,
    /// What the broker may hang up at.
    pub(super) doubts: Doubts,
    /// Our window; halved where acknowledgements did not come in time, so that a slow line is not sent the same again
    /// and again.
    pub(super) limit: u16,
    pub(super) stop: CancellationToken,
    /// Set where another goes on in our place.
    pub(super) relieved: CancellationToken,
}

impl Session {
    pub(super) fn new(
        config: Config,
        identity: Identity,
        log: Log,
        metrics: Arc<Metrics>,
        is_there: IsThere,
        ends: Ends,
    ) -> Self {
        let client_id = config.client_id(&identity.gateway);
        Session {
            topics: Topics::new(&config.root, &identity),
            envelope: Envelope::new(&identity),
            head: log.head(),
            progress: Progress::default(),
            unsaved: Settled::default(),
            moves: mpsc::unbounded_channel().1,
            refused: HashMap::new(),
            doubts: Doubts::default(),
            limit: config.window,
            broker: config.broker(client_id),
            config,
            identity,
            log,
            metrics,
            is_there,
            stop: ends.stop,
            relieved: ends.relieved,
        }
    }

    /// Takes over what has moved in the progress without us; answers which dead letters are pending again. Where events were
    /// given up, our own sums are begun anew from the log's: it has all that we ever told it.
    pub(super) async fn catch_up(&mut self, first: Option<Moved>) -> Result<Revived, LogError> {
        let (mut revived, mut anew) = (Revived::new(), false);
        let mut take = |moved: Moved| match moved {
            Moved::Revived(ranges) => revived.extend(ranges),
            Moved::GivenUp => anew = true,
        };
        first.into_iter().for_each(&mut take);
        while let Ok(moved) = self.moves.try_recv() {
            take(moved);
        }
        if !anew {
            revived.iter().for_each(|&(first, last)| self.progress.revive(first, last));
            return Ok(revived);
        }
        if !self.unsaved.is_empty() {
            self.log.settle(std::mem::take(&mut self.unsaved));
        }
        let (progress, moves) = self.log.follow().await?;
        // What had moved by then stands in the new progress.
        while let Ok(moved) = self.moves.try_recv() {
            if let Moved::Revived(ranges) = moved {
                revived.extend(ranges);
            }
        }
        (self.progress, self.moves) = (progress, moves);
        Ok(revived)
    }

    pub(super) fn refresh(&self, in_flight: usize) {
        let Progress { forwarded, dead_lettered, discarded, .. } = self.progress;
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.forward_pending.set(gauge(self.progress.pending(*self.head.borrow())));
        self.metrics.forward_forwarded.set(gauge(forwarded));
        self.metrics.forward_dead_lettered.set(gauge(dead_lettered));
        self.metrics.forward_discarded.set(gauge(discarded));
        self.metrics.forward_inflight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
    }

    /// Shows when the certificates of a connection end; one that was not shown has no end.
    pub(super) fn show_certificates(&self, expiries: Expiries) {
        for (role, end) in [("own", expiries.own), ("peer", expiries.peer)] {
            match end {
                Some(end) => self.metrics.forward_certificate_expiry.with_label_values(&[role]).set(end),
                // There may have been none before, too.
                None => drop(self.metrics.forward_certificate_expiry.remove_label_values(&[role])),
            }
        }
    }

    /// Shows which broker is in use.
    pub(super) fn show_broker(&self, keeper: &Keeper, connected: bool) {
        for (address, current) in keeper.all() {
            let gauge = self.metrics.forward_broker.with_label_values(&[address.to_string().as_str()]);
            gauge.set(i64::from(connected && current));
        }
    }
}
