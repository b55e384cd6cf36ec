//! The state of one connection, from the broker's welcome to its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::batch::Batch;
use super::held::Held;
use super::lanes::{Lanes, Wish};
use super::session::Session;
use super::states::States;
use super::window::{Message, Window};
use crate::log::{LogError, Revived, Stored};
use crate::mqtt::{Client, Limits};
use crate::watch::Watch;

/// Where a connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Everything that comes is sent.
    Forwarding,
    /// We were asked to stop: a short rest up to this place is sent and waited for.
    Draining(u64),
    /// The farewell is sent and waited for.
    Farewell,
    /// Nothing more is sent before the next connection, which is made with new files.
    Renewing,
}

/// Rows that were read, and what for.
#[derive(Debug)]
pub(super) enum Read {
    Wish(Wish, u64),
    Again(Vec<u64>),
}

pub(super) type Rows = Result<Vec<Arc<Stored>>, LogError>;
/// A read that is under way.
pub(super) type Reading = JoinHandle<(Read, Rows)>;

/// The state of one connection; nothing of it outlives it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) window: Window,
    /// Most messages that we and the broker allow in flight.
    pub(super) most: u16,
    pub(super) lanes: Lanes,
    pub(super) reading: Option<Reading>,
    pub(super) batch: Batch,
    /// Events in flight, in the batch, or put off: no lane sends them.
    pub(super) taken: HashSet<u64>,
    /// Messages in flight that are older than this connection.
    pub(super) backlog_in_flight: usize,
    /// Put off by a broker that has too much.
    pub(super) later: Held,
    /// Put off by an access list.
    pub(super) forbidden: Held,
    /// Events of a batch that the broker refused: each goes alone, to find the one.
    pub(super) alone: HashSet<u64>,
    /// An event that the broker may hang up at, and that goes with nothing else under way.
    pub(super) trial: Option<u64>,
    pub(super) states: States,
    /// Events up to here were there before this connection.
    replayed_through: u64,
    /// Dead letters that were made pending again.
    pub(super) revived: Revived,
    pub(super) max_packet: usize,
    /// Whether the broker keeps retained messages.
    pub(super) retains: bool,
    pub(super) number: u32,
    pub(super) phase: Phase,
    pub(super) dead_letters: u64,
    pub(super) accepted: u64,
    /// Since when.
    pub(super) since: Instant,
    /// Since when the broker has put off whatever it answered.
    pub(super) refusing: Option<Instant>,
    /// When the broker last said that it will never take an event: some hang up behind that.
    pub(super) refused_at: Option<Instant>,
    /// Brisk acknowledgements in a row.
    pub(super) brisk: usize,
    pub(super) watch: Watch,
}

impl Connection {
    /// The state after the broker's welcome. `number` is the connection's own random number.
    pub(super) fn new(session: &Session, client: Client, limits: Limits, watch: Watch, number: u32) -> Self {
        let now = Instant::now();
        let head = *session.head.borrow();
        let packet = session.config.max_packet_bytes.min(limits.packet);
        Connection {
            client,
            window: Window::new(session.limit.min(limits.in_flight), limits.in_flight),
            most: session.config.window.min(limits.in_flight),
            lanes: Lanes::new(session.config.order, &session.progress, head),
            reading: None,
            batch: Batch::default(),
            // Whoever is accused is on no lane, and sent when it is its turn.
            taken: session.doubts.accused().collect(),
            backlog_in_flight: 0,
            later: Held::new(now),
            forbidden: Held::new(now),
            alone: HashSet::new(),
            trial: None,
            states: States::default(),
            replayed_through: head,
            revived: Vec::new(),
            max_packet: usize::try_from(packet).unwrap_or(usize::MAX),
            retains: limits.retains,
            number,
            phase: Phase::Forwarding,
            dead_letters: 0,
            accepted: 0,
            since: now,
            refusing: None,
            refused_at: None,
            brisk: 0,
            watch,
        }
    }

    pub(super) fn is_forwarding(&self) -> bool {
        self.phase == Phase::Forwarding
    }

    /// Whether we were not asked to stop yet.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self.phase, Phase::Forwarding | Phase::Renewing)
    }

    /// Whether states are still sent: not behind the farewell, and not to a broker that keeps nothing.
    pub(super) fn takes_states(&self) -> bool {
        self.retains && matches!(self.phase, Phase::Forwarding | Phase::Draining(_))
    }

    /// Whether something new can be read at once.
    pub(super) fn may_read(&self) -> bool {
        self.is_forwarding() && self.reading.is_none()
    }

    /// Whether a message can be sent now.
    pub(super) fn has_room(&self) -> bool {
        self.window.has_room(0) && self.client.is_ready()
    }

    /// Events that the broker took.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// For how long the broker has answered everything, and not only put it off: until the first message was sent that it
    /// owes us an answer to.
    pub(super) fn served(&self, now: Instant) -> Duration {
        let until = [self.window.oldest(), self.refusing].into_iter().flatten().fold(now, Instant::min);
        until.saturating_duration_since(self.since)
    }

    /// Messages not yet acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

    /// Events that the broker put off.
    pub(super) fn held(&self) -> usize {
        self.later.len() + self.forbidden.len()
    }

    /// Whether an event is sent again, or older than this connection.
    pub(super) fn is_replayed(&self, seq: u64) -> bool {
        seq <= self.replayed_through
            || self.taken.contains(&seq)
            || self.revived.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }

    /// Whether the backlog may send, so that what happens now has three quarters of the window where it needs them.
    pub(super) fn backlog_may_go(&self, head: u64) -> bool {
        !self.lanes.live_waits(head) || self.backlog_in_flight < usize::from(self.most / 4).max(1)
    }

    pub(super) fn is_backlog(&self, message: &Message) -> bool {
        let first = match message {
            Message::Health | Message::State => None,
            Message::Event(seq) => Some(seq),
            Message::Batch(seqs) => seqs.first(),
        };
        first.is_some_and(|seq| *seq <= self.replayed_through)
    }
}
