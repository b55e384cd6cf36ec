//! Reading events back from SQLite, for readers that lag behind the tail.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Params, Statement, params};

use super::Stored;
use super::dating::{COLUMNS, Dating};
use super::place::number;

/// Bytes of JSON after which a read ends: large events are read a few at a time.
const ENOUGH: usize = 2 * 1024 * 1024;

/// A read-only connection that the lagging readers share; each read is short.
#[derive(Debug)]
pub(super) struct Reader {
    connection: Mutex<Connection>,
    dating: Arc<Dating>,
}

impl Reader {
    pub(super) fn new(connection: Connection, dating: Arc<Dating>) -> Reader {
        Reader { connection: Mutex::new(connection), dating }
    }

    /// Runs one short question.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        question(&self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// At most `limit` events after `after`, and no more once they have come to [`ENOUGH`] bytes.
    pub(super) fn read_after(&self, after: u64, limit: usize) -> rusqlite::Result<Vec<Arc<Stored>>> {
        self.ask(|connection| {
            let mut select = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2"))?;
            let most = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = select.query_map(params![number(after), most], |row| self.dating.stored(row))?;
            let (mut events, mut bytes) = (Vec::new(), 0);
            for event in rows {
                let event = event?;
                bytes += event.json.len();
                events.push(event);
                if bytes >= ENOUGH {
                    break;
                }
            }
            Ok(events)
        })
    }

    /// The events at these places, as far as they are here, in their order.
    pub(super) fn read_places(&self, places: &[u64]) -> rusqlite::Result<Vec<Arc<Stored>>> {
        self.ask(|connection| {
            let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE seq = ?1"))?;
            let mut one = |seq: u64| select.query_row([number(seq)], |row| self.dating.stored(row)).optional();
            let rows = places.iter().map(|seq| one(*seq));
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// At most `limit` critical events after `after`; an index of their own has them.
    pub(super) fn critical_after(&self, after: u64, limit: usize) -> rusqlite::Result<Vec<Arc<Stored>>> {
        self.ask(|connection| {
            let mut select = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM event INDEXED BY event_critical
                 WHERE instr(json, '\"severity\":\"critical\"') > 0 AND seq > ?1 ORDER BY seq LIMIT ?2"
            ))?;
            self.rows(&mut select, params![number(after), i64::try_from(limit).unwrap_or(i64::MAX)])
        })
    }

    fn rows(&self, select: &mut Statement<'_>, params: impl Params) -> rusqlite::Result<Vec<Arc<Stored>>> {
        select.query_map(params, |row| self.dating.stored(row))?.collect()
    }
}
