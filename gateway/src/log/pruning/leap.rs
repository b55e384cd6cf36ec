//! A clock that nobody confirms and that has leapt ahead, between two events or between two runs: by what the events say, since
//! no process remembers it. Going by such a clock, a store of three months would be old at once.
//!
//! Events before the time that is looked back on stand before those after it, so the place where they meet is found in a few
//! steps. If more than [`LEAP`] lies between the two, the clock has leapt there, or nothing happened for so long; either way
//! it has not been seen to go at that time for long.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::age;
use crate::log::place::{number, place};

/// A step ahead between two events that is longer is a leap.
const LEAP: SignedDuration = SignedDuration::from_hours(24 * 7);
/// How long a clock must have gone by itself after a leap, before things are thrown away by it.
pub(super) const SETTLES: SignedDuration = SignedDuration::from_hours(24 * 7);

/// The time of the first event behind a leap that is less than `settles` old; now, where there is none behind it yet.
pub(super) fn since(
    connection: &Connection,
    now: Timestamp,
    settles: SignedDuration,
) -> rusqlite::Result<Option<Timestamp>> {
    let Ok(before) = now.checked_sub(settles) else { return Ok(None) };
    let (first, last): (Option<i64>, Option<i64>) =
        connection.query_row("SELECT min(seq), max(seq) FROM event", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut low = place(first.unwrap_or(1)).saturating_sub(1);
    let mut high = place(last.unwrap_or(0));
    let (mut older, mut younger) = (None, None);
    // What stands up to `low` is older, what stands behind `high` is younger.
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match dated(connection, low, middle, now)? {
            Some((seq, dated)) if dated.at >= before => {
                younger = Some(dated);
                high = seq - 1;
            }
            Some((_, dated)) => {
                older = Some(dated.at);
                low = middle;
            }
            None => low = middle,
        }
    }
    let (Some(older), at) = (older, younger.as_ref().map_or(now, |younger| younger.at)) else { return Ok(None) };
    let is_confirmed = younger.is_some_and(|younger| younger.confirmed);
    let settled = now.duration_since(at) >= settles;
    Ok((!is_confirmed && !settled && at.duration_since(older) > LEAP).then_some(at))
}

/// The last event of places `(after, upto]` whose date can be believed. Those that were brought in from another store tell of that
/// one's clock.
fn dated(
    connection: &Connection,
    after: u64,
    upto: u64,
    now: Timestamp,
) -> rusqlite::Result<Option<(u64, age::Dated)>> {
    let mut select = connection
        .prepare_cached("SELECT seq, json FROM event WHERE seq > ?1 AND seq <= ?2 AND boot > 0 ORDER BY seq DESC")?;
    let mut rows = select.query(params![number(after), number(upto)])?;
    while let Some(row) = rows.next()? {
        if let Some(dated) = age::dated(row.get_ref(1)?.as_str()?, now) {
            return Ok(Some((place(row.get(0)?), dated)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::open;

    const DAY: i64 = 24;

    /// A store with an event at each of these hours before now; where there is a word, the clock was known to be right or wrong.
    fn leapt(hours: &[(i64, Option<bool>)]) -> Option<i64> {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        let now = Timestamp::now();
        for (seq, (hours, synced)) in (1_i64..).zip(hours) {
            let at = now - SignedDuration::from_hours(*hours);
            let synced = synced.map_or(String::new(), |synced| format!(r#","time_synced":{synced}"#));
            let json = format!(r#"{{"seq":{seq},"received_at":"{at}"{synced}}}"#);
            store.execute("INSERT INTO event VALUES (?1, ?1, 1, 1, ?2)", params![seq, json]).expect("adds");
        }
        since(&store, now, SETTLES).expect("reads").map(|at| now.duration_since(at).as_hours())
    }

    #[test]
    fn a_leap_counts_until_the_clock_has_gone_for_days_behind_it() {
        let year = 365 * DAY;
        let plain = |hours: &[i64]| leapt(&hours.iter().map(|hours| (*hours, None)).collect::<Vec<_>>());
        assert_eq!(plain(&[]), None);
        assert_eq!(plain(&[0]), None, "a new store");
        assert_eq!(plain(&[year]), Some(0), "it leapt before this run");
        assert_eq!(plain(&[year + 2, year + 1, year, 0]), Some(0));
        assert_eq!(plain(&[year, 6 * DAY, 5 * DAY, 1]), Some(6 * DAY));
        assert_eq!(plain(&[year, 8 * DAY, 5 * DAY, 1]), None, "it has gone for eight days since");
        let long: Vec<i64> = (0..500).rev().map(|at| at * 5).collect();
        assert_eq!(plain(&long), None);
        let many: Vec<i64> = (0..500).rev().map(|at| if at < 30 { at } else { at + year }).collect();
        assert_eq!(plain(&many), Some(29));
        // One that was ahead of now tells nothing, and one that was not set neither.
        assert_eq!(plain(&[9 * DAY, -year, 4 * DAY, -year, 2]), None);
        assert_eq!(leapt(&[(year, None), (3 * DAY, Some(false)), (1, None)]), Some(1));
        assert_eq!(leapt(&[(year, None), (1, Some(true)), (0, None)]), None, "confirmed is confirmed");
    }
}
