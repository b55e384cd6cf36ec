//! The terminal's local time: the date stands only in a header, the time of day on most lines.

use jiff::ToSpan;
use jiff::civil::{DateTime, Time};

use crate::local_time::LocalTime;

/// Half a day: a time of day that is earlier by more than this belongs to the next day.
const HALF_DAY_SECONDS: i64 = 12 * 60 * 60;

/// An earlier time by up to this may be a line that was printed late; by more, the clock went back.
const LATE_SECONDS: i64 = 60;
/// What summer time is.
const HOUR_SECONDS: i64 = 60 * 60;

/// The last time that was printed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calendar {
    last: Option<LocalTime>,
    /// Until when, local, an hour that has been before may go on: set as the clock goes back.
    again_until: Option<DateTime>,
}

impl Calendar {
    /// A header: date and time.
    pub(super) fn header(&mut self, time: DateTime) {
        if let Some(LocalTime::Known(last) | LocalTime::Again(last)) = self.last {
            let back = last.duration_since(time).as_secs();
            if back > LATE_SECONDS && back <= HOUR_SECONDS {
                self.again_until = last.checked_add(1.hour()).ok();
            }
        }
        self.again_until = self.again_until.filter(|until| time < *until);
        self.last = Some(match self.again_until {
            Some(_) => LocalTime::Again(time),
            None => LocalTime::Known(time),
        });
    }

    /// A time of day in front of a line. Small steps back stay on the same day: clocks are set, and lines are printed late.
    pub(super) fn line(&mut self, time: Time) {
        match self.last {
            Some(LocalTime::Known(last) | LocalTime::Again(last)) => {
                let same_day = last.date().to_datetime(time);
                let earlier = last.duration_since(same_day).as_secs() > HALF_DAY_SECONDS;
                let next_day = earlier.then(|| same_day.checked_add(1.day()).ok()).flatten();
                self.header(next_day.unwrap_or(same_day));
            }
            _ => self.last = Some(LocalTime::TimeOfDay(time)),
        }
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

    #[test]
    fn after_a_step_back_an_hour_is_again() {
        let night = |hour, minute| date(2030, 10, 27).at(hour, minute, 0, 0);
        let mut calendar = Calendar::default();
        calendar.header(night(1, 58));
        for (clock, expected) in [
            (time(2, 30, 0, 0), LocalTime::Known(night(2, 30))),
            // Printed late, and no step back.
            (time(2, 29, 30, 0), LocalTime::Known(date(2030, 10, 27).at(2, 29, 30, 0))),
            (time(2, 10, 0, 0), LocalTime::Again(night(2, 10))),
            (time(2, 45, 0, 0), LocalTime::Again(night(2, 45))),
            (time(3, 31, 0, 0), LocalTime::Known(night(3, 31))),
        ] {
            calendar.line(clock);
            assert_eq!(calendar.last(), Some(expected));
        }
    }
}
