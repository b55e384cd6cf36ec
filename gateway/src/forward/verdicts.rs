//! What the broker says of our messages, and what becomes of their events.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::doubts::Load;
use super::session::{Lost, Session};
use super::window::Message;
use crate::log::Outcome;
use crate::mqtt::{Broken, Verdict, Word};

/// Most events that an access list holds back before the oldest of them are set aside.
const FORBIDDEN: usize = 1024;
/// A window that was lowered grows again after so many times its size of brisk acknowledgements.
const GROW_AFTER: usize = 8;
/// An acknowledgement is brisk that takes less than this part of the time it may take.
const BRISK: u32 = 4;

impl Session {
    /// Takes one word of the broker.
    pub(super) fn hear(&mut self, connection: &mut Connection, word: Word, now: Instant) -> Result<(), Lost> {
        match word {
            Word::Ack(id, verdict) => self.answered(connection, id, verdict, now),
            Word::Pong => {}
            Word::Goodbye(why) => return Err(Broken::Ended(why).into()),
            Word::Delivery(_) | Word::Subscribed(..) => {
                return Err(Broken::Ended("it sent what nobody has asked for".to_owned()).into());
            }
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
            Message::State => {
                if let Some((terminal, _)) = connection.states.flying() {
                    self.doubts.clear(&Load::State(terminal.clone()));
                }
                return connection.states.answered(verdict, now);
            }
            Message::Health if verdict == Verdict::Accepted => return,
            Message::Health => {
                let topic = self.topics.health();
                return tracing::warn!(topic, reason = ?verdict, "the broker does not take our health");
            }
        };
        for seq in &seqs {
            self.clear(connection, *seq);
        }
        match verdict {
            Verdict::Accepted => {
                self.metrics.forward_published.inc();
                connection.later.relax();
                connection.refusing = None;
                for seq in seqs {
                    connection.accepted += 1;
                    if self.refused.remove(&seq).is_some() {
                        connection.forbidden.soon(now);
                    }
                    self.settle(connection, Outcome::Forwarded, seq);
                }
            }
            Verdict::Later(reason) => {
                connection.refusing.get_or_insert(now);
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
            Verdict::Never(reason) => {
                connection.refused_at = Some(now);
                seqs.into_iter().for_each(|seq| self.set_aside(connection, seq, reason));
            }
        }
    }

    /// Lets a window grow that was lowered where acknowledgements did not come in time: as far as they come briskly, so
    /// that a slow line is not driven into the next timeout.
    fn pace(&mut self, connection: &mut Connection, age: Duration) {
        connection.brisk = if age < self.broker.patience() / BRISK { connection.brisk + 1 } else { 0 };
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
    pub(super) fn set_aside(&mut self, connection: &mut Connection, seq: u64, reason: &str) {
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
        self.clear(connection, seq);
        self.progress.settle(&outcome, seq, seq);
        self.unsaved.push(outcome, seq, seq);
    }
}
