//! The spine: one append-only table of events in SQLite, and durable positions over it.
//!
//! Beside the events stands the text of the journals they were read from, in the same transactions ([`Archive`] reads it).
//!
//! One thread writes ([`Log`] is the handle to it). It merges what all stages submit into one transaction a cycle (group
//! commit), commits with `synchronous=FULL`, and only then answers. A submission that fails alone is rolled back to its
//! savepoint; a commit that fails is indeterminate, so the writer stops and everything waiting gets [`LogError::Stopped`].
//!
//! Readers take fresh events from a small tail in memory and fall back to SQLite when they lag. There is no other queue.

mod backup;
mod board;
mod checkpoint;
mod commands;
mod config;
mod dating;
mod dead_letter;
mod epoch;
mod failure;
mod filter;
mod fit;
mod fold;
mod foreign;
mod front;
mod gap;
mod journal;
mod layout;
mod life;
mod open;
mod opening;
mod outbox;
mod pages;
mod place;
mod plugin;
mod progress;
mod pruning;
mod queue;
mod read;
mod reading;
mod records;
mod register;
mod relics;
mod restore;
mod retention;
mod salvage;
mod salvaged;
mod space;
mod start;
mod status;
mod submission;
mod tail;
mod transaction;
mod verify;
mod wal;
mod writer;
mod written;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

pub use self::backup::{Copied, CopyError};
use self::board::Board;
pub use self::board::Standing;
pub use self::commands::{CommandChange, CommandFilter, KeptCommand};
pub use self::config::Config;
pub use self::dead_letter::DeadLetter;
pub use self::epoch::Epoch;
pub use self::failure::OpenError;
pub use self::filter::{Filter, KindPattern};
pub use self::fit::{Unfit, fit};
pub use self::fold::Fold;
pub use self::front::Front;
pub use self::journal::{Archive, Cursor, KeptLine, NewLine, Page, Search, Undated, pattern};
pub use self::life::{Beginning, Cause};
pub use self::plugin::PluginCommit;
pub use self::progress::{Outcome, Progress, Settled};
use self::queue::{Job, Queue};
pub use self::queue::{Moved, Revived};
use self::read::Reader;
pub use self::records::{Piece, Records};
pub use self::register::{Register, RegisterKind, RegisterRow};
pub use self::relics::{OldLine, Relic};
pub use self::restore::{RestoreError, restore};
pub use self::retention::missed;
pub use self::salvage::{BroughtIn, Survey, Wanted, Wreck, wrecks};
pub use self::salvaged::Salvaged;
pub use self::space::{NoRoom, cramped};
pub use self::start::Opened;
pub use self::status::{Oldest, Position, Status};
pub use self::submission::{NewEvent, Receipt, Submission};
use self::tail::Tail;
pub use self::verify::Verdict;
use crate::event::Event;

/// The store's file in the data folder.
const FILE: &str = "events.db";

/// An event as it stands in the log.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Place in the log, from 1, without gaps.
    pub seq: u64,
    /// Place among the events of its terminal, from 1, without gaps.
    pub terminal_seq: u64,
    /// Milliseconds since the machine's boot when it was written, where that is the present boot.
    pub boot_ms: Option<i64>,
    /// The event.
    pub event: Event,
    /// Its JSON form with `seq`, `id` and `terminal_seq` in front ([`Front`]): the bytes that every reader gets.
    pub json: Box<str>,
}

/// Why a submission or question was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// This submission alone was refused and rolled back.
    #[error("not accepted: {0}")]
    Refused(String),
    /// There is no room for it, and nothing of it is kept. The same may be accepted later.
    #[error("not accepted: {0}")]
    NoRoom(NoRoom),
    /// The writer has stopped: whether what was on its way is committed is not known.
    #[error("the event log has stopped")]
    Stopped,
    /// The store could not be read.
    #[error("the event store cannot be read: {0}")]
    Unreadable(String),
}

