//! What is put into the log, and what is answered.

use jiff::Timestamp;

use super::{CommandChange, NewLine, PluginCommit, RegisterRow, Relic, Salvaged};
use crate::event::Event;

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
    /// What else of that store is brought in.
    pub relics: Vec<Relic>,
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
