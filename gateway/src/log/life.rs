//! A store's life: from the moment its epoch was chosen. A new one begins where ids could otherwise be given twice: in a new
//! file, after a backup was restored, and where the write-ahead log of a store that was not closed is gone, or its end cannot be
//! read.
//!
//! SQLite takes a store without its write-ahead log for a whole one, only older: the numbers of the events that are lost would be
//! given again. So a mark lies beside an open store ([`mark`]), and each start looks at store, log and mark before SQLite
//! does ([`verdict`]).

mod mark;
mod verdict;

use std::fs::File;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

pub(super) use self::mark::{empty, is_marked, mark_open, unmark};
pub(super) use self::verdict::{Judgement, Verdict, forget, judge, note, noted};
use super::OpenError;
use super::epoch::Epoch;
use super::place::place;

/// Why a new life began in a store that has events already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A backup was restored.
    Restored,
    /// The write-ahead log was gone.
    Rewound,
    /// The end of the write-ahead log could not be read.
    Torn,
}

/// How a life began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// Why.
    pub cause: Cause,
    /// The last place of the life before.
    pub after: u64,
    /// The epoch of the life before.
    pub before: String,
    /// When, by the gateway's clock.
    pub at: Timestamp,
    /// Where the store that was in the way is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

/// The key of the last beginning among the facts of a store.
const KEY: &str = "beginning";

/// Begins a new life in this store; what it holds keeps its ids.
pub(super) fn begin(connection: &Connection, cause: Cause, set_aside: Option<String>) -> Result<Beginning, OpenError> {
    let after: Option<i64> = connection.query_row("SELECT max(seq) FROM event", [], |row| row.get(0))?;
    let before: Option<String> =
        connection.query_row("SELECT value FROM store WHERE key = 'epoch'", [], |row| row.get(0)).optional()?;
    let beginning = Beginning {
        cause,
        after: place(after.unwrap_or(0)),
        before: before.unwrap_or_default(),
        at: crate::clock::now().0,
        set_aside,
    };
    let text = serde_json::to_string(&beginning).unwrap_or_default();
    let transaction = connection.unchecked_transaction()?;
    let mut set = transaction.prepare("INSERT OR REPLACE INTO store (key, value) VALUES (?1, ?2)")?;
    set.execute(["epoch", Epoch::random()?.to_string().as_str()])?;
    set.execute([KEY, text.as_str()])?;
    drop(set);
    // What waited for its terminal may have been sent since: nobody knows, and it is not sent again.
    transaction.execute(
        "UPDATE command SET state = 'sent', body = json_set(body, '$.state', 'sent') WHERE state = 'requested'",
        [],
    )?;
    transaction.commit()?;
    Ok(beginning)
}

/// How the present life began, if that was not with the file.
pub(super) fn beginning(connection: &Connection) -> rusqlite::Result<Option<Beginning>> {
    let text: Option<String> =
        connection.query_row("SELECT value FROM store WHERE key = ?1", [KEY], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Has SQLite leave the log where it is when a connection ends: only [`close`] may take it away, and damage is looked at as it is.
pub(super) fn keep_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(|_| ())
}

/// Writes the log back into the file, and takes the mark away if that was all of it.
pub(super) fn close(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    empty(connection, path).map(drop)
}

pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::open;

    #[test]
    fn a_store_without_its_write_ahead_log_begins_a_new_life() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("events.db");
        let store = open::open(dir.path()).expect("opens");
        let insert = |connection: &rusqlite::Connection, seq: i64| {
            connection.execute("INSERT INTO event VALUES (?1, 1, 1, 1, '{}')", [seq]).expect("inserts");
        };
        insert(&store.connection, 1);
        let first = store.epoch.to_string();
        super::close(&store.connection, &path).expect("writes back");
        drop(store);

        let store = open::open(dir.path()).expect("opens again");
        assert_eq!((store.epoch.to_string(), &store.beginning), (first.clone(), &None), "closed in order");
        insert(&store.connection, 2);
        drop(store);
        let store = open::open(dir.path()).expect("opens with its log");
        assert_eq!(store.epoch.to_string(), first);
        insert(&store.connection, 3);
        drop(store);
        for suffix in ["-wal", "-shm"] {
            std::fs::remove_file(dir.path().join(format!("events.db{suffix}"))).expect("is there");
        }
        let store = open::open(dir.path()).expect("opens without it");
        assert_ne!(store.epoch.to_string(), first);
        let beginning = store.beginning.expect("a new life");
        assert_eq!((beginning.cause, beginning.before, beginning.after), (super::Cause::Rewound, first, 2));
    }
}
