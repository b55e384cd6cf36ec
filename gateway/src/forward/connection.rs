//! One connection, from the broker's welcome to its end: rows in, messages out, acknowledgements back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::batch::{self, Batch};
use super::client::{Broken, Client};
use super::health::{self, Status};
use super::held::Held;
use super::lanes::{Lanes, Wish};
use super::secrets::Watch;
use super::session::{Left, Lost, Session};
use super::window::{Message, Window};
use super::wire::{Content, Limits, Packet, Publication, Verdict, Word};
use super::{payload, topic};
use crate::event::Severity;
use crate::log::{LogError, Outcome, Revived, Stored};

/// At stop, a rest of events up to this long is still sent.
const SHORT_REST: u64 = 1024;
/// Most events that an access list holds back before the oldest of them are set aside.
const FORBIDDEN: usize = 1024;
/// Most of those that are tried again at once.
const FORBIDDEN_AT_ONCE: usize = 64;
/// A window that was lowered grows again after so many times its size of brisk acknowledgements.
const GROW_AFTER: usize = 8;
/// An acknowledgement is brisk that takes less than this part of the time it may take.
const BRISK: u32 = 4;
/// Bytes of a batch's packet beside its payload and topic, at most.
const BATCH_FRAME: usize = 256;

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
    window: Window,
    /// Most messages that we and the broker allow in flight.
    most: u16,
    lanes: Lanes,
    pub(super) reading: Option<Reading>,
    batch: Batch,
    /// Events in flight, in the batch, or put off: no lane sends them.
    taken: HashSet<u64>,
    /// Messages in flight that are older than this connection.
    backlog_in_flight: usize,
    /// Put off by a broker that has too much.
    later: Held,
    /// Put off by an access list.
    forbidden: Held,
    /// Events of a batch that the broker refused: each goes alone, to find the one.
    alone: HashSet<u64>,
    /// Events up to here were there before this connection.
    replayed_through: u64,
    /// Dead letters that were made pending again.
    revived: Revived,
    max_packet: usize,
    /// Whether the broker keeps retained messages.
    retains: bool,
    number: u32,
    phase: Phase,
    dead_letters: u64,
    accepted: u64,
    /// Brisk acknowledgements in a row.
    brisk: usize,
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
            window: Window::new(session.limit.min(limits.in_flight)),
            most: session.config.window.min(limits.in_flight),
            lanes: Lanes::new(session.config.order, &session.progress, head),
            reading: None,
            batch: Batch::default(),
            taken: HashSet::new(),
            backlog_in_flight: 0,
            later: Held::new(now),
            forbidden: Held::new(now),
            alone: HashSet::new(),
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

    fn is_forwarding(&self) -> bool {
        self.phase == Phase::Forwarding
    }

    /// Whether we were not asked to stop yet.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self.phase, Phase::Forwarding | Phase::Renewing)
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
    fn is_replayed(&self, seq: u64) -> bool {
        seq <= self.replayed_through
            || self.taken.contains(&seq)
            || self.revived.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }

    /// Whether the backlog may send, so that what happens now has three quarters of the window where it needs them.
    fn backlog_may_go(&self, head: u64) -> bool {
        !self.lanes.live_waits(head) || self.backlog_in_flight < usize::from(self.most / 4).max(1)
    }

    fn is_backlog(&self, message: &Message) -> bool {
        let first = match message {
            Message::Health => None,
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
        let age = now.saturating_duration_since(sent.at);
        self.metrics.forward_ack_seconds.observe(age.as_secs_f64());
        self.pace(connection, age);
        if connection.is_backlog(&sent.message) {
            connection.backlog_in_flight -= 1;
        }
        let seqs = match sent.message {
            Message::Event(seq) => vec![seq],
            Message::Batch(seqs) => seqs,
            Message::Health if verdict == Verdict::Accepted => return,
            Message::Health => {
                let topic = self.topics.health();
                return tracing::warn!(topic, reason = ?verdict, "the broker does not take our health");
            }
        };
        match verdict {
            Verdict::Accepted => {
                self.metrics.forward_published.inc();
                connection.later.relax();
                for seq in seqs {
                    connection.accepted += 1;
                    if self.refused.remove(&seq).is_some() {
                        connection.forbidden.soon(now);
                    }
                    self.settle(connection, Outcome::Forwarded, seq);
                }
            }
            Verdict::Later(reason) => {
                for seq in seqs {
                    if let Some(pause) = connection.later.hold(seq, now) {
                        tracing::warn!(reason, ?pause, "the broker puts events off; they are sent again");
                    }
                }
            }
            Verdict::Forbidden => seqs.into_iter().for_each(|seq| self.forbidden(connection, seq, now)),
            Verdict::Never(reason) if seqs.len() > 1 => {
                tracing::warn!(reason, events = seqs.len(), "the broker refuses a batch; its events go alone");
                for seq in seqs {
                    connection.alone.insert(seq);
                    let _ = connection.later.hold(seq, now);
                }
                connection.later.soon(now);
            }
            Verdict::Never(reason) => seqs.into_iter().for_each(|seq| self.set_aside(connection, seq, reason)),
        }
    }

    /// How long an acknowledgement may take.
    fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.ack_timeout_s.max(1)))
    }

    /// Lets a window grow that was lowered where acknowledgements did not come in time: as far as they come briskly, so
    /// that a slow line is not driven into the next timeout.
    fn pace(&mut self, connection: &mut Connection, age: Duration) {
        connection.brisk = if age < self.patience() / BRISK { connection.brisk + 1 } else { 0 };
        if self.limit < self.config.window && connection.brisk >= GROW_AFTER * usize::from(self.limit) {
            self.limit = self.limit.saturating_mul(2).min(self.config.window);
            connection.window.set_limit(self.limit.min(connection.most));
            connection.brisk = 0;
        }
    }

    /// An access list is mended by people: they have a while to do so.
    fn forbidden(&mut self, connection: &mut Connection, seq: u64, now: Instant) {
        let patience = Duration::from_secs(self.config.refused_after_s);
        let since = *self.refused.entry(seq).or_insert(now);
        if now.saturating_duration_since(since) >= patience {
            return self.set_aside(connection, seq, "not authorised");
        }
        if let Some(pause) = connection.forbidden.hold(seq, now) {
            tracing::warn!(seq, ?pause, "the broker does not allow us to publish events; they are sent again");
        }
        if connection.forbidden.len() > FORBIDDEN
            && let Some(oldest) = connection.forbidden.oldest()
        {
            self.set_aside(connection, oldest, "not authorised, and too many others are not");
        }
    }

    /// An event that can never be forwarded is dealt with, and counted as such.
    fn set_aside(&mut self, connection: &mut Connection, seq: u64, reason: &str) {
        self.refused.remove(&seq);
        self.settle(connection, Outcome::DeadLettered(reason.to_owned()), seq);
        connection.dead_letters += 1;
        // The rest is counted and said once a second.
        if connection.dead_letters == 1 {
            tracing::warn!(seq, reason, "an event cannot be forwarded and is set aside");
        }
    }

    fn settle(&mut self, connection: &mut Connection, outcome: Outcome, seq: u64) {
        connection.taken.remove(&seq);
        connection.alone.remove(&seq);
        self.progress.settle(&outcome, seq, seq);
        self.unsaved.push(outcome, seq, seq);
    }

    /// Hands messages to the client as long as the window and the rows last, and sees to it that more rows are read.
    /// Answers that the connection is to be left, once it is.
    pub(super) fn fill(&mut self, connection: &mut Connection, now: Instant) -> Result<Option<Left>, Lost> {
        if matches!(connection.phase, Phase::Forwarding | Phase::Draining(_)) {
            let head = *self.head.borrow_and_update();
            loop {
                self.send_rows(connection, head, now)?;
                if !self.read_on(connection, head, now) {
                    break;
                }
            }
            self.send_batch_when_due(connection, now)?;
        }
        self.leave(connection)
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

    /// Publishes one event, or puts it in the batch.
    fn publish(&mut self, connection: &mut Connection, stored: &Stored, now: Instant) -> Result<(), Lost> {
        let replayed = connection.is_replayed(stored.seq);
        connection.taken.insert(stored.seq);
        let payload = self.envelope.wrap(stored, replayed);
        let Some(limits) = self.config.batch.clone() else {
            let content = self.describes(payload::CONTENT_TYPE);
            let topic = self.topics.event(&stored.event);
            let publication = Publication { topic, payload: payload.into(), retain: false, content };
            return self.send(connection, Message::Event(stored.seq), publication, now);
        };
        let room = connection.max_packet.saturating_sub(self.topics.batch().len() + BATCH_FRAME);
        let limits = batch::Batching { max_bytes: limits.max_bytes.min(room), ..limits };
        let fits = Batch::default().fits(payload.len(), &limits);
        let alone = stored.event.severity == Severity::Critical || connection.alone.contains(&stored.seq) || !fits;
        if alone {
            let mut single = Batch::default();
            single.push(stored.seq, &payload, now);
            return self.send_batch(connection, single, now);
        }
        if !connection.batch.fits(payload.len(), &limits) {
            let full = std::mem::take(&mut connection.batch);
            self.send_batch(connection, full, now)?;
        }
        connection.batch.push(stored.seq, &payload, now);
        Ok(())
    }

    /// When the batch must go at the latest.
    pub(super) fn batch_due(&self, connection: &Connection) -> Option<Instant> {
        self.config.batch.as_ref().and_then(|limits| connection.batch.due(limits))
    }

    fn send_batch_when_due(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Lost> {
        let due = self.batch_due(connection).is_some_and(|due| now >= due || !connection.is_forwarding());
        if due && connection.has_room() {
            let batch = std::mem::take(&mut connection.batch);
            self.send_batch(connection, batch, now)?;
        }
        Ok(())
    }

    fn send_batch(&mut self, connection: &mut Connection, mut batch: Batch, now: Instant) -> Result<(), Lost> {
        if batch.is_empty() {
            return Ok(());
        }
        let (text, seqs) = batch.take();
        let content = self.describes(batch::CONTENT_TYPE);
        let packs = self.config.batch.as_ref().is_some_and(|limits| limits.zstd) && self.config.version.describes();
        let packed = content.filter(|_| packs).and_then(|content| Some((content, batch::pack(&text)?)));
        let (payload, content) = match packed {
            Some((content, packed)) => (packed.into(), Some(Content { encoding: Some(batch::ENCODING), ..content })),
            None => (text.into(), content),
        };
        let publication = Publication { topic: self.topics.batch().to_owned(), payload, retain: false, content };
        self.send(connection, Message::Batch(seqs), publication, now)
    }

    /// Sends a message, or sets the events in it aside where no broker could take it. Its events are taken already.
    fn send(
        &mut self,
        connection: &mut Connection,
        message: Message,
        publication: Publication,
        now: Instant,
    ) -> Result<(), Lost> {
        match self.packet(connection, publication) {
            Ok(packet) => {
                connection.backlog_in_flight += usize::from(connection.is_backlog(&message));
                let id = connection.window.send(message, now);
                connection.client.say(packet, id)?;
            }
            Err(reason) => match message {
                Message::Health => tracing::warn!(reason, "our health cannot be published"),
                Message::Event(seq) => self.set_aside(connection, seq, &reason),
                Message::Batch(seqs) => seqs.into_iter().for_each(|seq| self.set_aside(connection, seq, &reason)),
            },
        }
        Ok(())
    }

    /// The packet; a sentence where it cannot be sent. One that is too large would end this connection and every one
    /// after it.
    fn packet(&self, connection: &Connection, publication: Publication) -> Result<Packet, String> {
        if publication.topic.len() > topic::MAX_BYTES {
            return Err(format!("topic of {} bytes, at most {}", publication.topic.len(), topic::MAX_BYTES));
        }
        let packet = self.config.version.packet(publication);
        let (size, most) = (packet.size(), connection.max_packet);
        if size > most { Err(format!("packet of {size} bytes, at most {most}")) } else { Ok(packet) }
    }

    /// The content type, where it is to be said.
    fn describes(&self, kind: &'static str) -> Option<Content> {
        self.config.content_type.then_some(Content { kind, encoding: None })
    }

    /// Publishes our health, retained. The window has room for it: nothing else is under way, or one place is spare.
    pub(super) fn publish_health(&mut self, connection: &mut Connection, status: Status) -> Result<(), Lost> {
        let health = self.health(status, connection.number);
        let publication = Publication { retain: connection.retains, ..health };
        self.send(connection, Message::Health, publication, Instant::now())
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
    fn leave(&mut self, connection: &mut Connection) -> Result<Option<Left>, Lost> {
        let idle = connection.window.in_flight() == 0 && connection.reading.is_none();
        match connection.phase {
            Phase::Draining(head) if idle && connection.lanes.are_empty(head) && connection.batch.is_empty() => {
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
