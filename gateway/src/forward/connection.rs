//! One connection, from CONNACK to its end: rows in, messages out, acknowledgements back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet, PubAck};
use rumqttc::v5::{AsyncClient, ConnectionError, Event};
use rumqttc::{Outgoing, v5};
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::broker::{self, Verdict};
use super::health::{self, Status};
use super::session::{Lost, Session};
use super::states::States;
use super::window::{Message, Window};
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
    /// The disconnect is on its way.
    Leaving,
    /// Done.
    Left,
}

type Rows = Result<Vec<Arc<Stored>>, LogError>;

/// The state of one connection; nothing of it outlives it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: AsyncClient,
    pub(super) window: Window,
    /// Read, not yet sent.
    rows: VecDeque<Arc<Stored>>,
    /// The last place read.
    cursor: u64,
    reading: Option<JoinHandle<Rows>>,
    /// A read found nothing although the log is longer; it is tried again at the next check.
    found_nothing: bool,
    /// Events that the broker put off, and when they are due.
    later: Vec<u64>,
    later_at: Instant,
    later_backoff: Backoff,
    pub(super) states: States,
    /// Events up to here were there before this connection.
    replayed_through: u64,
    pub(super) max_packet: usize,
    /// Whether the broker keeps retained messages.
    retains: bool,
    number: u32,
    phase: Phase,
    dead_letters: u64,
    accepted: u64,
    grow_at: Instant,
    /// Whether the progress moved since it was last saved.
    pub(super) moved: bool,
}

impl Connection {
    /// The state after this CONNACK. `number` is the connection's own random number.
    pub(super) fn new(session: &Session, client: AsyncClient, connack: &ConnAck, number: u32) -> Result<Self, Lost> {
        let limits = connack.properties.as_ref();
        if limits.and_then(|limits| limits.max_qos) == Some(0) {
            return Err(Lost::Unsuitable("it takes no QoS 1"));
        }
        let theirs = limits.and_then(|limits| limits.receive_max).unwrap_or(u16::MAX);
        let ids = broker::packet_ids(session.config.window).min(theirs);
        let max_packet = limits.and_then(|limits| limits.max_packet_size).unwrap_or(u32::MAX);
        let now = Instant::now();
        Ok(Connection {
            client,
            window: Window::new(session.limit, ids),
            rows: VecDeque::with_capacity(2 * BATCH),
            cursor: session.progress.floor,
            reading: None,
            found_nothing: false,
            later: Vec::new(),
            later_at: now,
            later_backoff: Backoff::new(LATER.0, LATER.1),
            states: States::default(),
            replayed_through: *session.head.borrow(),
            max_packet: usize::try_from(session.config.max_packet_bytes.min(max_packet)).unwrap_or(usize::MAX),
            retains: limits.and_then(|limits| limits.retain_available) != Some(0),
            number,
            phase: Phase::Forwarding,
            dead_letters: 0,
            accepted: 0,
            grow_at: now + GROW_AFTER,
            moved: false,
        })
    }

    /// Whether nothing can be done before the log grows.
    pub(super) fn waits_for_events(&self) -> bool {
        self.phase == Phase::Forwarding && self.rows.is_empty() && self.reading.is_none()
    }

    /// Whether we were not asked to stop yet.
    pub(super) fn is_forwarding(&self) -> bool {
        self.phase == Phase::Forwarding
    }

    /// Whether states are still sent: not behind the farewell.
    pub(super) fn takes_states(&self) -> bool {
        self.retains && matches!(self.phase, Phase::Forwarding | Phase::Draining { .. })
    }

    /// Whether we said farewell and are gone.
    pub(super) fn has_left(&self) -> bool {
        self.phase == Phase::Left
    }

    /// Events that the broker took.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Messages not yet acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

    /// The read that is under way, when it is done; for ever if there is none.
    pub(super) async fn read(&mut self) -> Rows {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let rows = reading.await;
        self.reading = None;
        rows.unwrap_or_else(|error| Err(LogError::Unreadable(error.to_string())))
    }
}

impl Session {
    /// Takes one word of the client library.
    pub(super) fn hear(
        &mut self,
        connection: &mut Connection,
        word: Option<Result<Event, ConnectionError>>,
        now: Instant,
    ) -> Result<(), Lost> {
        match word {
            Some(Ok(Event::Outgoing(Outgoing::Publish(id)))) => connection.window.written(id)?,
            Some(Ok(Event::Incoming(Packet::PubAck(ack)))) => self.answered(connection, &ack, now)?,
            // The library would stand still until the broker answers the id that is in the way.
            Some(Ok(Event::Outgoing(Outgoing::AwaitAck(_)))) => return Err(Lost::Collision),
            Some(Ok(Event::Outgoing(Outgoing::Disconnect))) => connection.phase = Phase::Left,
            Some(Ok(_)) => {}
            Some(Err(_)) if connection.phase == Phase::Leaving => connection.phase = Phase::Left,
            Some(Err(error)) => return Err(Lost::Client(error)),
            None => return Err(Lost::Client(ConnectionError::RequestsDone)),
        }
        Ok(())
    }

