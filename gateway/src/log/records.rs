//! A store opened for reading alone, on a connection of its own: a gateway may be writing to it, and whoever reads holds it up
//! nowhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::dating::{COLUMNS, Dating};
use super::open::MIGRATIONS;
use super::place::{number, place};
use super::reading::open_reader;
use super::{DeadLetter, FILE, Log, LogError, Progress, Stored, dead_letter};

/// Rows read at once.
const BATCH: i64 = 256;

/// A store's events and positions, as they are committed.
#[derive(Debug)]
pub struct Records {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    dating: Dating,
}

/// A boot that is none: no reader knows which one goes on.
const NO_BOOT: i64 = -1;

/// A piece of the log, through a filter.
#[derive(Debug, Default)]
pub struct Piece {
    /// The events that were wanted, in their order.
    pub events: Vec<Arc<Stored>>,
    /// The last place that was looked at.
    pub upto: u64,
    /// Whether there was more to look at.
    pub more: bool,
    /// Places that were asked for, and are gone for good: first and last.
    pub pruned: Option<(u64, u64)>,
}

impl Records {
    /// Opens the store in a data folder.
    ///
    /// # Errors
    /// Where there is none, or one of another version.
    pub fn open(dir: &Path) -> Result<Records, LogError> {
        Records::at(&dir.join(FILE))
    }

    /// Opens the store in this file.
    ///
    /// # Errors
    /// As [`Records::open`].
    pub fn at(path: &Path) -> Result<Records, LogError> {
        let unreadable = |error: rusqlite::Error| LogError::Unreadable(format!("{}: {error}", path.display()));
        let connection = open_reader(path).map_err(unreadable)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unreadable)?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if version != known {
            let path = path.display();
            return Err(LogError::Unreadable(format!(
                "{path} has schema version {version}, and this program reads {known}: let a gateway of this version open it once"
            )));
        }
        let dating = Dating::load(&connection, NO_BOOT).map_err(unreadable)?;
        Ok(Records { connection, path: path.to_owned(), dating })
    }

    pub(super) fn ask<'a, T>(
        &'a self,
        question: impl FnOnce(&'a Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LogError> {
        question(&self.connection).map_err(|error| LogError::Unreadable(format!("{}: {error}", self.path.display())))
    }

    /// The name of the store's life.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn epoch(&self) -> Result<String, LogError> {
        self.ask(|connection| connection.query_row("SELECT value FROM store WHERE key = 'epoch'", [], |row| row.get(0)))
    }

    /// The last place that was given before this life of the store began.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn born_after(&self) -> Result<u64, LogError> {
        Ok(self.ask(super::life::beginning)?.map_or(0, |beginning| beginning.after))
    }

    /// The last place.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn head(&self) -> Result<u64, LogError> {
        let head = |connection: &Connection| {
            connection.query_row("SELECT max(seq) FROM event", [], |row| row.get::<_, Option<i64>>(0))
        };
        Ok(place(self.ask(head)?.unwrap_or(0)))
    }

    /// Where the forwarder stands.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn progress(&self) -> Result<Progress, LogError> {
        self.ask(Progress::stored)
    }

    /// At most `limit` dead letters after place `after`, in order.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, LogError> {
        self.ask(|connection| dead_letter::read_after(connection, after, limit))
    }

    /// The event at this place, if it is here.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn one(&self, seq: u64) -> Result<Option<Arc<Stored>>, LogError> {
        self.ask(|connection| {
            let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE seq = ?1"))?;
            select.query_row([number(seq)], |row| self.dating.stored(row)).optional()
        })
    }

    /// Events after place `after` that are `wanted`: at most `limit` of them, from at most `most` that are looked at.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn after(
        &self,
        after: u64,
        limit: usize,
        most: usize,
        mut wanted: impl FnMut(&Stored) -> bool,
    ) -> Result<Piece, LogError> {
        let mut piece = Piece { upto: after, ..Piece::default() };
        self.ask(|connection| {
            let mut select = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2"))?;
            let mut seen = 0_usize;
            loop {
                let mut count = 0;
                let mut rows = select.query(params![number(piece.upto), BATCH])?;
                while let Some(row) = rows.next()? {
                    if piece.events.len() >= limit || seen >= most {
                        piece.more = true;
                        return Ok(());
                    }
                    let row = self.dating.stored(row)?;
                    if seen == 0 && row.seq > after + 1 {
                        piece.pruned = Some((after + 1, row.seq - 1));
                    }
                    (seen, count) = (seen + 1, count + 1);
                    piece.upto = row.seq;
                    if wanted(&row) {
                        piece.events.push(row);
                    }
                }
                if count < BATCH {
                    return Ok(());
                }
            }
        })?;
        Ok(piece)
    }

    /// The newest `limit` events that are `wanted`, from at most `most` that are looked at, in their order.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn newest(
        &self,
        limit: usize,
        most: usize,
        mut wanted: impl FnMut(&Stored) -> bool,
    ) -> Result<Vec<Arc<Stored>>, LogError> {
        self.ask(|connection| {
            let mut select =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM event ORDER BY seq DESC LIMIT ?1"))?;
            let mut rows = select.query([i64::try_from(most).unwrap_or(i64::MAX)])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                let row = self.dating.stored(row)?;
                if events.len() >= limit {
                    break;
                }
                if wanted(&row) {
                    events.push(row);
                }
            }
            events.reverse();
            Ok(events)
        })
    }
}

impl Log {
    /// Opens the store on a connection of its own, for whoever reads much or slowly. Blocks.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn records(&self) -> Result<Records, LogError> {
        Records::at(&self.0.path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{event, open, submit};
    use super::*;

    #[test]
    fn a_piece_is_bounded_by_what_is_found_and_by_what_is_looked_at() {
        let dir = tempfile::tempdir().expect("temp dir");
        let log = open(dir.path());
        submit(&log, (0..600).map(|at| event(if at % 3 == 0 { "a" } else { "b" })).collect()).expect("appends");
        let records = Records::open(dir.path()).expect("opens beside a gateway");
        let find = |after, limit, most| {
            let piece = records.after(after, limit, most, |stored| stored.event.terminal == "a").expect("reads");
            (piece.events.iter().map(|stored| stored.seq).collect::<Vec<_>>(), piece.upto, piece.more)
        };
        assert_eq!(find(0, 2, 1000), (vec![1, 4], 4, true));
        assert_eq!(find(4, 2, 3), (vec![7], 7, true));
        assert_eq!(find(596, 9, 1000), (vec![598], 600, false));
        assert_eq!(find(600, 9, 1000), (vec![], 600, false));
        assert_eq!(find(0, 1000, 1000).0.len(), 200);
        let newest = records.newest(2, 100, |stored| stored.event.terminal == "a").expect("reads");
        assert_eq!(newest.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [595, 598]);
        assert_eq!(records.newest(9, 2, |_| true).expect("reads").len(), 2);
        assert_eq!((records.head().expect("reads"), records.born_after().expect("reads")), (600, 0));
        log.close();
        let connection = Connection::open(dir.path().join(FILE)).expect("opens");
        connection.execute("DELETE FROM event WHERE seq <= 10", []).expect("prunes");
        let piece = records.after(4, 1, 100, |_| true).expect("reads");
        assert_eq!((piece.pruned, piece.upto), (Some((5, 10)), 11));
        assert_eq!(records.after(10, 1, 100, |_| true).expect("reads").pruned, None);
    }
}
