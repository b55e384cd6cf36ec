//! What a failure means: of one submission, of the transaction, of the disk.

use super::LogError;

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
