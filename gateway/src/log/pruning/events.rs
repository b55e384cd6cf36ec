//! Events that go, and what of it others must hear of.

use rusqlite::{Connection, params};

use crate::log::gap::Gap;
use crate::log::place::{number, place};
use crate::log::progress::{Outcome, Progress};

/// What decides about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) critical: bool,
    /// It is a dead letter, and can be replayed as long as it is here.
    pub(super) letter: bool,
}

/// At most `limit` events between two places, both exclusive, in order.
pub(super) fn rows(connection: &Connection, after: u64, before: u64, limit: i64) -> rusqlite::Result<Vec<Row>> {
    let mut select = connection.prepare_cached(
        "SELECT seq, instr(json, '\"severity\":\"critical\"') > 0,
                EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.seq = event.seq)
         FROM event WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT ?3",
    )?;
    let rows = select.query_map(params![number(after), number(before), limit], |row| {
        Ok(Row { seq: place(row.get(0)?), critical: row.get(1)?, letter: row.get(2)? })
    })?;
    rows.collect()
}

/// Deletes these events. What was still to be forwarded, or could have been replayed, is given up: in the progress and,
/// where there is a broker that should have had it, as a gap.
pub(super) fn delete(
    connection: &Connection,
    rows: &[Row],
    progress: &mut Progress,
    broker: bool,
) -> rusqlite::Result<Option<Gap>> {
    let lost = rows.iter().filter(|row| broker && (row.letter || !progress.is_settled(row.seq)));
    let gap = lost.fold(None, |gap, row| Some(Gap::with(gap, row.seq)));
    let letters = rows.iter().filter(|row| row.letter).count();
    let mut events = connection.prepare_cached("DELETE FROM event WHERE seq BETWEEN ?1 AND ?2")?;
    let mut dead_letters = connection.prepare_cached("DELETE FROM dead_letter WHERE seq BETWEEN ?1 AND ?2")?;
    for (first, last) in runs(rows) {
        events.execute([number(first), number(last)])?;
        if letters > 0 {
            dead_letters.execute([number(first), number(last)])?;
        }
        progress.settle(&Outcome::Discarded, first, last);
    }
    progress.give_up_letters(u64::try_from(letters).unwrap_or(u64::MAX));
    Ok(gap)
}

/// The places as ranges.
fn runs(rows: &[Row]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for row in rows {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == row.seq => *last = row.seq,
            _ => runs.push((row.seq, row.seq)),
        }
    }
    runs
}
