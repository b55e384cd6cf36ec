//! The one thread that writes: takes what waits, commits it in one transaction, answers.
//!
//! # What a failure means
//!
//! A failed commit or sync is indeterminate in general, and then the writer stops: nothing more is written, nobody who waits
//! is told that it was or that it was not, and the next start reads what there is. One failure is not: `SQLITE_FULL`. SQLite
//! gives it where the system answered a *write* of a page into the write-ahead log with `ENOSPC`, and such a write comes
//! before the sync, in the order of the frames; the frame that makes a transaction valid is its last, and its checksum covers
//! all before it. So there is no valid frame of this transaction in the file, whatever the system did with the bytes: after
//! a rollback the next transaction overwrites what is there, and a start that found it would pass over it. A *sync* that has
//! no room (delayed allocation) is `SQLITE_IOERR_FSYNC`, an error of any other kind `SQLITE_IOERR_WRITE`, and a wal-index
//! that cannot grow, which happens behind the sync, `SQLITE_IOERR_SHMSIZE`: all of those stop the writer. So a full disk is
//! weather: everything stands as it was committed before, whoever waits is refused, and what only rides along is kept for
//! the next transaction.
//!
//! # What is synced
//!
//! Whatever somebody waits for. A transaction of positions alone is not: losing it repeats what had no effect, or what
//! carries the id it had before, and the next sync covers it, because it syncs the whole write-ahead log. So an event on an
//! idle gateway costs one sync.

mod publish;
mod shortage;
mod slice;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use self::shortage::RETRY;
pub(super) use self::shortage::Short;
use super::board::Board;
use super::checkpoint::Checkpoints;
use super::dating::Dating;
use super::failure::{Fault, ends_transaction, is_damage, is_full};
use super::open::suspect;
use super::progress::{Outcome, Progress};
use super::pruning::Pruning;
use super::queue::{Cycle, Job, Moved, Question, Queue, Revived};
use super::register::RegisterRow;
use super::retention::Known;
use super::space::{self, NoRoom, Space};
use super::tail::Tail;
use super::transaction::Ledger;
use super::{LogError, Receipt, Stored, dead_letter, life, plugin};
use crate::event::Event;
use crate::metrics::Metrics;

/// How long a position that moved alone waits for a transaction to ride along with.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pages that a transaction writes whatever is in it, in bytes.
const SMALL_COMMIT: u64 = 6 * 4096;

/// The writer thread's belongings.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) ledger: Ledger,
    pub(super) queue: Arc<Queue>,
    pub(super) tail: Arc<Tail>,
    pub(super) board: Arc<Board>,
    pub(super) dating: Arc<Dating>,
    pub(super) pruning: Pruning,
    pub(super) needs: Arc<Known>,
    pub(super) checkpoints: Checkpoints,
    pub(super) space: Space,
    pub(super) head: watch::Sender<u64>,
    /// Counts the commits that changed a command.
    pub(super) commands: watch::Sender<u64>,
    /// Why nothing new is accepted.
    pub(super) refuses: watch::Sender<Option<NoRoom>>,
    pub(super) metrics: Arc<Metrics>,
    /// Where the forwarder stands, as committed.
    pub(super) progress: Progress,
    /// Whoever follows what moves without them.
    pub(super) followers: Vec<mpsc::UnboundedSender<Moved>>,
    pub(super) short: Short,
    /// Whether the connection leaves syncing to a later transaction.
    pub(super) lax: bool,
}

/// Whether a transaction is synced before anybody hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    Now,
    /// With the next one that is.
    Later,
}

/// Somebody who waits, and what they will be told once the transaction is committed.
pub(super) type Answer = (oneshot::Sender<Result<Receipt, LogError>>, Result<Receipt, LogError>);

/// What a transaction holds, before and after its commit.
#[derive(Default)]
pub(super) struct Work {
    pub(super) answers: Vec<Answer>,
    pub(super) events: Vec<Arc<Stored>>,
    pub(super) register: Vec<RegisterRow>,
    pub(super) states: Vec<(String, String)>,
    pub(super) revived: Vec<Revived>,
    /// What the gateway tells of itself, for later where there is no room.
    pub(super) owed: Vec<Event>,
    pub(super) duplicates: u64,
    pub(super) refused: u64,
    pub(super) journal_lines: u64,
    pub(super) commands: bool,
    /// When the machine booted, where that is known from now on.
    pub(super) origin: Option<Timestamp>,
}

impl Writer {
    /// Writes until the queue is closed and empty, or until a failure leaves it unknown what is committed.
    pub(super) fn run(mut self) {
        loop {
            let cycle = self.queue.take(PATIENCE, self.idle());
            let last = cycle.last;
            if let Err(error) = self.round(cycle) {
                self.say_why(&error);
                self.queue.close();
                drop(self.queue.take(Duration::ZERO, Duration::ZERO));
                return;
            }
            if last {
                let Writer { connection, checkpoints, path, .. } = self;
                drop(checkpoints);
                if let Err(error) = life::close(&connection, &path) {
                    tracing::debug!(%error, "The write-ahead log stays for the next start.");
                }
                return;
            }
        }
    }

    /// How long the writer may sleep where nobody wants anything.
    fn idle(&self) -> Duration {
        let wait = self.pruning.wait(self.needs.is_complete(), &self.space);
        if self.short.is_over() { wait } else { wait.min(RETRY) }
    }

    fn round(&mut self, mut cycle: Cycle) -> rusqlite::Result<()> {
        self.checkpoints.fault()?;
        self.look();
        self.refuse_what_is_new(&mut cycle);
        self.add_what_is_owed(&mut cycle);
        self.commit(cycle)?;
        self.prune()
    }

