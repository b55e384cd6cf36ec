//! What of another store is brought in beside its events: what its sources and askers are known by, and the text of journals.

use rusqlite::{Connection, params};

use super::failure::Fault;
use super::place::number;
use crate::command::Command;

/// The boot of a line that nobody can date any more: none that is known here.
const NO_BOOT: i64 = 0;

/// A row of another store. What is here already stays as it is.
#[derive(Debug)]
pub enum Relic {
    /// An id that a source gave to an event that was dealt with, or is brought in itself: the source's repeat is none.
    SourceId {
        /// The terminal; empty for events that were salvaged before.
        terminal: String,
        /// The id.
        id: String,
    },
    /// A command that has ended, so that it is not taken a second time.
    Command {
        /// The command.
        command: Box<Command>,
        /// Whether who asked has still to be told.
        untold: bool,
    },
    /// A line of a journal.
    Line(Box<OldLine>),
    /// A fact about the store itself.
    Fact {
        /// Its key.
        key: String,
        /// What it says.
        value: String,
    },
}

/// A line as the other store had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldLine {
    /// Its place here: before all lines that are here, so that retention finds it where the old ones are.
    pub id: i64,
    /// The terminal that printed it.
    pub terminal: String,
    /// The link it came by.
    pub link: String,
    /// When it came, in milliseconds since 1970.
    pub received_ms: i64,
    /// The day it is found under: `20300115`.
    pub day: i64,
    /// The terminal's local time, as far as the journal tells it.
    pub printed_at: Option<String>,
    /// The line, masked.
    pub text: String,
    /// Whether it came while the clock was wrong.
    pub undated: bool,
}

/// Writes one; false where it is here already.
pub(super) fn write(connection: &Connection, relic: Relic, head: u64) -> Result<bool, Fault> {
    let added = match relic {
        // It has no event here. It lives as long as the newest one, so that the walk for ids without events leaves it alone.
        Relic::SourceId { terminal, id } => connection
            .prepare_cached("INSERT INTO source_id (terminal, id, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute(params![terminal, id, number(head)])?,
        Relic::Command { command, untold } => {
            let body = serde_json::to_string(&command).map_err(|error| Fault::Refused(error.to_string()))?;
            connection
                .prepare_cached(
                    "INSERT INTO command (source, id, terminal, state, untold, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    command.source.name(),
                    command.id,
                    command.terminal,
                    command.state.name(),
                    untold,
                    body
                ])?
        }
        Relic::Line(line) => {
            connection
                .prepare_cached("INSERT INTO journal_terminal (name) VALUES (?1) ON CONFLICT DO NOTHING")?
                .execute([&line.terminal])?;
            let added = connection
                .prepare_cached(
                    "INSERT INTO journal (id, terminal, day, link, received_ms, printed_at, text)
                     VALUES (?1, (SELECT id FROM journal_terminal WHERE name = ?2), ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    line.id,
                    line.terminal,
                    line.day,
                    line.link,
                    line.received_ms,
                    line.printed_at,
                    line.text
                ])?;
            if line.undated {
                connection
                    .prepare_cached("INSERT INTO journal_undated (id, boot, boot_ms, zone) VALUES (?1, ?2, 0, NULL)")?
                    .execute([line.id, NO_BOOT])?;
            }
            added
        }
        Relic::Fact { key, value } => connection
            .prepare_cached("INSERT OR REPLACE INTO store (key, value) VALUES (?1, ?2)")?
            .execute([key, value])?,
    };
    Ok(added > 0)
}
