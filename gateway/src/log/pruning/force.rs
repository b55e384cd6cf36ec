//! What goes where there is too much: first what nobody needs, then what somebody might, and what was never forwarded last.

use rusqlite::Connection;

use super::events::{self, Row};
use crate::log::progress::Progress;

/// Rows looked at in one step.
const STEP: i64 = 2048;
/// Steps without a find before others have their turn.
const LOOKS: usize = 4;

/// How much an event is needed, least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Forwarded, and every rule in force has dealt with it.
    #[default]
    Spare,
    /// Forwarded, but a slow rule has not dealt with it; or a dead letter, which might be replayed.
    Settled,
    /// Not forwarded.
    Pending,
    /// Not forwarded, and critical.
    Critical,
}

impl Class {
    fn next(self) -> Option<Class> {
        match self {
            Class::Spare => Some(Class::Settled),
            Class::Settled => Some(Class::Pending),
            Class::Pending => Some(Class::Critical),
            Class::Critical => None,
        }
    }
}

/// What is known of the log while it is swept.
#[derive(Debug)]
pub(super) struct Front<'a> {
    /// The newest event: it always stays, so that its place is never given again.
    pub(super) head: u64,
    /// The last place up to which nobody needs anything.
    pub(super) spare: u64,
    pub(super) broker: bool,
    pub(super) progress: &'a Progress,
}

/// What a step found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// These may go.
    Rows(Class, Vec<Row>),
    /// Nothing yet.
    Nothing,
    /// There is nothing that may go.
    End,
}

/// A sweep over the log from its front, once for each class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sweep {
    class: Class,
    /// The last place looked at.
    looked: u64,
}

impl Sweep {
    /// The class that the next step looks for.
    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// The next rows that may go, oldest first, of classes up to `most`; of one class in a step.
    pub(super) fn next(&mut self, connection: &Connection, front: &Front<'_>, most: Class) -> rusqlite::Result<Found> {
        if self.class > most {
            *self = Sweep::default();
        }
        for _ in 0..LOOKS {
            let before = if self.class == Class::Spare { front.head.min(front.spare + 1) } else { front.head };
            let rows = events::rows(connection, self.looked, before, STEP)?;
            let Some(last) = rows.last() else {
                let next = self.class.next().filter(|next| *next <= most);
                *self = Sweep { class: next.unwrap_or_default(), looked: 0 };
                return Ok(if next.is_some() { Found::Nothing } else { Found::End });
            };
            self.looked = last.seq;
            let rows: Vec<Row> = rows.into_iter().filter(|row| self.class.has(row, front)).collect();
            if !rows.is_empty() {
                return Ok(Found::Rows(self.class, rows));
            }
        }
        Ok(Found::Nothing)
    }
}

impl Class {
    fn has(self, row: &Row, front: &Front<'_>) -> bool {
        match self {
            Class::Spare => !row.letter,
            Class::Settled => !front.broker || front.progress.is_settled(row.seq),
            Class::Pending => !row.critical,
            Class::Critical => true,
        }
    }
}
