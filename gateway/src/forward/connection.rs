//! One connection, from CONNACK to its end: rows in, messages out, acknowledgements back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::backoff::{Backoff, chance};
use super::client::{Broken, Client};
use super::health::{self, Status};
use super::secrets::Watch;
use super::session::{Left, Lost, Session};
use super::window::{Message, Window};
use super::wire::{Content, Limits, Publication, Verdict, Word};
use super::{payload, settled, topic};
use crate::log::{LogError, Stored};

/// Rows read at once; another read begins when fewer than half of that are left.
const BATCH: usize = 256;
/// At stop, a rest of events up to this long is still sent.
const SHORT_REST: u64 = 1024;
/// First and longest pause before a message that the broker put off is sent again.
const LATER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After this long without a missing acknowledgement, a window that was lowered grows again.
const GROW_AFTER: Duration = Duration::from_secs(30);

/// Where a connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Everything that comes is sent.
    Forwarding,
    /// We were asked to stop: events up to here are sent and waited for.
    Draining {
        /// The last event to send.
        last: u64,
    },
    /// The farewell is sent and waited for.
    Farewell,
    /// Nothing more is sent before the next connection, which is made with new files.
    Renewing,
}

type Rows = Result<Vec<Arc<Stored>>, LogError>;

/// The state of one connection; nothing of it outlives it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    window: Window,
    /// Most messages that we and the broker allow in flight.
    most: u16,
    /// Read, not yet sent.
    rows: VecDeque<Arc<Stored>>,
    /// The last place read.
    cursor: u64,
    pub(super) reading: Option<JoinHandle<Rows>>,
    /// A read found nothing although the log is longer; it is tried again at the next check.
    found_nothing: bool,
    /// Events that the broker put off, and when they are due.
    later: Vec<u64>,
    later_at: Instant,
    later_backoff: Backoff,
    /// Events up to here were there before this connection.
    replayed_through: u64,
    max_packet: usize,
    /// Whether the broker keeps retained messages.
    retains: bool,
    number: u32,
    phase: Phase,
    dead_letters: u64,
    accepted: u64,
    grow_at: Instant,
    watch: Watch,
    /// Whether the progress moved since it was last saved.
    pub(super) moved: bool,
}

impl Connection {
    /// The state after the broker's welcome. `number` is the connection's own random number.
    pub(super) fn new(session: &Session, client: Client, limits: Limits, watch: Watch, number: u32) -> Self {
        let limit = session.limit.min(limits.in_flight);
        let packet = session.config.max_packet_bytes.min(limits.packet);
        let now = Instant::now();
        Connection {
            client,
            window: Window::new(limit),
            most: session.config.window.min(limits.in_flight),
            rows: VecDeque::with_capacity(2 * BATCH),
            cursor: session.progress.floor,
            reading: None,
            found_nothing: false,
            later: Vec::new(),
            later_at: now,
            later_backoff: Backoff::new(LATER.0, LATER.1),
            replayed_through: *session.head.borrow(),
            max_packet: usize::try_from(packet).unwrap_or(usize::MAX),
            retains: limits.retains,
            number,
            phase: Phase::Forwarding,
            dead_letters: 0,
            accepted: 0,
            grow_at: now + GROW_AFTER,
            watch,
            moved: false,
        }
    }

    /// Whether nothing can be done before the log grows.
    pub(super) fn waits_for_events(&self) -> bool {
        self.phase == Phase::Forwarding && self.rows.is_empty() && self.reading.is_none()
    }

    /// Whether we were not asked to stop yet.
    pub(super) fn is_forwarding(&self) -> bool {
        self.phase == Phase::Forwarding
    }

    /// Events that the broker took.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Messages not yet acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

}

/// The read that is under way, when it is done; for ever if there is none.
pub(super) async fn read(reading: &mut Option<JoinHandle<Rows>>) -> Rows {
    let Some(task) = reading else { return std::future::pending().await };
    let rows = task.await;
    *reading = None;
    rows.unwrap_or_else(|error| Err(LogError::Unreadable(error.to_string())))
}

