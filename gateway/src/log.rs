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
mod fold;
mod front;
mod gap;
mod journal;
mod life;
mod open;
mod outbox;
mod pages;
mod place;
mod plugin;
mod progress;
mod pruning;
mod queue;
mod read;
mod records;
mod register;
mod restore;
mod retention;
mod salvage;
mod salvaged;
mod shortage;
mod slice;
mod space;
mod status;
mod tail;
mod transaction;
mod verify;
mod writer;
mod written;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

pub use self::backup::Copied;
use self::board::Board;
pub use self::board::Standing;
pub use self::commands::{CommandChange, CommandFilter, KeptCommand};
pub use self::config::Config;
use self::dating::Dating;
pub use self::dead_letter::DeadLetter;
pub use self::epoch::Epoch;
pub use self::filter::{Filter, KindPattern};
pub use self::fold::Fold;
pub use self::front::Front;
pub use self::journal::{Archive, Cursor, KeptLine, NewLine, Page, Search, Undated, pattern};
pub use self::life::{Beginning, Cause};
pub use self::open::OpenError;
use self::place::place;
pub use self::plugin::PluginCommit;
pub use self::progress::{Outcome, Progress, Settled};
use self::queue::{Job, Queue};
pub use self::queue::{Moved, Revived};
use self::read::Reader;
pub use self::records::{Piece, Records};
pub use self::register::{Register, RegisterKind, RegisterRow};
pub use self::restore::{RestoreError, restore};
pub use self::retention::missed;
pub use self::salvage::{BroughtIn, Survey, Wanted, Wreck, finish, wrecks};
pub use self::salvaged::Salvaged;
pub use self::space::NoRoom;
pub use self::status::{Oldest, Position, Status};
use self::tail::Tail;
use self::transaction::Ledger;
pub use self::verify::Verdict;
use self::writer::Writer;
use crate::event::Event;
use crate::metrics::Metrics;

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

/// What is submitted at once is committed at once, or not at all.
#[derive(Debug, Default)]
pub struct Submission {
    /// Events to append, in this order.
    pub events: Vec<NewEvent>,
    /// Lines of a journal to keep: those that the events were read from, and those that are none.
    pub journal: Vec<NewLine>,
    /// A plugin's position and state, moved together with the events it made.
    pub plugin: Option<PluginCommit>,
    /// Rows of the register that are upserted with the events, or without any.
    pub register: Vec<RegisterRow>,
    /// Commands that are new, or have come further, as the events tell.
    pub commands: Vec<CommandChange>,
    /// When the machine's present boot was, now that the clock is right: what was read before is dated by it.
    pub clock: Option<Timestamp>,
    /// Events of another store, brought in with the ids that they had.
    pub salvaged: Vec<Salvaged>,
}

/// An event to append.
#[derive(Debug)]
pub struct NewEvent {
    /// The event; the fold over its terminal's state may mark it as raised or cleared.
    pub event: Event,
    /// The source's own id of it, unique per terminal: the same id a second time appends nothing.
    pub source_id: Option<String>,
    /// It only says that something is well: it is appended where it ends a condition that is open, else dropped.
    pub reading: bool,
}

impl From<Event> for NewEvent {
    fn from(event: Event) -> Self {
        NewEvent { event, source_id: None, reading: false }
    }
}

/// The answer to a committed [`Submission`].
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// For each event submitted: its place in the log, new or (for a repeated source id) the one it
    /// had. A reading that was dropped has the place that the next event will get.
    pub seqs: Vec<u64>,
    /// How many of the salvaged events are new here.
    pub salvaged: u64,
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

/// A log that has just been opened.
pub struct Opened {
    /// The log.
    pub log: Log,
    /// Where a damaged store was put, if one was found; the log is then a new one, with a new epoch.
    pub set_aside: Option<PathBuf>,
    /// The newest time among its last events at which the clock was known to be right.
    pub newest_confirmed: Option<Timestamp>,
    /// Whether events of the machine's present boot wait for the clock to be right.
    pub undated: bool,
    /// How its life began, where that has not been told yet: nothing was appended since.
    pub beginning: Option<Beginning>,
}

