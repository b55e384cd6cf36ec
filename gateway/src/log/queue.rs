//! What waits for the writer: lanes, so that commands never wait behind a flood of events.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{CommandChange, LogError, Progress, Receipt, Settled, Submission};
use crate::event::Event;

/// Most submissions of one lane in one transaction. Bounds the time that a transaction holds the others up.
const CYCLE: usize = 2048;

/// The lanes, first served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Events of links and of the gateway itself.
    Ingest,
    /// Effects and positions of plugins.
    Rules,
}

/// A submission and whoever waits for it.
pub(super) struct Job {
    pub(super) submission: Submission,
    pub(super) answer: oneshot::Sender<Result<Receipt, LogError>>,
}

impl Job {
    /// Whether it is written where nothing new is accepted: positions with their effects, the steps of commands that were
    /// taken before, and what the gateway tells of itself.
    pub(super) fn is_essential(&self) -> bool {
        let Submission { journal, register, commands, plugin, salvaged, relics, .. } = &self.submission;
        if plugin.is_some() {
            return true;
        }
        if !salvaged.is_empty() || !relics.is_empty() {
            return false;
        }
        if !commands.is_empty() {
            return !commands.iter().any(|change| matches!(change, CommandChange::New(_)));
        }
        journal.is_empty() && register.is_empty() && self.tells_of_the_gateway()
    }

    fn tells_of_the_gateway(&self) -> bool {
        self.submission.events.iter().all(|new| new.source_id.is_none() && new.event.kind.is_gateways_own())
    }

    /// What it tells of the gateway itself, where nothing else is in it and nobody waits for the answer: told later where
    /// there is no room for it now.
    pub(super) fn owed(&self) -> Vec<Event> {
        let Submission { events, journal, register, commands, plugin, .. } = &self.submission;
        let alone = journal.is_empty() && register.is_empty() && commands.is_empty() && plugin.is_none();
        if !alone || !self.answer.is_closed() || !self.tells_of_the_gateway() {
            return Vec::new();
        }
        events.iter().map(|new| new.event.clone()).collect()
    }
}

/// The dead letters that were made pending again, as ranges.
pub type Revived = Vec<(u64, u64)>;

/// What has moved in the progress without the forwarder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Dead letters are pending again.
    Revived(Revived),
    /// Events were given up: whoever has a copy of the progress follows anew.
    GivenUp,
}

/// A question about the forwarder's progress, answered once what was said before is committed.
pub(super) enum Question {
    /// Where does it stand? From then on, whoever asked hears what moves without them.
    Follow(oneshot::Sender<(Progress, mpsc::UnboundedReceiver<Moved>)>),
    /// Make these dead letters pending again: how many are there?
    Replay(u64, u64, oneshot::Sender<Result<u64, LogError>>),
}

/// What the writer takes at once.
#[derive(Default)]
pub(super) struct Cycle {
    pub(super) jobs: Vec<Job>,
    /// Positions of plugins that moved without effects, newest last.
    pub(super) cursors: Vec<(String, u64)>,
    pub(super) settled: Settled,
    pub(super) questions: Vec<Question>,
    /// No more will come, and this is all that was left.
    pub(super) last: bool,
}

#[derive(Default)]
struct Waiting {
    ingest: VecDeque<Job>,
    rules: VecDeque<Job>,
    cursors: Vec<(String, u64)>,
    settled: Settled,
    questions: Vec<Question>,
    closed: bool,
}

impl Waiting {
    /// Whether nothing waits to ride along. Otherwise the writer knows already, and need not be woken once more.
    fn rides_nothing(&self) -> bool {
        self.cursors.is_empty() && self.settled.is_empty()
    }
}

/// The queue between all stages and the writer thread. Bounded by its callers: each waits for its answer.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    woken: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a submission.
    ///
    /// # Errors
    /// [`LogError::Stopped`] where the writer has stopped.
    pub(super) fn push(&self, job: Job) -> Result<(), LogError> {
        let lane = if job.submission.plugin.is_some() { Lane::Rules } else { Lane::Ingest };
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(LogError::Stopped);
        }
        match lane {
            Lane::Ingest => waiting.ingest.push_back(job),
            Lane::Rules => waiting.rules.push_back(job),
        }
        self.woken.notify_one();
        Ok(())
    }

    /// Notes a plugin's position that moved without effects: it rides along with the next transaction.
    pub(super) fn ride(&self, plugin: String, cursor: u64) {
        let mut waiting = self.lock();
        let first = waiting.rides_nothing();
        match waiting.cursors.iter_mut().find(|(id, _)| *id == plugin) {
            Some(known) => known.1 = cursor,
            None => waiting.cursors.push((plugin, cursor)),
        }
        if first {
            self.woken.notify_one();
        }
    }

    /// Notes what the forwarder has dealt with: it rides along with the next transaction.
    pub(super) fn settle(&self, settled: Settled) {
        let mut waiting = self.lock();
        let first = waiting.rides_nothing();
        waiting.settled.append(settled);
        if first {
            self.woken.notify_one();
        }
    }

    /// Takes back what only rides along and found no room: it comes before what was noted since.
    pub(super) fn give_back(&self, cursors: Vec<(String, u64)>, mut settled: Settled) {
        let mut waiting = self.lock();
        for (plugin, cursor) in cursors {
            if !waiting.cursors.iter().any(|(id, _)| *id == plugin) {
                waiting.cursors.push((plugin, cursor));
            }
        }
        settled.append(std::mem::take(&mut waiting.settled));
        waiting.settled = settled;
    }

    /// Asks about the forwarder's progress; drops the question where the writer has stopped.
    pub(super) fn ask(&self, question: Question) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.questions.push(question);
            self.woken.notify_one();
        }
    }

    /// Takes nothing more; the writer ends after what waits now.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.woken.notify_one();
    }

    /// Waits for work, and takes it. What only rides along waits `patience` for company; where there is nothing at all, the
    /// wait ends after `idle`.
    pub(super) fn take(&self, patience: Duration, idle: Duration) -> Cycle {
        let mut waiting = self.lock();
        let empty = |waiting: &Waiting| {
            waiting.ingest.is_empty() && waiting.rules.is_empty() && waiting.questions.is_empty() && !waiting.closed
        };
        while empty(&waiting) {
            if waiting.rides_nothing() {
                let (guard, timeout) = self.woken.wait_timeout(waiting, idle).unwrap_or_else(PoisonError::into_inner);
                waiting = guard;
                if timeout.timed_out() {
                    break;
                }
                continue;
            }
            let alone = |waiting: &mut Waiting| empty(waiting);
            waiting = self.woken.wait_timeout_while(waiting, patience, alone).unwrap_or_else(PoisonError::into_inner).0;
            break;
        }
        let mut cycle = Cycle { cursors: std::mem::take(&mut waiting.cursors), ..Cycle::default() };
        for lane in [Lane::Ingest, Lane::Rules] {
            let queue = match lane {
                Lane::Ingest => &mut waiting.ingest,
                Lane::Rules => &mut waiting.rules,
            };
            let count = queue.len().min(CYCLE);
            cycle.jobs.extend(queue.drain(..count));
        }
        cycle.settled = std::mem::take(&mut waiting.settled);
        cycle.questions = std::mem::take(&mut waiting.questions);
        cycle.last = waiting.closed && waiting.ingest.is_empty() && waiting.rules.is_empty();
        cycle
    }
}