    fn say_why(&self, error: &rusqlite::Error) {
        let dir = self.path.parent().unwrap_or(&self.path).display();
        if is_damage(error) {
            tracing::error!(%error, "The event log is damaged and stops. The next start checks it.");
            let _ = suspect(&self.path);
        } else if self.path.parent().is_some_and(space::is_read_only) {
            tracing::error!(%error, "The event log stops: the file system of {dir} can only be read now. A card that fails \
                does this: look at the kernel's log, and replace it. What was acknowledged is kept.");
        } else if error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure) {
            tracing::error!(%error, "The event log stops: the disk of {dir} does not do what it is told. Look at the \
                kernel's log. What was acknowledged is kept; starting again is safe.");
        } else {
            tracing::error!(%error, "The event log could not commit and stops.");
        }
    }

    fn commit(&mut self, cycle: Cycle) -> rusqlite::Result<()> {
        let Cycle { jobs, cursors, settled, questions, .. } = cycle;
        let asked = asks_to_write(&questions);
        if jobs.is_empty() && cursors.is_empty() && settled.is_empty() && !asked {
            self.answer(Vec::new(), questions);
            return Ok(());
        }
        let begun = Instant::now();
        let sync = if jobs.is_empty() && !asked { Sync::Later } else { Sync::Now };
        let head = self.ledger.head;
        let (mut work, mut progress) = (Work::default(), self.progress.clone());
        let mut waiting = VecDeque::from(jobs);
        let turn = self.checkpoints.turn();
        let held = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.begin(sync).and_then(|()| {
            self.write(&mut waiting, &mut work)?;
            self.write_positions((&cursors, &settled), &questions, &mut progress, &mut work)?;
            self.end(&mut work)
        });
        if let Err(error) = outcome {
            self.roll_back(error, head, &work.events)?;
            drop(held);
            self.refuse_for_want_of_room(work, waiting.into());
            // What rides along has not been written, but is as it will be: whoever follows need not wait for the disk.
            let mut to_be = self.progress.clone();
            for (outcome, first, last) in settled.changes() {
                to_be.settle(outcome, first, last);
            }
            self.answer_without(&to_be, questions);
            self.queue.give_back(cursors, settled);
            return Ok(());
        }
        drop(held);
        self.progress = progress;
        self.publish(begun, work, questions);
        Ok(())
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self, sync: Sync) -> rusqlite::Result<()> {
        let lax = sync == Sync::Later;
        if lax != self.lax {
            self.connection.pragma_update(None, "synchronous", if lax { "NORMAL" } else { "FULL" })?;
            self.lax = lax;
        }
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
    }

    /// Writes what was submitted, each behind a savepoint.
    fn write(&mut self, jobs: &mut VecDeque<Job>, work: &mut Work) -> rusqlite::Result<()> {
        while let Some(job) = jobs.pop_front() {
            work.owed.extend(job.owed());
            match self.ledger.write(&self.connection, job.submission) {
                Ok(written) => {
                    work.commands |= written.commands;
                    work.origin = written.origin.or(work.origin);
                    work.journal_lines += written.journal_lines;
                    work.duplicates += written.duplicates;
                    work.events.extend(written.events);
                    work.register.extend(written.register);
                    work.answers.push((job.answer, Ok(written.receipt)));
                }
                Err(Fault::Sqlite(error)) if ends_transaction(&error) || self.connection.is_autocommit() => {
                    work.answers.push((job.answer, Ok(Receipt::default())));
                    return Err(error);
                }
                Err(fault) => {
                    work.refused += 1;
                    work.answers.push((job.answer, Err(fault.into())));
                }
            }
        }
        Ok(())
    }

    /// Writes what rides along, and what was asked of the dead letters.
    fn write_positions(
        &self,
        (cursors, settled): (&[(String, u64)], &super::Settled),
        questions: &[Question],
        progress: &mut Progress,
        work: &mut Work,
    ) -> rusqlite::Result<()> {
        for (id, cursor) in cursors {
            plugin::write_cursor(&self.connection, id, *cursor)?;
        }
        for (outcome, first, last) in settled.changes() {
            let new = progress.settle(outcome, first, last);
            if let (Outcome::DeadLettered(reason), 1..) = (outcome, new) {
                dead_letter::write(&self.connection, first, last, reason)?;
            }
        }
        for question in questions {
            if let Question::Replay(first, last, _) = question {
                work.revived.push(dead_letter::replay(&self.connection, progress, *first, *last)?);
            }
        }
        if *progress != self.progress {
            progress.store(&self.connection)?;
        }
        Ok(())
    }

    /// Writes the projections, and commits.
    pub(super) fn end(&mut self, work: &mut Work) -> rusqlite::Result<()> {
        work.states = self.ledger.write_terminals(&self.connection, &work.events)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        let bytes: usize = work.events.iter().map(|stored| stored.json.len()).sum();
        let written = SMALL_COMMIT + u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(2);
        self.checkpoints.wrote(written);
        Ok(())
    }

    /// After a transaction that found no room: everything stands as it did before it. Another failure goes on.
    pub(super) fn roll_back(
        &mut self,
        error: rusqlite::Error,
        head: u64,
        events: &[Arc<Stored>],
    ) -> rusqlite::Result<()> {
        if !is_full(&error) {
            return Err(error);
        }
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.ledger.take_back(head, events, &self.board);
        self.space.filled();
        self.take_notice();
        Ok(())
    }
}

fn asks_to_write(questions: &[Question]) -> bool {
    questions.iter().any(|question| matches!(question, Question::Replay(..)))
}
