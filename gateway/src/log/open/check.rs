//! Whether the store can be trusted: a small one is checked at every start, a large one where it was seen damaged.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::log::OpenError;
use crate::log::failure::is_broken;

/// A store up to this size is checked whole at every start; a larger one only after it was seen damaged.
const CHECK_ALWAYS_BYTES: u64 = 64 * 1024 * 1024;
/// Remembers beside the store that it was seen damaged: the next start checks it whole. Whether that is new.
pub(in crate::log) fn suspect(path: &Path) -> bool {
    match File::create_new(suspicion(path)) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => {
            tracing::error!(%error, "The store is damaged, and that could not be noted for the next start.");
            true
        }
    }
}

pub(super) fn suspicion(path: &Path) -> PathBuf {
    path.with_extension("db.suspect")
}

/// Checks the store as far as that is worth its time.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let suspected = suspicion(path);
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size > CHECK_ALWAYS_BYTES && !suspected.exists() {
        return Ok(());
    }
    let verdict = if suspected.exists() { scrutinise(connection)? } else { quick_check(connection)? };
    if verdict == "ok" {
        // A suspicion that the check does not confirm (a fault of the reading, say) is dropped.
        let _ = fs::remove_file(suspected);
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(OpenError::Sqlite(rusqlite::Error::SqliteFailure(code, Some(verdict))))
}

fn quick_check(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

/// Looks at everything: a fault that has been met once and is overlooked would end every run.
fn scrutinise(connection: &Connection) -> rusqlite::Result<String> {
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(verdict);
    }
    let mut select = connection.prepare("SELECT seq, json FROM event")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().ok();
        let broken = |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_err_and(|error| is_broken(&error));
        if text.is_none_or(broken) {
            return Ok(format!("event {} cannot be read", row.get::<_, i64>(0)?));
        }
    }
    Ok(verdict)
}
