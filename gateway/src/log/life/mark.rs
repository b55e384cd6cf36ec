//! The mark beside an open store. It says that its write-ahead log is there, with a header and whatever was synced: it is made
//! once the log has been synced, and taken away before the log is emptied or may go. What is in it is the machine's boot, where
//! all frames of the log were written in that boot.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::sync;
use crate::clock;
use crate::log::OpenError;

/// Whether the store was left open.
pub(in crate::log) fn is_marked(path: &Path) -> bool {
    mark(path).exists()
}

/// Whether the machine has run ever since its log was begun.
pub(in crate::log) fn is_of_this_boot(path: &Path) -> bool {
    let boot = clock::boot_id();
    boot != "unknown" && fs::read_to_string(mark(path)).is_ok_and(|text| text == boot)
}

/// Marks the store as open, once its write-ahead log is there for good; `fresh` where the log was begun by this process. A full
/// disk is no reason not to start: then this goes without the mark, until a checkpoint finds room for it.
pub(in crate::log) fn mark_open(connection: &Connection, path: &Path, fresh: bool) -> Result<(), OpenError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let committed = sync_log(connection).map(|()| make(path, fresh).and_then(|()| sync(folder)));
    let full = match &committed {
        Err(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
        Ok(made) => made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull),
    };
    if full {
        tracing::warn!(
            "The disk is full: until there is room, it will not be noticed whether the write-ahead log gets lost."
        );
        unmark(path);
        return Ok(());
    }
    committed?.map_err(|source| OpenError::Folder { dir: folder.to_owned(), source })
}

fn make(path: &Path, fresh: bool) -> io::Result<()> {
    let mut mark = File::create(mark(path))?;
    mark.write_all(if fresh { clock::boot_id().as_bytes() } else { b"" })?;
    mark.sync_all()
}

/// A commit, so that the log is synced, and its name too.
fn sync_log(connection: &Connection) -> rusqlite::Result<()> {
    // That nothing was forwarded yet is a row, too: in a damaged store, none means that it cannot be read.
    connection.execute("INSERT INTO progress VALUES ('mqtt', 0, '[]', 0, 0, 0) ON CONFLICT DO NOTHING", [])?;
    let now = clock::now().0.to_string();
    connection.execute("INSERT OR REPLACE INTO store (key, value) VALUES ('opened', ?1)", [now]).map(|_| ())
}

/// Writes the log back into the file and empties it: whether that was all of it. The mark is gone then; nothing is lost that the
/// file does not have.
pub(in crate::log) fn empty(connection: &Connection, path: &Path) -> rusqlite::Result<bool> {
    let busy = |mode: &str| -> rusqlite::Result<bool> {
        connection
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(0))
            .map(|busy| busy != 0)
    };
    if busy("RESTART")? {
        return Ok(false);
    }
    // An empty log beside the mark would look like one that was lost: the mark goes first.
    if fs::remove_file(mark(path)).is_ok() && sync(path.parent().unwrap_or(Path::new("."))).is_err() {
        return Ok(false);
    }
    Ok(!busy("TRUNCATE")?)
}

/// Takes the mark of a store away that is set aside.
pub(in crate::log) fn unmark(path: &Path) {
    let _ = fs::remove_file(mark(path));
}

fn mark(path: &Path) -> PathBuf {
    path.with_extension("db.open")
}
