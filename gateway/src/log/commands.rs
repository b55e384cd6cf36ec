//! The table of commands: written in the transactions of the events that tell of them.

use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::watch;

use super::failure::Fault;
use super::place::{number, place};
use super::{Log, LogError};
use crate::command::{Command, Source, State};

/// Commands that have ended and are kept.
const KEPT: i64 = 10_000;
/// Most that are taken off at once.
const SLICE: i64 = 16;

/// A change of the table of commands.
#[derive(Clone, Debug)]
pub enum CommandChange {
    /// A new one. Refused where its source has used its id already.
    New(Command),
    /// One that was in this state is as it stands here from now on. Refused where it was not: another was faster.
    From(State, Command),
    /// Who asked for it has been told how it ended.
    Told(Source, String),
    /// Who asked for it is to be told once more, if it has ended.
    Untold(Source, String),
}

/// A command and its number.
#[derive(Clone, Debug)]
pub struct KeptCommand {
    /// Its place among all, from 1; it grows.
    pub number: u64,
    /// The command.
    pub command: Command,
}

/// Which commands are asked for.
#[derive(Clone, Debug, Default)]
pub struct CommandFilter {
    /// Those of this terminal.
    pub terminal: Option<String>,
    /// Those in this state.
    pub state: Option<State>,
    /// Those before this number.
    pub before: Option<u64>,
}

impl Log {
    /// Changes at each commit that changed a command.
    pub fn command_changes(&self) -> watch::Receiver<u64> {
        self.0.commands.clone()
    }

    /// The command that this source has given this id.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn command(&self, source: Source, id: &str) -> Result<Option<Command>, LogError> {
        self.0.reader.ask(|connection| one(connection, source, id)).map_err(|error| self.unreadable(&error))
    }

    /// All commands that have not ended, in the order in which they were taken.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn open_commands(&self) -> Result<Vec<KeptCommand>, LogError> {
        self.0.reader.ask(open).map_err(|error| self.unreadable(&error))
    }

    /// The first commands that have ended without their asker being told.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn untold_commands(&self, limit: usize) -> Result<Vec<KeptCommand>, LogError> {
        self.0.reader.ask(|connection| untold_first(connection, limit)).map_err(|error| self.unreadable(&error))
    }

    /// The newest commands of these, newest first.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn commands(&self, filter: &CommandFilter, limit: usize) -> Result<Vec<KeptCommand>, LogError> {
        self.0.reader.ask(|connection| list(connection, filter, limit)).map_err(|error| self.unreadable(&error))
    }
}

/// Writes one change.
pub(super) fn write(connection: &Connection, change: &CommandChange) -> Result<(), Fault> {
    let changed = match change {
        CommandChange::New(command) => {
            let added = connection
                .prepare_cached(
                    "INSERT INTO command (source, id, terminal, state, untold, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    command.source.name(),
                    command.id,
                    command.terminal,
                    command.state.name(),
                    untold(command),
                    body(command)?
                ])?;
            forget(connection)?;
            added
        }
        CommandChange::From(before, command) => connection
            .prepare_cached(
                "UPDATE command SET state = ?4, untold = ?5, body = ?6 WHERE source = ?1 AND id = ?2 AND state = ?3",
            )?
            .execute(params![
                command.source.name(),
                command.id,
                before.name(),
                command.state.name(),
                untold(command),
                body(command)?
            ])?,
        CommandChange::Told(source, id) => tell(connection, *source, id, false)?,
        CommandChange::Untold(source, id) => tell(connection, *source, id, true)?,
    };
    if changed == 1 { Ok(()) } else { Err(Fault::Refused("the command is not as it was thought to be".to_owned())) }
}

/// Whether it has ended or not, it is as it was thought to be.
fn tell(connection: &Connection, source: Source, id: &str, untold: bool) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "UPDATE command SET untold = ?3
             WHERE source = ?1 AND id = ?2 AND state NOT IN ('requested', 'sent')",
        )?
        .execute(params![source.name(), id, untold])
        .map(|_| 1)
}

/// Only the broker is told by itself; others ask.
fn untold(command: &Command) -> bool {
    command.source == Source::Mqtt && command.state.is_final()
}

fn body(command: &Command) -> Result<String, Fault> {
    serde_json::to_string(command).map_err(|error| Fault::Refused(error.to_string()))
}

/// Takes some of those off that ended long ago.
fn forget(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM command WHERE number IN (
                 SELECT number FROM command
                 WHERE number <= (SELECT max(number) FROM command) - ?1
                   AND state NOT IN ('requested', 'sent') AND untold = 0
                 ORDER BY number LIMIT ?2)",
        )?
        .execute([KEPT, SLICE])
        .map(|_| ())
}

/// The command of this source and id.
fn one(connection: &Connection, source: Source, id: &str) -> rusqlite::Result<Option<Command>> {
    connection
        .prepare_cached("SELECT number, body FROM command WHERE source = ?1 AND id = ?2")?
        .query_row([source.name(), id], kept)
        .optional()
        .map(|found| found.map(|kept| kept.command))
}

/// All that have not ended, in their order.
fn open(connection: &Connection) -> rusqlite::Result<Vec<KeptCommand>> {
    let mut select = connection
        .prepare_cached("SELECT number, body FROM command WHERE state IN ('requested', 'sent') ORDER BY number")?;
    select.query_map([], kept)?.collect()
}

/// The first that have ended without their asker being told.
fn untold_first(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<KeptCommand>> {
    let mut select =
        connection.prepare_cached("SELECT number, body FROM command WHERE untold = 1 ORDER BY number LIMIT ?1")?;
    select.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], kept)?.collect()
}

/// The newest of those that are asked for, newest first.
fn list(connection: &Connection, filter: &CommandFilter, limit: usize) -> rusqlite::Result<Vec<KeptCommand>> {
    let mut select = connection.prepare_cached(
        "SELECT number, body FROM command
         WHERE number < ?1 AND (?2 IS NULL OR terminal = ?2) AND (?3 IS NULL OR state = ?3)
         ORDER BY number DESC LIMIT ?4",
    )?;
    let before = filter.before.map_or(i64::MAX, number);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    select.query_map(params![before, filter.terminal, filter.state.map(State::name), limit], kept)?.collect()
}

fn kept(row: &Row<'_>) -> rusqlite::Result<KeptCommand> {
    let body: String = row.get(1)?;
    let command = serde_json::from_str(&body)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error)))?;
    Ok(KeptCommand { number: place(row.get(0)?), command })
}
