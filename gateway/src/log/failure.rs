//! What a failure means: at the start, of one submission, of the transaction, of the disk.

use std::io;
use std::path::{Path, PathBuf};

use super::{FILE, LogError};

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be made or written.
    #[error("the data folder {} cannot be used: {source}{}", dir.display(), salvageable(dir))]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another gateway has it open.
    #[error("the data folder {} is in use by another gateway", .0.display())]
    InUse(PathBuf),
    /// The library is one of those that can corrupt a database.
    #[error("SQLite {0} can corrupt a database (fixed in 3.51.3); this build must not be used")]
    Version(&'static str),
    /// A setting did not take effect.
    #[error("SQLite did not accept {0}")]
    Setting(&'static str),
    /// The store was written by a newer gateway.
    #[error(
        "the store has schema version {found}; this gateway knows versions up to {known}. Install the newer gateway again"
    )]
    Newer {
        /// Version in the file.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// A restore was cut off before there was a store, or the store was removed beside one that was set aside.
    #[error(
        "there is no store, but {} lies beside its place: run `vestibule restore` again, rename it to {FILE} to go on with it, or \
         move it away to begin anew", .0.display()
    )]
    HalfRestored(PathBuf),
    /// The system gives no thread for the writer.
    #[error("no thread for the log's writer: {0}")]
    Thread(io::Error),
    /// There is no room on the disk.
    #[error("the disk of the data folder {} is full: the gateway starts once there is room; nothing is lost", .0.display())]
    Full(PathBuf),
    /// SQLite failed otherwise.
    #[error("the store cannot be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No random numbers for a new epoch.
    #[error("no random numbers for a new store: {0}")]
    Random(#[from] getrandom::Error),
}

/// What to do about a store that is there and cannot be written.
fn salvageable(dir: &Path) -> String {
    let store = dir.join(FILE);
    let advice = || {
        let store = store.display();
        format!("; make it writable and start again, or save what is in it: vestibule outbox salvage {store} --to FILE")
    };
    if store.exists() { advice() } else { String::new() }
}

/// Why one submission was not written.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is this submission's own fault.
    Refused(String),
    /// SQLite failed; whether it is this submission's fault is for the caller to judge.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sqlite(error)
    }
}

impl From<Fault> for LogError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(reason) => LogError::Refused(reason),
            Fault::Sqlite(error) => LogError::Refused(error.to_string()),
        }
    }
}

/// Whether this error means that the file itself is damaged.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, InvalidColumnType};
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error {
        // SQLite does not look into texts: one that is no JSON any more is damage all the same.
        FromSqlConversionFailure(_, _, why) => why.downcast_ref().is_none_or(is_broken),
        InvalidColumnType(..) => true,
        error => matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)),
    }
}

/// Whether a text is no JSON. JSON that says what this version does not know may be a newer one's.
pub(super) fn is_broken(error: &serde_json::Error) -> bool {
    !error.is_data()
}

/// Whether there was no room for the transaction; what that means stands above.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
}

/// Whether SQLite has, or may have, given up the whole transaction, not the one statement.
pub(super) fn ends_transaction(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseCorrupt, DiskFull, NotADatabase, OutOfMemory, ReadOnly, SystemIoFailure,
    };
    matches!(
        error.sqlite_error_code(),
        Some(DiskFull | SystemIoFailure | DatabaseCorrupt | NotADatabase | OutOfMemory | ReadOnly | CannotOpen)
    )
}