    fn answered(&mut self, connection: &mut Connection, ack: &PubAck, now: Instant) -> Result<(), Lost> {
        let sent = connection.window.answered(ack.pkid)?;
        self.metrics.forward_ack_seconds.observe(now.saturating_duration_since(sent.at).as_secs_f64());
        match (sent.message, broker::verdict(ack.reason)) {
            (Message::Event(seq), Verdict::Accepted) => {
                self.metrics.forward_published.inc();
                connection.accepted += 1;
                self.progress.forwarded += settled::settle(&mut self.progress, seq, seq);
                connection.moved = true;
            }
            (Message::Event(seq), Verdict::Later) => {
                if connection.later.is_empty() {
                    if now > connection.later_at + LATER.1 {
                        connection.later_backoff.reset();
                    }
                    let pause = connection.later_backoff.next(chance());
                    connection.later_at = now + pause;
                    tracing::warn!(reason = ?ack.reason, ?pause, "the broker puts events off; they are sent again");
                }
                connection.later.push(seq);
            }
            (Message::Event(seq), Verdict::Never) => self.set_aside(connection, seq, &format!("{:?}", ack.reason)),
            (Message::State, Verdict::Accepted) => connection.states.settled(),
            (Message::State, Verdict::Later) => connection.states.put_off(now, LATER.0),
            (Message::State, Verdict::Never) => {
                tracing::warn!(reason = ?ack.reason, "the broker does not take a terminal's state");
                connection.states.settled();
            }
            (Message::Health, Verdict::Accepted) => {}
            (Message::Health, _) => {
                tracing::warn!(topic = self.topics.health(), reason = ?ack.reason, "the broker does not take our health");
            }
        }
        Ok(())
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
    ///
    /// Events go before states, except before one that has waited long.
    pub(super) fn fill(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Lost> {
        if connection.states.is_overdue(now) {
            self.publish_state(connection, now)?;
        }
        self.fill_events(connection, now)?;
        self.publish_state(connection, now)?;
        self.leave(connection)
    }

    fn fill_events(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Lost> {
        loop {
            let last = match connection.phase {
                Phase::Forwarding => u64::MAX,
                Phase::Draining { last } => last,
                _ => break,
            };
            while connection.window.has_room(connection.later.len()) {
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
        Ok(())
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
        let topic = self.topics.event(&stored.event);
        let payload = self.envelope.wrap(stored, replayed);
        let bytes = payload::packet_bytes(topic.len(), payload.len(), payload::CONTENT_TYPE.len());
        // Handed to the library, a packet that is too large would end this connection and every one after it.
        if topic.len() > topic::MAX_BYTES || bytes > connection.max_packet {
            let reason = format!("packet of {bytes} bytes, at most {}", connection.max_packet);
            self.set_aside(connection, stored.seq, &reason);
            return Ok(());
        }
        connection.window.queue(Message::Event(stored.seq), now);
        let properties = broker::properties(payload::CONTENT_TYPE, self.config.content_type);
        connection.client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties)?;
        Ok(())
    }

    /// Publishes our health, retained. The window has room for it: nothing else is under way, or one place is spare.
    pub(super) fn publish_health(&self, connection: &mut Connection, status: Status) -> Result<(), Lost> {
        let payload = health::payload(status, connection.number, &self.identity, self.log.id_prefix());
        connection.window.queue(Message::Health, Instant::now());
        let properties = broker::properties(health::CONTENT_TYPE, self.config.content_type);
        let topic = self.topics.health();
        connection.client.try_publish_with_properties(
            topic,
            QoS::AtLeastOnce,
            connection.retains,
            payload,
            properties,
        )?;
        Ok(())
    }

    /// What is due now and then: the watchdog, messages put off, the window's growth, the summary of dead letters.
    pub(super) async fn check(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Lost> {
        let patience = Duration::from_secs(u64::from(self.config.ack_timeout_s.max(1)));
        if connection.window.oldest().is_some_and(|oldest| now.saturating_duration_since(oldest) > patience) {
            return Err(Lost::AckTimeout(patience));
        }
        if connection.dead_letters > 1 {
            tracing::warn!(events = connection.dead_letters, "events cannot be forwarded and were set aside");
        }
        connection.dead_letters = 0;
        connection.found_nothing = false;
        if now >= connection.grow_at && self.limit < self.config.window {
            self.limit = self.limit.saturating_mul(2).min(self.config.window);
            connection.window.set_limit(self.limit);
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
        connection.states.hurry();
        connection.phase = Phase::Draining { last };
    }

    /// The steps of the farewell, each when the one before is done.
    fn leave(&self, connection: &mut Connection) -> Result<(), Lost> {
        let idle = connection.window.in_flight() == 0;
        match connection.phase {
            Phase::Draining { last }
                if idle
                    && connection.cursor >= last
                    && connection.rows.is_empty()
                    && connection.reading.is_none()
                    && !connection.states.is_pending() =>
            {
                connection.phase = Phase::Farewell;
                self.publish_health(connection, Status::Stopped)
            }
            Phase::Farewell if idle => {
                connection.phase = Phase::Leaving;
                Ok(connection.client.try_disconnect()?)
            }
            _ => Ok(()),
        }
    }
}

/// A random number for jitter and connection numbers; a constant where the system gives none.
pub(super) fn chance() -> u64 {
    getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15)
}

impl From<v5::ClientError> for Lost {
    fn from(_: v5::ClientError) -> Self {
        Lost::Stuck
    }
}
