//! What waits for the writer: lanes, so that commands never wait behind a flood of events.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{LogError, Progress, Receipt, Submission};

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

/// What the writer takes at once.
#[derive(Default)]
pub(super) struct Cycle {
    pub(super) jobs: Vec<Job>,
    /// Positions of plugins that moved without effects, newest last.
    pub(super) cursors: Vec<(String, u64)>,
    pub(super) progress: Option<Progress>,
    /// No more will come, and this is all that was left.
    pub(super) last: bool,
}

#[derive(Default)]
struct Waiting {
    ingest: VecDeque<Job>,
    rules: VecDeque<Job>,
    cursors: Vec<(String, u64)>,
    progress: Option<Progress>,
    closed: bool,
}

impl Waiting {
    /// Whether nothing waits to ride along. Otherwise the writer knows already, and need not be woken once more.
    fn rides_nothing(&self) -> bool {
        self.cursors.is_empty() && self.progress.is_none()
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

    /// Notes the forwarder's progress: it rides along with the next transaction.
    pub(super) fn progress(&self, progress: Progress) {
        let mut waiting = self.lock();
        let first = waiting.rides_nothing();
        waiting.progress = Some(progress);
        if first {
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
        while waiting.ingest.is_empty() && waiting.rules.is_empty() && !waiting.closed {
            if waiting.cursors.is_empty() && waiting.progress.is_none() {
                let (guard, timeout) = self.woken.wait_timeout(waiting, idle).unwrap_or_else(PoisonError::into_inner);
                waiting = guard;
                if timeout.timed_out() {
                    break;
                }
                continue;
            }
            let alone =
                |waiting: &mut Waiting| waiting.ingest.is_empty() && waiting.rules.is_empty() && !waiting.closed;
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
        cycle.progress = waiting.progress.take();
        cycle.last = waiting.closed && waiting.ingest.is_empty() && waiting.rules.is_empty();
        cycle
    }
}
