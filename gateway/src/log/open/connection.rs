//! A connection that may write, with the settings that durability hangs on: each is read back.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::log::OpenError;
use crate::log::life;

/// Bytes of a page of the store, chosen when it is made.
const PAGE_BYTES: i64 = 4096;
/// The write-ahead log is cut back to this size after a checkpoint.
pub(in crate::log) const WAL_BYTES: i64 = 16 * 1024 * 1024;
/// Pages of the write-ahead log at which the writer checkpoints itself: only where the thread for that does not keep up.
const OWN_CHECKPOINT: i64 = 16 * 1024;

/// How long a connection waits for another's lock.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the store, or makes its file.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    life::keep_log(&connection)?;
    // Both can be chosen only before the first table.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    settle(&connection)?;
    Ok(connection)
}

/// What holds for each connection that writes.
fn settle(connection: &Connection) -> Result<(), OpenError> {
    set(connection, "journal_mode", "WAL", "wal")?;
    set(connection, "synchronous", "FULL", "2")?;
    set(connection, "foreign_keys", "ON", "1")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    // What a rollback needs is no reason to write to a card.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", OWN_CHECKPOINT, |_| Ok(()))?;
    Ok(())
}

/// Opens a store that is ready once more, for checkpoints: it waits for nobody.
pub(in crate::log) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    life::keep_log(&connection)?;
    settle(&connection)?;
    connection.busy_timeout(Duration::ZERO)?;
    Ok(connection)
}

/// Sets a pragma and reads it back: a durability setting that silently fails would break every promise.
fn set(connection: &Connection, name: &'static str, value: &str, reads: &str) -> Result<(), OpenError> {
    connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        other => Err(other),
    })?;
    let found: String = connection.pragma_query_value(None, name, |row| {
        row.get_ref(0).map(|value| match value {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            other => other.as_str().map(str::to_lowercase).unwrap_or_default(),
        })
    })?;
    if found == reads { Ok(()) } else { Err(OpenError::Setting(name)) }
}