impl Log {
    /// Opens the store and starts its writer.
    ///
    /// # Errors
    /// Where the folder cannot be used or the store cannot be trusted; see [`OpenError`].
    pub fn open(
        config: &Config,
        gateway: &str,
        mut fold: Box<dyn Fold>,
        metrics: Arc<Metrics>,
    ) -> Result<Opened, OpenError> {
        let store = open::open(&config.dir)?;
        let last: Option<i64> = store.connection.query_row("SELECT max(seq) FROM event", [], |row| row.get(0))?;
        let last = place(last.unwrap_or(0));
        let (mut terminals, mut standings) = (HashMap::new(), BTreeMap::new());
        {
            let mut select = store.connection.prepare("SELECT name, terminal_seq, state FROM terminal")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let (name, state): (String, String) = (row.get(0)?, row.get(2)?);
                fold.load(&name, &state);
                let terminal_seq = place(row.get(1)?);
                let text = if state.is_empty() { "{}" } else { state.as_str() };
                let standing = Standing { state: Arc::from(text), terminal_seq, as_of: last, ..Standing::default() };
                standings.insert(name.clone(), standing);
                terminals.insert(name, terminal_seq);
            }
        }
        let dating = Arc::new(Dating::load(&store.connection, store.boot)?);
        let newest_confirmed = dating::newest_confirmed(&store.connection)?;
        let undated = dating::is_undated(&store.connection, store.boot)?;
        let progress = transaction::read_progress(&store.connection)?;
        let board = Arc::new(Board::new(standings, register::load(&store.connection)?));
        let (sender, head) = watch::channel(last);
        let (commands_sender, commands) = watch::channel(0);
        let (refuses_sender, refuses) = watch::channel(None);
        let needs = Arc::<retention::Known>::default();
        let (queue, tail) = (Arc::<Queue>::default(), Arc::new(Tail::new(config.tail_events)));
        let id_prefix = format!("{gateway}-{}", store.epoch);
        metrics.log_appended.set(place::number(last));
        metrics.log_accepting.set(1);
        let checkpoints = checkpoint::Checkpoints::start(&store.path, Arc::clone(&metrics))?;
        let wal_most = checkpoint::most_bytes(config.budget());
        let writer = Writer {
            connection: store.connection,
            path: store.path.clone(),
            ledger: Ledger {
                id_prefix: id_prefix.clone(),
                boot: store.boot,
                boot_uuid: store.boot_uuid,
                undated,
                max_event_bytes: config.max_event_bytes,
                head: last,
                terminals,
                fold,
            },
            queue: Arc::clone(&queue),
            tail: Arc::clone(&tail),
            board: Arc::clone(&board),
            dating: Arc::clone(&dating),
            pruning: pruning::Pruning::new(config),
            needs: Arc::clone(&needs),
            checkpoints,
            space: space::Space::new(&config.dir, config.reserve(), wal_most),
            head: sender,
            commands: commands_sender,
            refuses: refuses_sender,
            metrics,
            progress,
            followers: Vec::new(),
            short: shortage::Short::default(),
            lax: false,
        };
        let lock = store.lock;
        let run = move || {
            writer.run();
            drop(lock);
        };
        let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(run).map_err(OpenError::Thread)?;
        let reader = Reader::new(open::open_reader(&store.path)?, dating);
        let inner = Inner {
            queue,
            tail,
            board,
            reader,
            head,
            commands,
            refuses,
            needs,
            written: written::Written::new(last),
            id_prefix,
            epoch: store.epoch,
            born_after: store.beginning.as_ref().map_or(0, |beginning| beginning.after),
            path: store.path,
            writer: Mutex::new(Some(thread)),
        };
        let beginning = store.beginning.filter(|beginning| beginning.after == last);
        Ok(Opened { log: Log(Arc::new(inner)), set_aside: store.set_aside, newest_confirmed, undated, beginning })
    }

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
    /// may be more although fewer came: large events are read a few at a time. Blocks for the time of a small read where it lags; call it from a blocking thread then.
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
            open::suspect(&self.0.path);
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
