//! Reading events back from SQLite, for readers that lag behind the tail.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Stored;
use super::transaction::{number, place};

/// Bytes of JSON after which a read ends: large events are read a few at a time.
const ENOUGH: usize = 2 * 1024 * 1024;

/// A read-only connection that the lagging readers share; each read is short.
#[derive(Debug)]
pub(super) struct Reader(Mutex<Connection>);

impl Reader {
    pub(super) fn new(connection: Connection) -> Reader {
        Reader(Mutex::new(connection))
    }

    /// Runs one short question.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        question(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// At most `limit` events after `after`, and no more once they have come to [`ENOUGH`] bytes.
    pub(super) fn read_after(&self, after: u64, limit: usize) -> rusqlite::Result<Vec<Arc<Stored>>> {
        self.ask(|connection| {
            let mut select = connection
                .prepare_cached("SELECT seq, terminal_seq, json FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
            let rows = select.query_map(params![number(after), i64::try_from(limit).unwrap_or(i64::MAX)], stored)?;
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
            let mut select = connection.prepare_cached("SELECT seq, terminal_seq, json FROM event WHERE seq = ?1")?;
            let rows = places.iter().map(|seq| select.query_row([number(*seq)], stored).optional());
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// At most `limit` critical events after `after`; an index of their own has them.
    pub(super) fn critical_after(&self, after: u64, limit: usize) -> rusqlite::Result<Vec<Arc<Stored>>> {
        self.ask(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT seq, terminal_seq, json FROM event INDEXED BY event_critical
                 WHERE instr(json, '\"severity\":\"critical\"') > 0 AND seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            select.query_map(params![number(after), i64::try_from(limit).unwrap_or(i64::MAX)], stored)?.collect()
        })
    }
}

/// A row of `seq, terminal_seq, json`.
fn stored(row: &Row<'_>) -> rusqlite::Result<Arc<Stored>> {
    let json: String = row.get(2)?;
    let event = serde_json::from_str(&json)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error)))?;
    let (seq, terminal_seq) = (place(row.get(0)?), place(row.get(1)?));
    Ok(Arc::new(Stored { seq, terminal_seq, event, json: json.into_boxed_str() }))
}
