//! A connection that reads alone, and leaves no file behind that a start would take for something else.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::layout::wal_path;

/// How long a reader waits for a lock.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the store for reading alone.
pub(super) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    // SQLite would make the write-ahead log that is missing, and hide from the next start that it was.
    if !wal_path(path).exists() {
        return open_alone(path);
    }
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Opens the store's file for reading without anything that stands beside it: no file is made or changed.
pub(super) fn open_alone(path: &Path) -> Result<Connection, rusqlite::Error> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags)
}