impl Session {
    /// Takes one word of the broker.
    pub(super) fn hear(&mut self, connection: &mut Connection, word: Word, now: Instant) -> Result<(), Lost> {
        match word {
            Word::Ack(id, verdict) => self.answered(connection, id, verdict, now),
            Word::Pong => {}
            Word::Goodbye(why) => return Err(Broken::Ended(why).into()),
            Word::Welcome(_) | Word::Refusal(_) => {
                return Err(Broken::Ended("it answered our greeting twice".to_owned()).into());
            }
        }
        Ok(())
    }

    fn answered(&mut self, connection: &mut Connection, id: u16, verdict: Verdict, now: Instant) {
        let Some(sent) = connection.window.answered(id) else {
            self.metrics.forward_stray_acks.inc();
            return;
        };
        self.metrics.forward_ack_seconds.observe(now.saturating_duration_since(sent.at).as_secs_f64());
        match (sent.message, verdict) {
            (Message::Event(seq), Verdict::Accepted) => {
                self.metrics.forward_published.inc();
                connection.accepted += 1;
                self.progress.forwarded += settled::settle(&mut self.progress, seq, seq);
                connection.moved = true;
            }
            (Message::Event(seq), Verdict::Later(_) | Verdict::Forbidden) => {
                if connection.later.is_empty() {
                    if now > connection.later_at + LATER.1 {
                        connection.later_backoff.reset();
                    }
                    let pause = connection.later_backoff.next(chance());
                    connection.later_at = now + pause;
                    tracing::warn!(reason = ?verdict, ?pause, "the broker puts events off; they are sent again");
                }
                connection.later.push(seq);
            }
            (Message::Event(seq), Verdict::Never(reason)) => self.set_aside(connection, seq, reason),
            (Message::Health, Verdict::Accepted) => {}
            (Message::Health, _) => {
                tracing::warn!(topic = self.topics.health(), reason = ?verdict, "the broker does not take our health");
            }
        }
    }

    /// An event that can never be forwarded is dealt with, and counted as such.
    fn set_aside(&mut self, connection: &mut Connection, seq: u64, reason: &str) {
        self.progress.dead_lettered += settled::settle(&mut self.progress, seq, seq);
        connection.moved = true;
        connection.dead_letters += 1;
        // The rest is counted and said once a second.
        if connection.dead_letters == 1 {
            tracing::warn!(seq, reason, "an event cannot be forwarded and is set aside");
        }
    }

    /// Hands messages to the client as long as the window and the rows last, and sees to it that more rows are read.
    /// Answers that the connection is to be left, once it is.
    pub(super) fn fill(&mut self, connection: &mut Connection, now: Instant) -> Result<Option<Left>, Lost> {
        loop {
            let last = match connection.phase {
                Phase::Forwarding => u64::MAX,
                Phase::Draining { last } => last,
                _ => break,
            };
            while connection.window.has_room(connection.later.len()) && connection.client.is_ready() {
                let Some(stored) = connection.rows.pop_front() else { break };
                self.publish(connection, &stored, stored.seq <= connection.replayed_through, now)?;
            }
            if connection.reading.is_some() || connection.found_nothing || connection.rows.len() > BATCH / 2 {
                break;
            }
            let head = (*self.head.borrow_and_update()).min(last);
            connection.cursor = settled::settled_through(&self.progress, connection.cursor);
            let after = connection.cursor;
            if after >= head {
                break;
            }
            let limit = usize::try_from(head - after).map_or(BATCH, |left| left.min(BATCH));
            match self.log.read_tail(after, limit) {
                Some(rows) if !rows.is_empty() => self.take_rows(connection, rows),
                _ => {
                    let log = self.log.clone();
                    connection.reading = Some(tokio::task::spawn_blocking(move || log.read_after(after, limit)));
                    break;
                }
            }
        }
        self.leave(connection)
    }

    /// Rows that were read: those still wanted are queued. Numbers have no gaps, so rows that are missing were pruned.
    pub(super) fn take_rows(&mut self, connection: &mut Connection, rows: Vec<Arc<Stored>>) {
        connection.found_nothing = rows.is_empty();
        for stored in rows {
            if stored.seq <= connection.cursor {
                continue;
            }
            if stored.seq > connection.cursor + 1 {
                let (first, last) = (connection.cursor + 1, stored.seq - 1);
                let lost = settled::settle(&mut self.progress, first, last);
                if lost > 0 {
                    self.progress.discarded += lost;
                    connection.moved = true;
                    tracing::error!(first, last, lost, "events were pruned before they were forwarded");
                }
            }
            connection.cursor = stored.seq;
            if !settled::is_settled(&self.progress, stored.seq) {
                connection.rows.push_back(stored);
            }
        }
    }

