//! Places in the log as SQLite has them.

/// A place as SQLite stores it.
pub(super) fn number(place: u64) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

/// A place as SQLite gave it.
pub(super) fn place(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
