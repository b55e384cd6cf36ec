//! The one thread that writes: takes what waits, commits it in one transaction, answers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::board::Board;
use super::dating::Dating;
use super::open::{is_damage, suspect};
use super::progress::{Outcome, Progress};
use super::pruning::Pruning;
use super::queue::{Cycle, Question, Queue, Revived};
use super::tail::Tail;
use super::transaction::{Fault, Ledger, Written, write_cursor, write_progress};
use super::{LogError, Receipt, Stored, dead_letter};
use crate::metrics::Metrics;

/// How long a position that moved alone waits for a transaction to ride along with.
const PATIENCE: Duration = Duration::from_secs(1);

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
    pub(super) head: watch::Sender<u64>,
    /// Counts the commits that changed a command.
    pub(super) commands: watch::Sender<u64>,
    pub(super) metrics: Arc<Metrics>,
    /// Where the forwarder stands, as committed.
    pub(super) progress: Progress,
    /// Whoever follows what is replayed.
    pub(super) followers: Vec<mpsc::UnboundedSender<Revived>>,
}

/// Somebody who waits, and what they will be told once the transaction is committed.
type Answer = (oneshot::Sender<Result<Receipt, LogError>>, Result<Receipt, LogError>);

impl Writer {
    /// Writes until the queue is closed and empty, or until a commit fails.
    ///
    /// A failed commit or fsync is indeterminate: nothing more is written, and nobody who waits is told that it was
    /// or that it was not. The process is expected to end and to read again what there is.
    pub(super) fn run(mut self) {
        loop {
            let cycle = self.queue.take(PATIENCE, self.pruning.wait());
            let last = cycle.last;
            if let Err(error) = self.commit(cycle).and_then(|()| self.pruning.run(&self.connection)) {
                tracing::error!(%error, "The event log could not commit and stops.");
                if is_damage(&error) {
                    suspect(&self.path);
                }
                self.queue.close();
                drop(self.queue.take(Duration::ZERO, Duration::ZERO));
                return;
            }
            if last {
                if let Err(error) = self.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE") {
                    tracing::debug!(%error, "The write-ahead log stays for the next start.");
                }
                return;
            }
        }
    }

    fn commit(&mut self, cycle: Cycle) -> rusqlite::Result<()> {
        if cycle.jobs.is_empty() && cycle.cursors.is_empty() && cycle.settled.is_empty() && cycle.questions.is_empty() {
            return Ok(());
        }
        if cycle.jobs.is_empty()
            && cycle.cursors.is_empty()
            && cycle.settled.is_empty()
            && !asks_to_write(&cycle.questions)
        {
            self.answer(Vec::new(), cycle.questions);
            return Ok(());
        }
        let begun = Instant::now();
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut answers: Vec<Answer> = Vec::with_capacity(cycle.jobs.len());
        let mut events: Vec<Arc<Stored>> = Vec::new();
        let mut register = Vec::new();
        let mut journal_lines = 0;
        let (mut commands, mut origin) = (false, None);
        for job in cycle.jobs {
            match self.ledger.write(&self.connection, job.submission) {
                Ok(Written {
                    receipt,
                    events: written,
                    duplicates,
                    register: rows,
                    journal_lines: lines,
                    commands: changed,
                    origin: found,
                }) => {
                    origin = found.or(origin);
                    commands |= changed;
                    journal_lines += lines;
                    self.metrics.log_duplicates.inc_by(duplicates);
                    events.extend(written);
                    register.extend(rows);
                    answers.push((job.answer, Ok(receipt)));
                }
                Err(Fault::Sqlite(error)) if ends_transaction(&error) => return Err(error),
                Err(fault) => {
                    self.metrics.log_refused.inc();
                    answers.push((job.answer, Err(fault.into())));
                }
            }
        }
        for (plugin, cursor) in &cycle.cursors {
            write_cursor(&self.connection, plugin, *cursor)?;
        }
        let mut progress = self.progress.clone();
        for (outcome, first, last) in cycle.settled.changes() {
            let new = progress.settle(&outcome, first, last);
            if let (Outcome::DeadLettered(reason), 1..) = (&outcome, new) {
                dead_letter::write(&self.connection, first, last, reason)?;
            }
        }
        let mut revived = Vec::new();
        for question in &cycle.questions {
            if let Question::Replay(first, last, _) = question {
                revived.push(dead_letter::replay(&self.connection, &mut progress, *first, *last)?);
            }
        }
        if progress != self.progress {
            write_progress(&self.connection, &progress)?;
        }
        let states = self.ledger.write_terminals(&self.connection, &events)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.progress = progress;
        if let Some(origin) = origin {
            // From here on everybody reads anew what waited for the clock.
            self.dating.set(origin);
            self.tail.clear();
        }
        let seen = events.iter().map(|stored| (stored.event.terminal.as_str(), stored.terminal_seq, stored.boot_ms));
        self.board.apply(seen, states, register, self.ledger.head);
        self.metrics.log_journal_lines.inc_by(journal_lines);
        self.announce(begun, events);
        self.answer(revived, cycle.questions);
        if commands {
            self.commands.send_modify(|count| *count = count.wrapping_add(1));
        }
        for (answer, outcome) in answers {
            // Whoever asked may have gone away; what was committed stays committed.
            let _ = answer.send(outcome);
        }
        Ok(())
    }

    /// Answers about the progress as it is committed now. `revived` has an entry for each replay, in their order.
    fn answer(&mut self, revived: Vec<Revived>, questions: Vec<Question>) {
        let mut revived = revived.into_iter();
        for question in questions {
            match question {
                Question::Follow(answer) => {
                    let (sender, receiver) = mpsc::unbounded_channel();
                    self.followers.retain(|follower| !follower.is_closed());
                    if answer.send((self.progress.clone(), receiver)).is_ok() {
                        self.followers.push(sender);
                    }
                }
                Question::Replay(_, _, answer) => {
                    let ranges = revived.next().unwrap_or_default();
                    let count = ranges.iter().map(|(first, last)| last - first + 1).sum();
                    self.followers.retain(|follower| follower.send(ranges.clone()).is_ok());
                    let _ = answer.send(Ok(count));
                }
            }
        }
    }

    /// Tells the readers and the metrics what has been committed.
    fn announce(&self, begun: Instant, events: Vec<Arc<Stored>>) {
        self.metrics.log_commits.inc();
        self.metrics.log_commit_seconds.observe(begun.elapsed().as_secs_f64());
        if events.is_empty() {
            return;
        }
        self.metrics.log_batch.observe(f64::from(u32::try_from(events.len()).unwrap_or(u32::MAX)));
        let mut counts = HashMap::new();
        for stored in &events {
            *counts.entry([stored.event.kind.family(), stored.event.severity.name()]).or_insert(0) += 1;
        }
        for (labels, count) in counts {
            self.metrics.events_appended.with_label_values(&labels).inc_by(count);
        }
        self.metrics.log_appended.set(super::transaction::number(self.ledger.head));
        self.tail.push(events.into_iter());
        self.head.send_replace(self.ledger.head);
    }
}

fn asks_to_write(questions: &[Question]) -> bool {
    questions.iter().any(|question| matches!(question, Question::Replay(..)))
}

/// Whether SQLite has, or may have, given up the whole transaction, not the one statement.
fn ends_transaction(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseCorrupt, DiskFull, NotADatabase, OutOfMemory, ReadOnly, SystemIoFailure,
    };
    matches!(
        error.sqlite_error_code(),
        Some(DiskFull | SystemIoFailure | DatabaseCorrupt | NotADatabase | OutOfMemory | ReadOnly | CannotOpen)
    )
}
