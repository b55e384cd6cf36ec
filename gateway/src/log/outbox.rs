//! The log as the forwarder sees it: what is dealt with, what was set aside, and what goes first.

use std::ops::RangeInclusive;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::queue::Question;
use super::{DeadLetter, Log, LogError, Moved, Progress, Settled, Stored, Submission, dead_letter};
use crate::event::{Event, Kind};

impl Log {
    /// Where the forwarder stood when it last saved.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn progress(&self) -> Result<Progress, LogError> {
        self.0.reader.ask(Progress::stored).map_err(|error| self.unreadable(&error))
    }

    /// Where the forwarder stands once all that was said before is committed, and what moves without it from then on: dead
    /// letters that are replayed, and events that are given up. Whoever follows does the sums of [`Progress`] on its own copy,
    /// and follows anew where events were given up.
    ///
    /// # Errors
    /// [`LogError::Stopped`] where the writer has ended.
    pub async fn follow(&self) -> Result<(Progress, mpsc::UnboundedReceiver<Moved>), LogError> {
        let (answer, receiver) = oneshot::channel();
        self.0.queue.ask(Question::Follow(answer));
        receiver.await.map_err(|_| LogError::Stopped)
    }

    /// Saves what the forwarder has dealt with: with the next commit, or within a second.
    pub fn settle(&self, settled: Settled) {
        self.0.queue.settle(settled);
    }

    /// At most `limit` events that could not be forwarded, after place `after`, in order.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, LogError> {
        self.0
            .reader
            .ask(|connection| dead_letter::read_after(connection, after, limit))
            .map_err(|error| self.unreadable(&error))
    }

    /// Makes the dead letters among these places pending again, and answers how many they were once that is committed.
    /// Those whose events have been pruned stay what they are.
    ///
    /// # Errors
    /// [`LogError::Stopped`] where the writer has ended.
    pub async fn replay_dead_letters(&self, places: RangeInclusive<u64>) -> Result<u64, LogError> {
        let (answer, receiver) = oneshot::channel();
        self.0.queue.ask(Question::Replay(*places.start(), *places.end(), answer));
        receiver.await.unwrap_or(Err(LogError::Stopped))
    }

    /// The same for whoever asks, at each of these places, or at all where none is named: how many, and the places at which
    /// there was none. What was brought back is told by `gateway.dead_letters_replayed`, with their name, before this answers,
    /// also where a fault has cut it short.
    ///
    /// # Errors
    /// As [`Log::replay_dead_letters`].
    pub async fn replay_for(&self, by: &str, places: &[u64]) -> Result<(u64, Vec<u64>), LogError> {
        let ranges: Vec<_> =
            if places.is_empty() { vec![1..=u64::MAX] } else { places.iter().map(|place| *place..=*place).collect() };
        let (mut replayed, mut none, mut end) = (0, Vec::new(), Ok(()));
        for range in ranges {
            let place = *range.start();
            match self.replay_dead_letters(range).await {
                Ok(0) if !places.is_empty() => none.push(place),
                Ok(count) => replayed += count,
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
        }
        if replayed > 0 {
            let submission = || Submission { events: vec![told(by, replayed).into()], ..Submission::default() };
            match self.submit(submission()).await {
                Ok(_) => {}
                // Told once there is room.
                Err(LogError::NoRoom(_)) => drop(self.enqueue(submission())),
                Err(error) => tracing::error!(%error, by, replayed, "Who has replayed dead letters is not kept."),
            }
        }
        end.map(|()| (replayed, none))
    }

    /// Counts the events in the store, and those of them that `progress` says are still to be forwarded.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn count(&self, progress: &Progress) -> Result<(u64, u64), LogError> {
        self.0.reader.ask(|connection| progress.count(connection)).map_err(|error| self.unreadable(&error))
    }

    /// These events, as far as they are still here, in order; blocks for the time of a small read.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn read_places(&self, places: &[u64]) -> Result<Vec<Arc<Stored>>, LogError> {
        self.0.reader.read_places(places).map_err(|error| self.unreadable(&error))
    }

    /// At most `limit` critical events after place `after`, in order; blocks for the time of a small read.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn critical_after(&self, after: u64, limit: usize) -> Result<Vec<Arc<Stored>>, LogError> {
        self.0.reader.critical_after(after, limit).map_err(|error| self.unreadable(&error))
    }
}

/// The event that tells of dead letters that somebody has brought back.
fn told(by: &str, replayed: u64) -> Event {
    let (now, synced) = crate::clock::now();
    let mut event = Event::new(Kind::GatewayDeadLettersReplayed)
        .detail(format!("{replayed} dead letters are pending again, as {by} asked"))
        .attribute("by", by)
        .attribute("events", replayed);
    event.terminal = "gateway".to_owned();
    event.received_at = Some(now);
    event.time_synced = synced;
    event
}
