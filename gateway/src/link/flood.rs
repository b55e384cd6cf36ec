//! How many faults of a link become events: noise on a line all night must not fill the log, nor hide what else happens.
//! Pure: the time comes from outside.

use std::time::Instant;

/// Faults that become events at once.
const BURST: f64 = 100.0;
/// Faults a second that become events in the long run.
const PER_SECOND: f64 = 1.0;

/// What a link may still say.
#[derive(Debug)]
pub(super) struct Flood {
    left: f64,
    at: Instant,
    unsaid: u64,
}

impl Flood {
    pub(super) fn new(now: Instant) -> Flood {
        Flood { left: BURST, at: now, unsaid: 0 }
    }

    /// Whether one more fault becomes an event, and how many before it did not; `None` where it does not.
    pub(super) fn say(&mut self, now: Instant) -> Option<u64> {
        self.left = (self.left + now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND).min(BURST);
        self.at = now;
        if self.left < 1.0 {
            self.unsaid += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_said_in_part_and_counted_whole() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        let said = (0..1_000).filter(|_| flood.say(start).is_some()).count();
        assert_eq!(said, 100);
        assert_eq!(flood.say(start + Duration::from_secs(1)), Some(900), "the next one says how many were not");
        assert_eq!(flood.say(start + Duration::from_secs(1)), None);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(flood.say(later), Some(1));
        assert_eq!((0..1_000).filter(|_| flood.say(later).is_some()).count(), 99, "what is saved up has an end");
    }
}
