//! A terminal's local time: what it says of a day and a time, and which instant that is in its time zone. A leaf: codecs say
//! it, `normalize` and the log date by it.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::Serialize;

/// When a line says it was printed, in the terminal's local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LocalTime {
    /// Date and time.
    Known(DateTime),
    /// Date and time, after the clock had gone back by up to an hour: where summer time ends, the second of two hours.
    Again(DateTime),
    /// A time of day; no header has told the date yet.
    TimeOfDay(Time),
}

impl std::fmt::Display for LocalTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LocalTime::Known(time) | LocalTime::Again(time) => time.fmt(f),
            LocalTime::TimeOfDay(time) => time.fmt(f),
        }
    }
}

/// The terminal's day that a line belongs to: on which it was printed, or, where only a time of day is known, the day that
/// brings this time nearest to when the line came; else the day on which it came.
pub fn day(printed_at: Option<LocalTime>, received_at: Timestamp, time_zone: &TimeZone) -> Date {
    let received = time_zone.to_datetime(received_at);
    let today = received.date();
    match printed_at {
        Some(LocalTime::Known(local) | LocalTime::Again(local)) => local.date(),
        Some(LocalTime::TimeOfDay(time)) => {
            let days = [Some(today), today.yesterday().ok(), today.tomorrow().ok()];
            let apart = |day: &Date| day.to_datetime(time).duration_since(received).abs();
            days.into_iter().flatten().min_by_key(apart).unwrap_or(today)
        }
        None => today,
    }
}

/// The instant of a local time, and `gap` or `fold` where the clocks' change makes it one of none or of two: then it is decided
/// for the offset before the change, or, where it is known to be `again`, for that behind it. None beyond the calendar's end.
pub fn instant(local: DateTime, again: bool, time_zone: &TimeZone) -> (Option<Timestamp>, Option<&'static str>) {
    let ambiguous = time_zone.to_ambiguous_timestamp(local);
    let why = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => None,
        AmbiguousOffset::Gap { .. } => Some("gap"),
        AmbiguousOffset::Fold { .. } => Some("fold"),
    };
    let instant = if again && why == Some("fold") { ambiguous.later() } else { ambiguous.compatible() };
    (instant.ok(), why)
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};

    use super::*;

    #[test]
    fn a_line_belongs_to_the_terminals_day() {
        let berlin = TimeZone::get("Europe/Berlin").expect("bundled");
        // Half past midnight in Berlin.
        let received: Timestamp = "2030-01-14T23:30:00Z".parse().expect("an instant");
        for (printed_at, expected) in [
            (None, date(2030, 1, 15)),
            (Some(LocalTime::Known(date(2029, 12, 31).at(23, 59, 0, 0))), date(2029, 12, 31)),
            (Some(LocalTime::TimeOfDay(time(0, 29, 0, 0))), date(2030, 1, 15)),
            (Some(LocalTime::TimeOfDay(time(0, 31, 0, 0))), date(2030, 1, 15)),
            (Some(LocalTime::TimeOfDay(time(23, 59, 0, 0))), date(2030, 1, 14)),
        ] {
            assert_eq!(day(printed_at, received, &berlin), expected, "{printed_at:?}");
        }
    }

    #[test]
    fn gaps_and_folds_are_decided_and_flagged() {
        let berlin = TimeZone::get("Europe/Berlin").expect("bundled");
        for (local, again, expected, why) in [
            (date(2030, 1, 15).at(5, 51, 33, 0), false, "2030-01-15T04:51:33Z", None),
            (date(2030, 3, 31).at(2, 30, 0, 0), false, "2030-03-31T01:30:00Z", Some("gap")),
            (date(2030, 3, 31).at(2, 30, 0, 0), true, "2030-03-31T01:30:00Z", Some("gap")),
            (date(2030, 10, 27).at(2, 30, 0, 0), false, "2030-10-27T00:30:00Z", Some("fold")),
            (date(2030, 10, 27).at(2, 10, 0, 0), true, "2030-10-27T01:10:00Z", Some("fold")),
            (date(2030, 10, 27).at(3, 0, 0, 0), true, "2030-10-27T02:00:00Z", None),
        ] {
            let (instant, ambiguous) = instant(local, again, &berlin);
            assert_eq!((instant, ambiguous), (expected.parse().ok(), why), "{local}");
        }
    }
}
