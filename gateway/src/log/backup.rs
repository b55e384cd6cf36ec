//! A copy of a store while a gateway writes to it: whole, of one moment, and made without holding the writer up.
//!
//! What only grows is copied first, a slice at a time, each in a transaction of its own, so that the write-ahead log can be
//! written back in between. The rest, and what has come meanwhile, is copied in one short transaction at the end: the copy is
//! the store as it was then.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, params_from_iter, types::Value};

use super::place::place;
use super::{LogError, Records};

/// The tables that only grow at their end, and are cut off at their beginning.
const GROWING: [&str; 2] = ["event", "journal"];
/// Rows of one slice.
const SLICE: i64 = 1000;

/// Why a store is not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store cannot be read.
    #[error(transparent)]
    Source(#[from] LogError),
    /// The copy cannot be written.
    #[error("the copy cannot be written: {0}")]
    Target(String),
    /// Somebody wants it to end.
    #[error("it was interrupted")]
    Interrupted,
}

fn unwritten<E: std::fmt::Display>(error: E) -> CopyError {
    CopyError::Target(error.to_string())
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The name of the store's life.
    pub epoch: String,
    /// The last event's place.
    pub head: u64,
    /// Events in the copy.
    pub events: u64,
}

impl Records {
    /// Copies the store to a file that is not there yet, and syncs it. `goes_on` is asked between its slices.
    ///
    /// # Errors
    /// Where the store cannot be read, the copy not be written, or the copy is not sound.
    pub fn copy_to(&self, target: &Path, goes_on: impl Fn() -> bool) -> Result<Copied, CopyError> {
        let failed = unwritten::<rusqlite::Error>;
        let copy = Connection::open(target).map_err(failed)?;
        let settings = "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = OFF;
            PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF;";
        copy.execute_batch(settings).map_err(failed)?;
        let tables = self.define(&copy, "type = 'table'")?;
        let head = self.head()?;
        let mut ends = Vec::new();
        for table in GROWING.iter().filter(|table| tables.iter().any(|name| name == *table)) {
            let newest = self.ask(|connection| last(connection, table))?;
            // Lines that were salvaged stand below 0.
            let mut end = i64::MIN;
            while end < newest {
                if !goes_on() {
                    return Err(CopyError::Interrupted);
                }
                let (count, reached) = self.slice(&copy, table, end, SLICE)?;
                if count == 0 {
                    break;
                }
                end = reached;
            }
            ends.push((*table, end));
        }

        // From here on it is one moment.
        let moment = self.ask(Connection::unchecked_transaction)?;
        self.define(&copy, "type = 'table'")?;
        for (table, end) in &ends {
            self.slice(&copy, table, *end, i64::MAX)?;
            let first = self.ask(|connection| {
                let question = format!("SELECT coalesce(min(rowid), 0) FROM {table}");
                connection.query_row(&question, [], |row| row.get::<_, i64>(0))
            })?;
            copy.execute(&format!("DELETE FROM {table} WHERE rowid < ?1"), [first]).map_err(failed)?;
        }
        for table in tables.iter().filter(|table| !GROWING.contains(&table.as_str())) {
            if !goes_on() {
                return Err(CopyError::Interrupted);
            }
            self.whole(&copy, table)?;
        }
        self.define(&copy, "type != 'table'")?;
        let version: i64 =
            self.ask(|connection| connection.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        copy.pragma_update(None, "user_version", version).map_err(failed)?;
        let copied = Copied { epoch: self.epoch()?, head: self.head()?.max(head), events: 0 };
        drop(moment);

        let verdict: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(unwritten(format!("it is not sound: {verdict}")));
        }
        let events: i64 = copy.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).map_err(failed)?;
        drop(copy);
        let synced = File::open(target).and_then(|file| file.sync_all());
        synced.map_err(unwritten)?;
        Ok(Copied { events: place(events), ..copied })
    }

    /// Makes what the store's schema has of this sort and the copy has not; the names of all of it.
    fn define(&self, copy: &Connection, sort: &str) -> Result<Vec<String>, CopyError> {
        let question =
            format!("SELECT name, sql FROM sqlite_schema WHERE {sort} AND sql IS NOT NULL AND name NOT LIKE 'sqlite%'");
        let definitions = self.ask(|connection| {
            let mut select = connection.prepare(&question)?;
            let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let known = "SELECT count(*) FROM sqlite_schema WHERE name = ?1";
        for (name, sql) in &definitions {
            let made = copy.query_row(known, [name], |row| row.get::<_, i64>(0)).and_then(|known| match known {
                0 => copy.execute_batch(sql),
                _ => Ok(()),
            });
            made.map_err(|error| unwritten(format!("{name}: {error}")))?;
        }
        Ok(definitions.into_iter().map(|(name, _)| name).collect())
    }

    /// Copies at most `limit` rows behind a rowid; how many, and the last.
    fn slice(&self, copy: &Connection, table: &str, after: i64, limit: i64) -> Result<(u64, i64), CopyError> {
        let question = format!("SELECT rowid, * FROM {table} WHERE rowid > ?1 ORDER BY rowid LIMIT ?2");
        self.rows(copy, table, &question, &[after, limit], 1).map(|(count, end)| (count, end.unwrap_or(after)))
    }

    /// Copies all rows of a table.
    fn whole(&self, copy: &Connection, table: &str) -> Result<(), CopyError> {
        self.rows(copy, table, &format!("SELECT * FROM {table}"), &[], 0).map(drop)
    }

    /// Copies what a question finds, but for so many columns at the front; how many rows, and the first column of the last where
    /// that is one of them.
    fn rows(
        &self,
        copy: &Connection,
        table: &str,
        question: &str,
        asked: &[i64],
        skipped: usize,
    ) -> Result<(u64, Option<i64>), CopyError> {
        let unread = |error: rusqlite::Error| LogError::Unreadable(format!("{}: {error}", self.path.display()));
        let mut select = self.connection.prepare_cached(question).map_err(unread)?;
        let columns = select.column_count();
        let mut insert = copy.prepare_cached(&insertion(table, columns.saturating_sub(skipped))).map_err(unwritten)?;
        let mut rows = select.query(params_from_iter(asked)).map_err(unread)?;
        let (mut count, mut end) = (0, None);
        copy.execute_batch("BEGIN").map_err(unwritten)?;
        while let Some(row) = rows.next().map_err(unread)? {
            if skipped > 0 {
                end = Some(row.get(0).map_err(unread)?);
            }
            let values: rusqlite::Result<Vec<Value>> = (skipped..columns).map(|column| row.get(column)).collect();
            insert.execute(params_from_iter(values.map_err(unread)?)).map_err(unwritten)?;
            count += 1;
        }
        copy.execute_batch("COMMIT").map_err(unwritten)?;
        Ok((count, end))
    }
}

/// The last rowid of a table.
fn last(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("SELECT coalesce(max(rowid), 0) FROM {table}"), [], |row| row.get(0))
}

