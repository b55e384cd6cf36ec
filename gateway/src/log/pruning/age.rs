//! Events that are old enough: found by those among them whose date can be believed.
//!
//! An event is as old as the youngest one before which it came. So what came while the clock was ahead, or was not set, goes
//! with those behind it, and holds nothing up; its own date says nothing.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use serde::Deserialize;

use super::events::{self, Row};
use crate::log::place::{number, place};

/// Rows looked at in one step.
const STEP: i64 = 500;
/// No event was received before this gateway was written: 2024-01-01.
const FIRST_S: i64 = 1_704_067_200;
/// A date is ahead that lies further in the future.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// What of an event says when it came.
#[derive(Deserialize)]
struct Received {
    received_at: Option<Timestamp>,
    time_synced: Option<bool>,
}

/// What the date of an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Old,
    Recent,
    /// It cannot be believed.
    Odd,
}

/// When an event came, as it says itself.
pub(super) fn received(json: &str) -> Option<Timestamp> {
    serde_json::from_str::<Received>(json).ok()?.received_at
}

/// When an event came, where that can be believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dated {
    pub(super) at: Timestamp,
    /// Whether the clock was known to be right.
    pub(super) confirmed: bool,
}

/// When an event came, where that can be believed.
pub(super) fn dated(json: &str, now: Timestamp) -> Option<Dated> {
    let received: Received = serde_json::from_str(json).ok()?;
    let at = received.received_at.filter(|_| received.time_synced != Some(false))?;
    let is_likely = at.as_second() >= FIRST_S && at <= ahead(now);
    is_likely.then_some(Dated { at, confirmed: received.time_synced == Some(true) })
}

/// A later date is not believed.
pub(super) fn ahead(now: Timestamp) -> Timestamp {
    now.checked_add(AHEAD).unwrap_or(Timestamp::MAX)
}

fn age(json: &str, before: Timestamp, now: Timestamp) -> Age {
    match dated(json, now) {
        Some(dated) if dated.at < before => Age::Old,
        Some(_) => Age::Recent,
        None => Age::Odd,
    }
}

/// A sweep over the front of the log.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// The last place looked at.
    looked: u64,
    /// The last place known to be old.
    old: u64,
    /// The last place dealt with.
    dealt: u64,
    looked_enough: bool,
}

impl Sweep {
    /// The next rows that go, all at most at `upto`; none where the sweep is over, or has only looked around.
    pub(super) fn next(
        &mut self,
        connection: &Connection,
        upto: u64,
        before: Timestamp,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<Row>> {
        if self.dealt >= self.old && !self.looked_enough {
            self.look(connection, upto, before, now)?;
        }
        if self.dealt >= self.old {
            return Ok(Vec::new());
        }
        let rows = events::rows(connection, self.dealt, self.old + 1, STEP)?;
        self.dealt = rows.last().map_or(self.old, |row| row.seq);
        Ok(rows.into_iter().filter(|row| !row.letter).collect())
    }

    /// Whether nothing more is to be found.
    pub(super) fn is_over(&self) -> bool {
        self.looked_enough && self.dealt >= self.old
    }

    fn look(&mut self, connection: &Connection, upto: u64, before: Timestamp, now: Timestamp) -> rusqlite::Result<()> {
        let mut select = connection
            .prepare_cached("SELECT seq, json FROM event WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3")?;
        let mut rows = select.query(params![number(self.looked), number(upto), STEP])?;
        let mut looked = 0;
        while let Some(row) = rows.next()? {
            looked += 1;
            self.looked = place(row.get(0)?);
            match age(row.get_ref(1)?.as_str()?, before, now) {
                Age::Old => self.old = self.looked,
                // Behind one that is not old, all are younger.
                Age::Recent => {
                    self.looked_enough = true;
                    return Ok(());
                }
                Age::Odd => {}
            }
        }
        self.looked_enough = looked < STEP;
        Ok(())
    }
}
