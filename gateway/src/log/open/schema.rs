//! The tables: made, or brought up to date from what an older gateway left.

use rusqlite::Connection;

use crate::log::OpenError;

/// The schema's versions, in order; `PRAGMA user_version` counts those applied.
pub(in crate::log) const MIGRATIONS: [&str; 6] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
];
/// Applies the versions that are missing.
pub(super) fn migrate(connection: &Connection) -> Result<(), OpenError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables = "SELECT count(*), coalesce(sum(name = 'event'), 0) FROM sqlite_schema WHERE type = 'table'";
    let (all, events): (i64, i64) = connection.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if all > 0 && events == 0 {
        return Err(not_ours("it is the database of something else"));
    }
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for (version, sql) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {sql} PRAGMA user_version = {version}; COMMIT;"))?;
    }
    Ok(())
}

/// The error of a file that is no store of ours: it is set aside as a damaged one is.
pub(super) fn not_ours(why: &str) -> OpenError {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
    OpenError::Sqlite(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())))
}
