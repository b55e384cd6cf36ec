//! One connection, from the broker's welcome to its end: rows in, messages out, acknowledgements back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use super::batch::Batch;
use super::client::Client;
use super::health::Status;
use super::held::Held;
use super::lanes::{Lanes, Wish};
use super::secrets::Watch;
use super::session::{Left, Lost, Session};
use super::states::States;
use super::window::{Message, Window};
use super::wire::Limits;
use crate::log::{LogError, Outcome, Revived, Stored};

/// At stop, a rest of events up to this long is still sent.
const SHORT_REST: u64 = 1024;
/// Most of those that are tried again at once.
const FORBIDDEN_AT_ONCE: usize = 64;

/// Where a connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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

type Rows = Result<Vec<Arc<Stored>>, LogError>;
/// A read that is under way.
pub(super) type Reading = JoinHandle<(Read, Rows)>;

/// The state of one connection; nothing of it outlives it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) window: Window,
    /// Most messages that we and the broker allow in flight.
    pub(super) most: u16,
    lanes: Lanes,
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
    pub(super) states: States,
    /// Events up to here were there before this connection.
    replayed_through: u64,
    /// Dead letters that were made pending again.
    revived: Revived,
    pub(super) max_packet: usize,
    /// Whether the broker keeps retained messages.
    pub(super) retains: bool,
    pub(super) number: u32,
    phase: Phase,
    pub(super) dead_letters: u64,
    pub(super) accepted: u64,
    /// Brisk acknowledgements in a row.
    pub(super) brisk: usize,
    watch: Watch,
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
            taken: HashSet::new(),
            backlog_in_flight: 0,
            later: Held::new(now),
            forbidden: Held::new(now),
            alone: HashSet::new(),
            states: States::default(),
            replayed_through: head,
            revived: Vec::new(),
            max_packet: usize::try_from(packet).unwrap_or(usize::MAX),
            retains: limits.retains,
            number,
            phase: Phase::Forwarding,
            dead_letters: 0,
            accepted: 0,
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
    fn backlog_may_go(&self, head: u64) -> bool {
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

/// The read that is under way, when it is done; for ever if there is none.
pub(super) async fn read(reading: &mut Option<Reading>) -> Result<(Read, Vec<Arc<Stored>>), LogError> {
    let Some(task) = reading else { return std::future::pending().await };
    let done = task.await;
    *reading = None;
    let (read, rows) = done.map_err(|error| LogError::Unreadable(error.to_string()))?;
    Ok((read, rows?))
}

impl Session {
    /// Hands messages to the client as long as the window and the rows last, and sees to it that more rows are read.
    /// Answers that the connection is to be left, once it is. Events go before states, except before one that has waited
    /// long.
    pub(super) fn fill(&mut self, connection: &mut Connection, now: Instant) -> Result<Option<Left>, Lost> {
        if matches!(connection.phase, Phase::Forwarding | Phase::Draining(_)) {
            if connection.states.is_overdue(now) {
                self.publish_state(connection, now)?;
            }
            let head = *self.head.borrow_and_update();
            loop {
                self.send_rows(connection, head, now)?;
                if !self.read_on(connection, head, now) {
                    break;
                }
            }
            self.send_batch_when_due(connection, now)?;
            self.publish_state(connection, now)?;
        }
        self.leave(connection, now)
    }

    fn send_rows(&mut self, connection: &mut Connection, head: u64, now: Instant) -> Result<(), Lost> {
        loop {
            let held = if connection.lanes.has_again() { 0 } else { connection.later.len() };
            if !connection.window.has_room(held) || !connection.client.is_ready() {
                return Ok(());
            }
            let backlog = connection.backlog_may_go(head);
            let (taken, progress) = (&connection.taken, &self.progress);
            let wanted = |seq: u64| !taken.contains(&seq) && !progress.is_settled(seq);
            let Some(stored) = connection.lanes.next(backlog, wanted) else { return Ok(()) };
            self.publish(connection, &stored, now)?;
        }
    }

    /// Reads what is wished for; whether rows came at once.
    fn read_on(&mut self, connection: &mut Connection, head: u64, now: Instant) -> bool {
        if connection.reading.is_some() {
            return false;
        }
        let mut again = connection.later.take_due(now, usize::from(self.config.window));
        again.extend(connection.forbidden.take_due(now, FORBIDDEN_AT_ONCE));
        let log = self.log.clone();
        if !again.is_empty() {
            connection.reading = Some(tokio::task::spawn_blocking(move || {
                let rows = log.read_places(&again);
                (Read::Again(again), rows)
            }));
            return false;
        }
        let Some(wish) = connection.lanes.wish(&self.progress, head) else { return false };
        if let Wish::Rows { after, limit, .. } = wish
            && let Some(rows) = self.log.read_tail(after, limit).filter(|rows| !rows.is_empty())
        {
            self.take_rows(connection, Read::Wish(wish, head), rows);
            return true;
        }
        connection.reading = Some(tokio::task::spawn_blocking(move || {
            let rows = match wish {
                Wish::Rows { after, limit, .. } => log.read_after(after, limit),
                Wish::Critical { after, limit } => log.critical_after(after, limit),
            };
            (Read::Wish(wish, head), rows)
        }));
        false
    }

    /// Rows that were read; places that are not there were pruned.
    pub(super) fn take_rows(&mut self, connection: &mut Connection, read: Read, rows: Vec<Arc<Stored>>) {
        let missing = match read {
            Read::Wish(Wish::Critical { limit, .. }, head) => {
                connection.lanes.take_critical(rows, limit, head);
                return;
            }
            Read::Wish(Wish::Rows { live, .. }, _) => {
                let room = usize::from(connection.most).saturating_sub(connection.window.in_flight());
                connection.lanes.take(live, rows, room)
            }
            Read::Again(asked) => {
                let found: HashSet<u64> = rows.iter().map(|row| row.seq).collect();
                connection.lanes.take_again(rows);
                asked.into_iter().filter(|seq| !found.contains(seq)).map(|seq| (seq, seq)).collect()
            }
        };
        for (first, last) in missing {
            let lost = self.progress.settle(&Outcome::Discarded, first, last);
            self.unsaved.push(Outcome::Discarded, first, last);
            if lost > 0 {
                tracing::error!(first, last, lost, "events were pruned before they were forwarded");
            }
        }
    }

    /// Dead letters are pending again: they lie below the floor, so the reading begins anew. No read is under way.
    pub(super) fn revive(&mut self, connection: &mut Connection, ranges: Revived) {
        for &(first, last) in &ranges {
            self.progress.revive(first, last);
        }
        connection.revived.extend(ranges);
        connection.lanes.rewind(&self.progress);
    }

    /// What is due now and then: the watchdog, the ping, changed files, the summary of dead letters.
    pub(super) async fn check(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Lost> {
        let patience = self.patience();
        if connection.window.oldest().is_some_and(|oldest| now.saturating_duration_since(oldest) > patience) {
            return Err(Lost::AckTimeout(patience));
        }
        connection.client.keep_alive(now, patience)?;
        if connection.is_forwarding() && connection.watch.has_changed() {
            self.renew(connection).await;
        }
        if connection.dead_letters > 1 {
            tracing::warn!(events = connection.dead_letters, "events cannot be forwarded and were set aside");
        }
        connection.dead_letters = 0;
        connection.lanes.retry();
        Ok(())
    }

    /// We were asked to stop: a short rest is still sent, a long one is left for the next start.
    pub(super) fn drain(&self, connection: &mut Connection) {
        let head = *self.head.borrow();
        let short = self.progress.pending(head) <= SHORT_REST;
        connection.lanes.end(short.then_some(head));
        if !short {
            connection.reading = None;
        }
        connection.states.hurry();
        connection.phase = Phase::Draining(head);
    }

    /// A file that this connection was made with has changed: the connection is left in order, and another made, unless
    /// the new file is no good.
    async fn renew(&self, connection: &mut Connection) {
        let config = self.config.clone();
        let faults = tokio::task::spawn_blocking(move || config.unreadable()).await.unwrap_or_default();
        match faults.first() {
            None => {
                tracing::info!("a password, token or certificate file has changed; the broker is connected to anew");
                connection.phase = Phase::Renewing;
            }
            Some((key, reason)) => {
                tracing::error!(key, reason, "a file has changed and cannot be used; the connection stays as it is");
                connection.watch.pass_over();
            }
        }
    }

    /// The steps of the farewell, each when the one before is done.
    fn leave(&mut self, connection: &mut Connection, now: Instant) -> Result<Option<Left>, Lost> {
        let idle = connection.window.in_flight() == 0 && connection.reading.is_none();
        match connection.phase {
            Phase::Draining(head)
                if idle
                    && connection.lanes.are_empty(head)
                    && connection.batch.is_empty()
                    && !connection.states.is_pending(now) =>
            {
                connection.phase = Phase::Farewell;
                self.publish_health(connection, Status::Stopped)?;
                Ok(None)
            }
            Phase::Farewell if idle => Ok(Some(Left::Stopped)),
            Phase::Renewing if idle => Ok(Some(Left::ForNewFiles)),
            _ => Ok(None),
        }
    }
}