fn insertion(table: &str, columns: usize) -> String {
    let places: Vec<String> = (1..=columns).map(|column| format!("?{column}")).collect();
    format!("INSERT INTO {table} VALUES ({})", places.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::tests::{event, open, submit};
    use super::*;

    #[test]
    fn a_copy_that_is_made_while_events_come_is_of_one_moment_and_lets_the_log_be_written_back() {
        let dir = tempfile::tempdir().expect("temp dir");
        let log = open(dir.path());
        for _ in 0..30 {
            submit(&log, (0..200).map(|_| event("a")).collect()).expect("appends");
        }
        let done = AtomicBool::new(false);
        let target = dir.path().join("copy.db");
        let copied = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    submit(&log, vec![event("a"), event("b")]).expect("appends");
                }
            });
            let before = *log.head().borrow();
            while *log.head().borrow() == before {
                std::thread::yield_now();
            }
            let copied = Records::open(dir.path()).expect("opens").copy_to(&target, || true);
            done.store(true, Ordering::Relaxed);
            copied.expect("copies")
        });
        assert!(copied.head > 6000 && copied.events == copied.head, "{copied:?}");
        let copy = Records::at(&target).expect("opens");
        assert_eq!(copy.verify(true).expect("verifies").faults, [] as [String; 0]);
        assert_eq!((copy.head().expect("reads"), copy.epoch().expect("reads")), (copied.head, log.epoch().to_string()));
        let bytes = |stored: &std::sync::Arc<super::super::Stored>| stored.json.clone();
        let theirs = copy.after(0, 10_000, 10_000, |_| true).expect("reads").events;
        let ours = log.records().expect("opens").after(0, theirs.len(), 10_000, |_| true).expect("reads").events;
        assert!(theirs.iter().map(bytes).eq(ours.iter().map(bytes)));
        assert!(Records::open(dir.path()).expect("opens").copy_to(&target, || true).is_err(), "it is there already");
        log.close();
    }

    #[test]
    fn between_two_slices_the_write_ahead_log_can_be_written_back_whole() {
        let dir = tempfile::tempdir().expect("temp dir");
        let log = open(dir.path());
        submit(&log, (0..100).map(|_| event("a")).collect()).expect("appends");
        let records = Records::open(dir.path()).expect("opens");
        let copy = Connection::open_in_memory().expect("opens");
        records.define(&copy, "type = 'table'").expect("defines");
        let other = Connection::open(dir.path().join("events.db")).expect("opens");
        let busy =
            || -> i64 { other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).expect("tries") };
        assert_eq!(records.slice(&copy, "event", 0, 10).expect("copies"), (10, 10));
        assert_eq!(busy(), 0);
        let moment = records.ask(Connection::unchecked_transaction).expect("begins");
        assert_eq!(records.slice(&copy, "event", 10, 10).expect("copies"), (10, 20));
        submit(&log, vec![event("a")]).expect("appends");
        assert_eq!(busy(), 1, "a reader that stays is in its way");
        drop(moment);
        assert_eq!(busy(), 0);
        log.close();
    }
}
