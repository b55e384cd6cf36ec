//! The kept journals: by age, and under a budget those that are older than the events that would go.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::log::place::number;

/// Rows pruned in one transaction: it holds events up for milliseconds.
pub(super) const SLICE: i64 = 500;
/// Rows looked at where those of a slice say nothing.
const WIDE: i64 = 50_000;

/// Takes the oldest lines away, up to the last of a slice that came before this instant. By place and not by time alone: a
/// line that came while the clock was ahead does not hold up those behind it, and one of which nobody knows when it came goes
/// with those behind it.
/// One that is surely younger stays: lines that were salvaged from two stores need not stand in order.
pub(super) fn prune(connection: &Connection, before: Timestamp) -> rusqlite::Result<i64> {
    let ahead = super::age::ahead(Timestamp::now()).as_millisecond();
    let pruned = connection
        .prepare_cached(
            "DELETE FROM journal WHERE id <= (SELECT max(id) FROM
             (SELECT id, received_ms FROM journal ORDER BY id LIMIT ?1) WHERE received_ms < ?2
              AND (?3 OR id NOT IN (SELECT id FROM journal_undated)))
             AND (received_ms < ?2 OR received_ms > ?4 OR id IN (SELECT id FROM journal_undated))",
        )?
        .execute(params![SLICE, before.as_millisecond(), before == Timestamp::MAX, ahead])?;
    if pruned > 0 {
        connection
            .prepare_cached("DELETE FROM journal_undated WHERE id NOT IN (SELECT id FROM journal)")?
            .execute([])?;
    }
    Ok(number(u64::try_from(pruned).unwrap_or(u64::MAX)))
}

/// The same where more lines stand in front than are looked at, and all of them came while the clock was ahead of now: they go
/// with those behind them that are old, a slice at a time.
pub(super) fn prune_ahead(connection: &Connection, before: Timestamp, now: Timestamp) -> rusqlite::Result<i64> {
    let ahead = super::age::ahead(now).as_millisecond();
    if oldest(connection)?.is_none_or(|oldest| oldest <= ahead) {
        return Ok(0);
    }
    let pruned = connection
        .prepare_cached(
            "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE id <=
             (SELECT CASE WHEN received_ms < ?2 THEN id END FROM (SELECT id, received_ms FROM journal ORDER BY id LIMIT ?3)
              WHERE received_ms <= ?4 ORDER BY id LIMIT 1) ORDER BY id LIMIT ?1)",
        )?
        .execute(params![SLICE, before.as_millisecond(), WIDE, ahead])?;
    Ok(number(u64::try_from(pruned).unwrap_or(u64::MAX)))
}

/// When the oldest lines came, as milliseconds since 1970: the least of a slice, so that one line from a clock that was ahead
/// does not hide the others. `None` where there are none.
pub(super) fn oldest(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT min(received_ms) FROM (SELECT received_ms FROM journal ORDER BY id LIMIT ?1)")?
        .query_row([SLICE], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{NewLine, dating, journal, open};

    fn line(received_at: Timestamp) -> NewLine {
        NewLine {
            terminal: "a".to_owned(),
            link: "journal".to_owned(),
            received_at,
            day: jiff::civil::date(2030, 1, 15),
            printed_at: None,
            text: "x".to_owned(),
            event: None,
            undated: None,
        }
    }

    #[test]
    fn old_lines_go_in_slices_and_a_clock_that_was_ahead_holds_nothing_up() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        let old = |hour: i64| Timestamp::from_second(hour * 3600).expect("an instant");
        for hour in 0..SLICE + 10 {
            let received_at = if hour == 3 { "2090-01-01T00:00:00Z".parse().expect("an instant") } else { old(hour) };
            journal::write(&store, &line(received_at)).expect("writes");
        }
        assert_eq!(prune(&store, old(SLICE + 5)).expect("prunes"), SLICE);
        assert_eq!(prune(&store, old(SLICE + 5)).expect("prunes"), 5);
        assert_eq!(prune(&store, old(SLICE + 5)).expect("prunes"), 0);
        let left: i64 = store.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).expect("counts");
        assert_eq!(left, 5);
    }

    #[test]
    fn a_younger_line_in_front_of_an_old_one_stays() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        let now = Timestamp::now();
        for days in [3, 500, 2, 450, 1] {
            journal::write(&store, &line(now - jiff::SignedDuration::from_hours(24 * days))).expect("writes");
        }
        let before = now - jiff::SignedDuration::from_hours(24 * 400);
        assert_eq!(prune(&store, before).expect("prunes"), 2);
        assert_eq!(prune(&store, before).expect("prunes"), 0);
    }

    #[test]
    fn more_lines_of_a_clock_that_was_ahead_than_a_slice_hold_nothing_up() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let now = at("2031-01-01T00:00:00Z");
        store.execute_batch("BEGIN").expect("begins");
        for _ in 0..SLICE * 2 + 100 {
            journal::write(&store, &line(at("2090-01-01T00:00:00Z"))).expect("writes");
        }
        for day in ["2029-01-01T00:00:00Z", "2030-12-31T00:00:00Z"] {
            journal::write(&store, &line(at(day))).expect("writes");
        }
        let prune = |before: &str| {
            let pruned = super::prune(&store, at(before)).expect("prunes");
            if pruned > 0 { pruned } else { prune_ahead(&store, at(before), now).expect("prunes") }
        };
        assert_eq!(prune("2028-01-01T00:00:00Z"), 0, "what stands behind them is not old yet");
        assert_eq!(prune("2030-01-01T00:00:00Z"), SLICE);
        assert_eq!(prune("2030-01-01T00:00:00Z"), SLICE);
        assert_eq!(prune("2030-01-01T00:00:00Z"), 101);
        assert_eq!(prune("2030-01-01T00:00:00Z"), 0);
        let left: i64 = store.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).expect("counts");
        assert_eq!(left, 1);
    }

    #[test]
    fn a_line_of_which_nobody_knows_when_it_came_goes_with_those_behind_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        let at =
            |year: i16| jiff::civil::date(year, 1, 1).to_zoned(jiff::tz::TimeZone::UTC).expect("a day").timestamp();
        for year in [1970, 1970, 2029, 1970, 2031] {
            journal::write(&store, &line(at(year))).expect("writes");
            if year == 1970 {
                dating::note_line(&store, 1, 0, &crate::log::Undated::Arrival).expect("notes");
            }
        }
        let count = |table: &str| -> i64 {
            store.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counts")
        };
        assert_eq!(prune(&store, at(2029)).expect("prunes"), 0);
        assert_eq!((count("journal"), count("journal_undated")), (5, 3));
        assert_eq!(prune(&store, at(2030)).expect("prunes"), 3);
        assert_eq!((count("journal"), count("journal_undated")), (2, 1));
    }
}
