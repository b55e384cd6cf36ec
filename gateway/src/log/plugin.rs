//! A plugin's position and what it has stored.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::place::{number, place};
use super::{Log, LogError};

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

impl Log {
    /// The last event that this plugin has dealt with, if it was ever here.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn plugin_cursor(&self, plugin: &str) -> Result<Option<u64>, LogError> {
        let question = |connection: &Connection| {
            connection
                .query_row("SELECT cursor FROM plugin WHERE id = ?1", [plugin], |row| row.get::<_, i64>(0))
                .optional()
        };
        Ok(self.0.reader.ask(question).map_err(|error| self.unreadable(&error))?.map(place))
    }

    /// Everything that this plugin has stored.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn plugin_state(&self, plugin: &str) -> Result<BTreeMap<String, Vec<u8>>, LogError> {
        let question = |connection: &Connection| {
            let mut select = connection.prepare_cached("SELECT key, value FROM plugin_state WHERE plugin = ?1")?;
            let rows = select.query_map([plugin], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        self.0.reader.ask(question).map_err(|error| self.unreadable(&error))
    }
}

/// Moves a plugin's position and writes the state keys it changed.
pub(super) fn write(connection: &Connection, commit: &PluginCommit) -> rusqlite::Result<()> {
    write_cursor(connection, &commit.plugin, commit.cursor)?;
    for (key, value) in &commit.state {
        match value {
            Some(value) => connection
                .prepare_cached(
                    "INSERT INTO plugin_state (plugin, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![commit.plugin, key, value])?,
            None => connection
                .prepare_cached("DELETE FROM plugin_state WHERE plugin = ?1 AND key = ?2")?
                .execute(params![commit.plugin, key])?,
        };
    }
    Ok(())
}

/// Moves a plugin's position, never back.
pub(super) fn write_cursor(connection: &Connection, plugin: &str, cursor: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO plugin (id, cursor) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET cursor = max(cursor, excluded.cursor)",
        )?
        .execute(params![plugin, number(cursor)])
        .map(|_| ())
}
