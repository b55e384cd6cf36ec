//! Events, states and our health as messages, alone or in batches.

use std::time::Instant;

use super::batch::{self, Batch};
use super::connection::Connection;
use super::health::{self, Status};
use super::session::{Lost, Session};
use super::window::Message;
use super::{payload, states, topic};
use crate::event::Severity;
use crate::log::Stored;
use crate::mqtt::{Content, Packet, Publication};

/// Bytes of a batch's packet beside its payload and topic, at most.
const BATCH_FRAME: usize = 256;

impl Session {
    /// Publishes one event, or puts it in the batch.
    pub(super) fn publish(&mut self, connection: &mut Connection, stored: &Stored, now: Instant) -> Result<(), Lost> {
        // What was salvaged takes places behind the head, and is no news either.
        let is_older = stored.front().is_some_and(|front| front.life() != self.log.id_prefix());
        let replayed = is_older || connection.is_replayed(stored.seq);
        connection.taken.insert(stored.seq);
        let payload = self.envelope.wrap(stored, replayed);
        let Some(limits) = self.config.batch.clone() else {
            let content = self.describes(payload::CONTENT_TYPE);
            let topic = self.topics.event(&stored.event.terminal, &stored.kind_name());
            let publication = Publication { topic, payload: payload.into(), retain: false, content };
            return self.send(connection, Message::Event(stored.seq), publication, now);
        };
        let room = connection.max_packet.saturating_sub(self.topics.batch().len() + BATCH_FRAME);
        let limits = batch::Batching { max_bytes: limits.max_bytes.min(room), ..limits };
        let fits = Batch::default().fits(payload.len(), &limits);
        let alone = stored.event.severity == Severity::Critical
            || connection.alone.contains(&stored.seq)
            || self.goes_alone(connection)
            || !fits;
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

    pub(super) fn send_batch_when_due(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Lost> {
        let due = self.batch_due(connection).is_some_and(|due| now >= due || !connection.is_forwarding());
        if due && connection.has_room() && !self.waits(connection) {
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
                Message::State => tracing::warn!(reason, "a terminal's state cannot be published"),
                Message::Event(seq) => self.set_aside(connection, seq, &reason),
                Message::Batch(seqs) => seqs.into_iter().for_each(|seq| self.set_aside(connection, seq, &reason)),
            },
        }
        Ok(())
    }

    /// Sends the next state that is due, if there is one and it may go.
    pub(super) fn publish_state(&self, connection: &mut Connection, now: Instant) -> Result<(), Lost> {
        if !connection.takes_states() {
            return Ok(());
        }
        self.log.terminals(|terminals| connection.states.look(terminals, &self.is_there, now));
        while connection.window.has_room_aside() && connection.client.is_ready() && !self.waits(connection) {
            let Some(name) = connection.states.next(now).map(str::to_owned) else { break };
            let standing = self.log.terminals(|terminals| terminals.get(&name).cloned()).unwrap_or_default();
            let state = self.is_there.ask(&name).then_some(standing.state);
            let text = states::payload(&name, &state, standing.as_of, self.log.id_prefix());
            if self.doubts.shuns(&name, &state) {
                connection.states.give_up(&name, state);
                continue;
            }
            let (topic, content) = (self.topics.state(&name), self.describes(states::CONTENT_TYPE));
            match self.packet(connection, Publication { topic, payload: text.into(), retain: true, content }) {
                Ok(packet) => {
                    connection.states.sent(&name, state, now);
                    let id = connection.window.send(Message::State, now);
                    connection.client.say(packet, id)?;
                }
                Err(reason) => {
                    tracing::warn!(terminal = name, reason, "a terminal's state cannot be published");
                    connection.states.give_up(&name, state);
                }
            }
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
}
