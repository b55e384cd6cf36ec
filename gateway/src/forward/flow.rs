//! What flows over a connection: rows in, messages out, as far as window and line allow, and what is due now and then.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Phase, Read, Reading};
use super::health::Status;
use super::lanes::Wish;
use super::session::{Left, Lost, Session};
use crate::log::{LogError, Outcome, Revived, Stored};

/// At stop, a rest of events up to this long is still sent.
const SHORT_REST: u64 = 1024;
/// A broker may put everything off for so many times the patience with an acknowledgement, where there is another: a minute
/// by default.
pub(super) const PUTS_OFF: u32 = 6;
/// Most of those that are tried again at once.
const FORBIDDEN_AT_ONCE: usize = 64;

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
            if !connection.window.has_room(held) || !connection.client.is_ready() || self.waits(connection) {
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
        if again.is_empty() {
            let trial = self.on_trial(connection, now);
            connection.trial = connection.trial.or(trial);
            again.extend(trial);
        }
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
            if let Some(trial) = connection.trial.filter(|trial| (first..=last).contains(trial)) {
                self.clear(connection, trial);
            }
            if lost > 0 {
                tracing::error!(first, last, lost, "events were pruned before they were forwarded");
            }
        }
    }

    /// Dead letters are pending again: they lie below the floor, so the reading begins anew. No read is under way.
    pub(super) fn revive(&mut self, connection: &mut Connection, ranges: Revived) {
        if !ranges.is_empty() {
            connection.revived.extend(ranges);
            connection.lanes.rewind(&self.progress);
        }
    }

    /// What is due now and then: the watchdog, the ping, changed files, the summary of dead letters.
    pub(super) async fn check(&mut self, connection: &mut Connection, now: Instant) -> Result<(), Lost> {
        let patience = self.broker.patience();
        if connection.window.oldest().is_some_and(|oldest| now.saturating_duration_since(oldest) > patience) {
            return Err(Lost::AckTimeout(patience));
        }
        connection.client.keep_alive(now, patience)?;
        let others = self.broker.addresses.len() > 1;
        let refusing = connection.refusing.filter(|_| others).map(|since| now.saturating_duration_since(since));
        if refusing.is_some_and(|refusing| refusing > patience * PUTS_OFF) {
            return Err(Lost::TakesNothing(patience * PUTS_OFF));
        }
        if connection.is_forwarding()
            && let Some(usable) = self.broker.changed_files(&mut connection.watch).await
        {
            let outcome = if usable { "taken" } else { "unusable" };
            self.metrics.forward_file_changes.with_label_values(&[outcome]).inc();
            if usable {
                connection.phase = Phase::Renewing;
            }
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
                if self.relieved.is_cancelled() {
                    return Ok(Some(Left::Stopped));
                }
                self.publish_health(connection, Status::Stopped)?;
                Ok(None)
            }
            Phase::Farewell if idle => Ok(Some(Left::Stopped)),
            Phase::Renewing if idle => Ok(Some(Left::ForNewFiles)),
            _ => Ok(None),
        }
    }
}
