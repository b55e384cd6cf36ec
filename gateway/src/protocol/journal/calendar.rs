//! The terminal's local time: the date stands only in a header, the time of day on most lines.

use jiff::ToSpan;
use jiff::civil::{DateTime, Time};
use serde::Serialize;

/// When a line says it was printed, in the terminal's local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LocalTime {
    /// Date and time.
    Known(DateTime),
    /// A time of day; no header has told the date yet.
    TimeOfDay(Time),
}

impl std::fmt::Display for LocalTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LocalTime::Known(time) => time.fmt(f),
            LocalTime::TimeOfDay(time) => time.fmt(f),
        }
    }
}

/// Half a day: a time of day that is earlier by more than this belongs to the next day.
const HALF_DAY_SECONDS: i64 = 12 * 60 * 60;

/// The last time that was printed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calendar {
    last: Option<LocalTime>,
}

impl Calendar {
    /// A header: date and time.
    pub(super) fn header(&mut self, time: DateTime) {
        self.last = Some(LocalTime::Known(time));
    }

    /// A time of day in front of a line. Small steps back stay on the same day: clocks are set, and lines are printed late.
    pub(super) fn line(&mut self, time: Time) {
        self.last = Some(match self.last {
            Some(LocalTime::Known(last)) => {
                let same_day = last.date().to_datetime(time);
                let earlier = last.duration_since(same_day).as_secs() > HALF_DAY_SECONDS;
                let next_day = earlier.then(|| same_day.checked_add(1.day()).ok()).flatten();
                LocalTime::Known(next_day.unwrap_or(same_day))
            }
            _ => LocalTime::TimeOfDay(time),
        });
    }

    /// The last time that was printed.
    pub(super) fn last(&self) -> Option<LocalTime> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};

    use super::*;

    #[test]
    fn a_time_much_earlier_is_the_next_day() {
        let mut calendar = Calendar::default();
        calendar.line(time(8, 53, 6, 0));
        assert_eq!(calendar.last(), Some(LocalTime::TimeOfDay(time(8, 53, 6, 0))));
        calendar.header(date(2030, 12, 31).at(23, 58, 0, 0));
        for (clock, expected) in [
            (time(23, 59, 50, 0), date(2030, 12, 31).at(23, 59, 50, 0)),
            (time(0, 0, 2, 0), date(2031, 1, 1).at(0, 0, 2, 0)),
            (time(0, 0, 1, 0), date(2031, 1, 1).at(0, 0, 1, 0)),
            (time(13, 0, 0, 0), date(2031, 1, 1).at(13, 0, 0, 0)),
        ] {
            calendar.line(clock);
            assert_eq!(calendar.last(), Some(LocalTime::Known(expected)));
        }
    }
}