    fn publish(
        &mut self,
        connection: &mut Connection,
        stored: &Stored,
        replayed: bool,
        now: Instant,
    ) -> Result<(), Lost> {
        let publication = Publication {
            topic: self.topics.event(&stored.event),
            payload: self.envelope.wrap(stored, replayed).into(),
            retain: false,
            content: self.describes(payload::CONTENT_TYPE),
        };
        if publication.topic.len() > topic::MAX_BYTES {
            self.set_aside(connection, stored.seq, "topic too long");
            return Ok(());
        }
        let packet = self.config.version.packet(publication);
        // Sent, a packet that is too large would end this connection and every one after it.
        if packet.size() > connection.max_packet {
            let reason = format!("packet of {} bytes, at most {}", packet.size(), connection.max_packet);
            self.set_aside(connection, stored.seq, &reason);
            return Ok(());
        }
        let id = connection.window.send(Message::Event(stored.seq), now);
        Ok(connection.client.say(packet, id)?)
    }

    /// The content type, where it is to be said.
    pub(super) fn describes(&self, kind: &'static str) -> Option<Content> {
        self.config.content_type.then_some(Content { kind, encoding: None })
    }

    /// Publishes our health, retained. The window has room for it: nothing else is under way, or one place is spare.
    pub(super) fn publish_health(&self, connection: &mut Connection, status: Status) -> Result<(), Lost> {
        let health = self.health(status, connection.number);
        let publication = Publication { retain: connection.retains, ..health };
        let id = connection.window.send(Message::Health, Instant::now());
        Ok(connection.client.say(self.config.version.packet(publication), id)?)
    }

    /// What we say of ourselves.
    pub(super) fn health(&self, status: Status, number: u32) -> Publication {
        Publication {
            topic: self.topics.health().to_owned(),
            payload: health::payload(status, number, &self.identity, self.log.id_prefix()).into(),
            retain: true,
            content: self.describes(health::CONTENT_TYPE),
        }
    }

    /// What is due now and then: the watchdog, messages put off, the window's growth, the summary of dead letters.
    pub(super) async fn check(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Lost> {
        let patience = Duration::from_secs(u64::from(self.config.ack_timeout_s.max(1)));
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
        connection.found_nothing = false;
        if now >= connection.grow_at && self.limit < self.config.window {
            self.limit = self.limit.saturating_mul(2).min(self.config.window);
            connection.window.set_limit(self.limit.min(connection.most));
            connection.grow_at = now + GROW_AFTER;
        }
        while connection.is_forwarding() && now >= connection.later_at && connection.window.has_room(0) {
            let Some(seq) = connection.later.pop() else { break };
            let log = self.log.clone();
            let rows = tokio::task::spawn_blocking(move || log.read_after(seq - 1, 1)).await;
            let rows = rows.map_err(|error| LogError::Unreadable(error.to_string()))??;
            match rows.first() {
                Some(stored) if stored.seq == seq => self.publish(connection, stored, true, now)?,
                _ => {
                    self.progress.discarded += settled::settle(&mut self.progress, seq, seq);
                    connection.moved = true;
                    tracing::error!(seq, "an event was pruned before it was forwarded");
                }
            }
        }
        Ok(())
    }

    /// We were asked to stop: a short rest is still sent, a long one is left for the next start.
    pub(super) fn drain(&self, connection: &mut Connection) {
        let head = *self.head.borrow();
        let sent_through = connection.rows.front().map_or(connection.cursor, |stored| stored.seq - 1);
        let last = if head.saturating_sub(sent_through) <= SHORT_REST { head } else { sent_through };
        if last == sent_through {
            connection.rows.clear();
            connection.cursor = last;
            connection.reading = None;
        }
        connection.phase = Phase::Draining { last };
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
    fn leave(&self, connection: &mut Connection) -> Result<Option<Left>, Lost> {
        let idle = connection.window.in_flight() == 0;
        match connection.phase {
            Phase::Draining { last }
                if idle && connection.cursor >= last && connection.rows.is_empty() && connection.reading.is_none() =>
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
