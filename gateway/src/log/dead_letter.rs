//! Events that cannot be forwarded: kept, listed, and made pending again.

use rusqlite::{Connection, params};

use super::place::{number, place};
use super::progress::Progress;
use crate::clock;

/// An event that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place in the log.
    pub seq: u64,
    /// Why.
    pub reason: String,
    /// When it was set aside, by the gateway's clock, in RFC 3339 form.
    pub at: String,
}

/// Notes events `first..=last` as set aside.
pub(super) fn write(connection: &Connection, first: u64, last: u64, reason: &str) -> rusqlite::Result<()> {
    let at = clock::now().0.to_string();
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO dead_letter (seq, reason, at) VALUES (?1, ?2, ?3)")?;
    for seq in first..=last {
        insert.execute(params![number(seq), reason, at])?;
    }
    Ok(())
}

/// At most `limit` of them after place `after`, in order.
pub(super) fn read_after(connection: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut select =
        connection.prepare_cached("SELECT seq, reason, at FROM dead_letter WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let rows = select.query_map(params![number(after), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok(DeadLetter { seq: place(row.get(0)?), reason: row.get(1)?, at: row.get(2)? })
    })?;
    rows.collect()
}

/// Makes those of `first..=last` pending again whose events are still here; answers which they are, as ranges.
pub(super) fn replay(
    connection: &Connection,
    progress: &mut Progress,
    first: u64,
    last: u64,
) -> rusqlite::Result<Vec<(u64, u64)>> {
    let mut select = connection.prepare_cached(
        "SELECT seq FROM dead_letter WHERE seq BETWEEN ?1 AND ?2 AND seq IN (SELECT seq FROM event) ORDER BY seq",
    )?;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut rows = select.query(params![number(first), number(last)])?;
    while let Some(row) = rows.next()? {
        let seq = place(row.get(0)?);
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == seq => *end = seq,
            _ => ranges.push((seq, seq)),
        }
    }
    let mut delete = connection.prepare_cached("DELETE FROM dead_letter WHERE seq BETWEEN ?1 AND ?2")?;
    for &(first, last) in &ranges {
        delete.execute(params![number(first), number(last)])?;
        progress.revive(first, last);
    }
    Ok(ranges)
}