/// The handle to the log; cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    queue: Arc<Queue>,
    tail: Arc<Tail>,
    board: Arc<Board>,
    reader: Reader,
    head: watch::Receiver<u64>,
    commands: watch::Receiver<u64>,
    refuses: watch::Receiver<Option<NoRoom>>,
    needs: Arc<retention::Known>,
    written: written::Written,
    id_prefix: String,
    epoch: Epoch,
    /// The last place of the lives before.
    born_after: u64,
    path: PathBuf,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Appends, and answers once it is committed.
    ///
    /// # Errors
    /// [`LogError::Refused`] where this submission alone failed, [`LogError::Stopped`] where nothing is accepted any more.
    pub async fn submit(&self, submission: Submission) -> Result<Receipt, LogError> {
        self.enqueue(submission)?.await.unwrap_or(Err(LogError::Stopped))
    }

    /// [`Log::submit`] for threads outside the runtime.
    ///
    /// # Errors
    /// As [`Log::submit`].
    pub fn submit_blocking(&self, submission: Submission) -> Result<Receipt, LogError> {
        self.enqueue(submission)?.blocking_recv().unwrap_or(Err(LogError::Stopped))
    }

    /// Puts a submission in the queue; the answer comes once it is committed. Submissions of one caller keep their order.
    ///
    /// # Errors
    /// [`LogError::Stopped`] where nothing is accepted any more.
    pub fn enqueue(&self, submission: Submission) -> Result<oneshot::Receiver<Result<Receipt, LogError>>, LogError> {
        let (answer, receiver) = oneshot::channel();
        match submission.plugin {
            // A position that moved without effects is no reason to commit: losing it only repeats what had no effect.
            Some(commit) if submission.events.is_empty() && commit.state.is_empty() => {
                self.0.queue.ride(commit.plugin, commit.cursor);
                let _ = answer.send(Ok(Receipt::default()));
            }
            plugin => {
                let job = Job { submission: Submission { plugin, ..submission }, answer };
                self.0.queue.push(job)?;
            }
        }
        Ok(receiver)
    }

    /// The last committed place; changes at each commit that appended something. Closed once the writer has ended.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.0.head.clone()
    }

    /// `{gateway}-{epoch}`: the front of every event id; `-{seq}` follows.
    pub fn id_prefix(&self) -> &str {
        &self.0.id_prefix
    }

    /// The name of this store's life.
    pub fn epoch(&self) -> &Epoch {
        &self.0.epoch
    }

    /// The last place that was given before this life of the store began; 0 where it began with its file.
    pub fn born_after(&self) -> u64 {
        self.0.born_after
    }

    /// Sizes of the store's file and of its write-ahead log, in bytes.
    pub fn sizes(&self) -> (u64, u64) {
        let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        (size(self.0.path.clone()), size(PathBuf::from(format!("{}-wal", self.0.path.display()))))
    }

    /// At most `limit` events after place `after`, in order: from memory where they still are, else from SQLite. There
    /// may be more although fewer came: large events are read a few at a time. Blocks for the time of a small read where it
    /// lags; call it from a blocking thread then.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn read_after(&self, after: u64, limit: usize) -> Result<Vec<Arc<Stored>>, LogError> {
        if after >= *self.0.head.borrow() {
            return Ok(Vec::new());
        }
        match self.0.tail.read_after(after, limit) {
            Some(events) => Ok(events),
            None => self.0.reader.read_after(after, limit).map_err(|error| self.unreadable(&error)),
        }
    }

    /// The same where it needs no read from disk; `None` where it does.
    pub fn read_tail(&self, after: u64, limit: usize) -> Option<Vec<Arc<Stored>>> {
        self.0.tail.read_after(after, limit)
    }

    /// Asks something of what is known of each terminal now, by name; from memory, so keep it short.
    pub fn terminals<T>(&self, ask: impl FnOnce(&BTreeMap<String, Standing>) -> T) -> T {
        self.0.board.terminals(ask)
    }

    /// Asks something of the register; from memory, so keep it short.
    pub fn register<T>(&self, ask: impl FnOnce(&Register) -> T) -> T {
        self.0.board.register(ask)
    }

    /// Opens the kept journals on a connection of its own, so that a long search holds no other reader up. Blocks.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn archive(&self) -> Result<Archive, LogError> {
        Archive::at(&self.0.path)
    }

    /// Writes what waits, and ends the writer. Blocks until it has.
    pub fn close(&self) {
        self.0.queue.close();
        let thread = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("The log's writer ended in a panic.");
        }
    }

    fn unreadable(&self, error: &rusqlite::Error) -> LogError {
        if failure::is_damage(error) {
            // Nothing more is put into a damaged store: the next start checks it whole, and saves what it holds.
            if open::suspect(&self.0.path) {
                tracing::error!(
                    %error,
                    "The event log is damaged: something in {} cannot be read. The gateway ends, so that nothing more is put \
                     into it; the next start checks all of it, sets it aside where it is damaged, and saves what it holds.",
                    self.0.path.display()
                );
            }
            self.0.queue.close();
        }
        LogError::Unreadable(error.to_string())
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("path", &self.0.path).field("id_prefix", &self.0.id_prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
