//! The spine: one append-only table of events in SQLite, and durable positions over it.
//!
//! One thread writes ([`Log`] is the handle to it). It merges what all stages submit into one transaction a cycle (group
//! commit), commits with `synchronous=FULL`, and only then answers. A submission that fails alone is rolled back to its
//! savepoint; a commit that fails is indeterminate, so the writer stops and everything waiting gets [`LogError::Stopped`].
//!
//! Readers take fresh events from a small tail in memory and fall back to SQLite when they lag. There is no other queue.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::event::Event;

/// Settings of the event store.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The data folder; the store is `events.db` in it.
    pub dir: PathBuf,
    /// Most events kept in memory for readers that keep up.
    pub tail_events: usize,
    /// Most bytes of one event's JSON form; a larger one is refused.
    pub max_event_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { dir: PathBuf::from("/var/lib/vestibule"), tail_events: 4096, max_event_bytes: 256 * 1024 }
    }
}

/// An event as it stands in the log.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Place in the log, from 1, without gaps.
    pub seq: u64,
    /// Place among the events of its terminal, from 1, without gaps.
    pub terminal_seq: u64,
    /// The event.
    pub event: Event,
    /// Its JSON form with `seq`, `id` and `terminal_seq` in front: the bytes that every reader gets.
    pub json: Box<str>,
}

/// What is submitted at once is committed at once, or not at all.
#[derive(Debug, Default)]
pub struct Submission {
    /// Events to append, in this order.
    pub events: Vec<NewEvent>,
    /// A plugin's position and state, moved together with the events it made.
    pub plugin: Option<PluginCommit>,
}

/// An event to append.
#[derive(Debug)]
pub struct NewEvent {
    /// The event; the fold over its terminal's state may add transitions behind it.
    pub event: Event,
    /// The source's own id of it, unique per terminal: the same id a second time appends nothing.
    pub source_id: Option<String>,
}

impl From<Event> for NewEvent {
    fn from(event: Event) -> Self {
        NewEvent { event, source_id: None }
    }
}

/// A plugin's progress, committed together with its effects.
#[derive(Debug)]
pub struct PluginCommit {
    /// The plugin's id.
    pub plugin: String,
    /// The last event it has dealt with.
    pub cursor: u64,
    /// State keys it set (`Some`) or removed (`None`).
    pub state: Vec<(String, Option<Vec<u8>>)>,
}

/// The answer to a committed [`Submission`].
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// For each event submitted: its place in the log, new or (for a repeated source id) the one it had.
    pub seqs: Vec<u64>,
}

/// Where the forwarder stands: what need not be sent any more. Durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every event up to this one is dealt with.
    pub floor: u64,
    /// Ranges above the floor that are dealt with, first and last inclusive, in order, apart from one another.
    pub ranges: Vec<(u64, u64)>,
    /// Events acknowledged by the broker, ever.
    pub forwarded: u64,
    /// Events set aside because they can never be forwarded, ever.
    pub dead_lettered: u64,
    /// Events given up, ever.
    pub discarded: u64,
}

/// Why a submission or question was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// This submission alone was refused and rolled back.
    #[error("not accepted: {0}")]
    Refused(String),
    /// The writer has stopped: whether what was on its way is committed is not known.
    #[error("the event log has stopped")]
    Stopped,
}

/// The fold that the writer runs over each event before it is stored (`terminals` implements it): it knows the last
/// state of each terminal, marks events as raised or cleared, and adds the transitions that follow from them.
pub trait Fold: Send {
    /// Takes the stored state of a terminal, at start.
    fn load(&mut self, terminal: &str, state: &str);
    /// Looks at `event`, may mark it, and pushes it and what follows from it to `out`.
    fn apply(&mut self, event: Event, out: &mut Vec<Event>);
    /// Hands over the states that changed since the last call, to be stored in the same transaction.
    fn changed(&mut self, store: &mut dyn FnMut(&str, String));
    /// Undoes every `apply` since the last [`Fold::keep`].
    fn undo(&mut self);
    /// Makes every `apply` so far permanent.
    fn keep(&mut self);
}

/// The handle to the log; cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    head: watch::Receiver<u64>,
}

impl Log {
    /// Appends, and answers once it is committed.
    ///
    /// # Errors
    /// [`LogError::Refused`] where this submission alone failed, [`LogError::Stopped`] where nothing is accepted any more.
    pub async fn submit(&self, _submission: Submission) -> Result<Receipt, LogError> {
        Err(LogError::Stopped)
    }

    /// [`Log::submit`] for threads outside the runtime.
    ///
    /// # Errors
    /// As [`Log::submit`].
    pub fn submit_blocking(&self, _submission: Submission) -> Result<Receipt, LogError> {
        Err(LogError::Stopped)
    }

    /// The last committed place; changes at each commit that appended something.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.clone()
    }

    /// `{gateway}-{epoch}`: the front of every event id; `-{seq}` follows.
    pub fn id_prefix(&self) -> &str {
        ""
    }

    /// At most `limit` events after place `after`, in order: from memory where they still are, else from SQLite.
    /// Blocks for the time of a small read where it lags; call it from a blocking thread then.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn read_after(&self, _after: u64, _limit: usize) -> Result<Vec<Arc<Stored>>, LogError> {
        Err(LogError::Stopped)
    }

    /// Where the forwarder stood when it last saved.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn progress(&self) -> Result<Progress, LogError> {
        Err(LogError::Stopped)
    }

    /// Saves where the forwarder stands: with the next commit, or within a second. Only the newest counts.
    pub fn save_progress(&self, _progress: Progress) {}

    /// The last event that this plugin has dealt with, if it was ever here.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn plugin_cursor(&self, _plugin: &str) -> Result<Option<u64>, LogError> {
        Err(LogError::Stopped)
    }

    /// Everything that this plugin has stored.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn plugin_state(&self, _plugin: &str) -> Result<BTreeMap<String, Vec<u8>>, LogError> {
        Err(LogError::Stopped)
    }
}
