//! A plugin that fails again and again is put aside for a while. Pure bookkeeping: the time comes from outside.
//!
//! A fault costs that event alone, but finding it costs a deadline or more: a plugin that loops over everything would keep a
//! processor busy for ever. So after [`MOST`] faults it is put aside, and its events wait in the log. It then gets one
//! event to show that it works again; if it fails, the next pause is twice as long. [`FORGIVEN_AFTER`] events answered
//! without a fault, or another build of the plugin, and all is forgotten.

use std::time::{Duration, Instant};

/// Faults after which a plugin is put aside.
pub(super) const MOST: usize = 3;
/// Events answered in a row after which faults are forgotten.
const FORGIVEN_AFTER: usize = 64;
/// First and longest pause.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// The faults of one plugin that are not forgotten.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    faults: usize,
    well: usize,
    pauses: u32,
    until: Option<Instant>,
}

impl Strikes {
    /// How many more faults there may be before the plugin is put aside: at least one, or nothing could be tried.
    pub(super) fn left(&self) -> usize {
        MOST.saturating_sub(self.faults).max(1)
    }

    /// Events were answered without a fault.
    pub(super) fn well(&mut self, events: usize) {
        self.well = self.well.saturating_add(events);
        if self.well >= FORGIVEN_AFTER {
            *self = Strikes::default();
        }
    }

    /// Events could not be answered. Where that was once too often: for how long the plugin is put aside.
    pub(super) fn fault(&mut self, faults: usize, now: Instant) -> Option<Duration> {
        self.well = 0;
        self.faults = self.faults.saturating_add(faults);
        if self.faults < MOST {
            return None;
        }
        let pause = PAUSE.0.saturating_mul(2_u32.saturating_pow(self.pauses)).min(PAUSE.1);
        self.pauses = self.pauses.saturating_add(1);
        self.until = Some(now + pause);
        Some(pause)
    }

    /// What is left of the pause; none where the plugin is not put aside.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_it_does_well() {
        let now = Instant::now();
        let seconds = |pause: Option<Duration>| pause.map(|pause| pause.as_secs());
        let mut strikes = Strikes::default();
        assert_eq!((strikes.left(), seconds(strikes.fault(2, now))), (3, None));
        // A few good answers in between do not make up for it.
        strikes.well(10);
        assert_eq!((strikes.left(), seconds(strikes.fault(1, now))), (1, Some(1)));
        assert_eq!(seconds(strikes.pause(now)), Some(1));
        let later = now + Duration::from_secs(1);
        assert_eq!(strikes.pause(later), None);
        // From then on one fault is enough, and the pauses have an end to their growth.
        let pauses: Vec<_> = (0..40).filter_map(|_| seconds(strikes.fault(1, later))).collect();
        assert_eq!((&pauses[..3], pauses[39]), (&[2, 4, 8][..], 600));
        strikes.well(63);
        assert_eq!(strikes.left(), 1);
        strikes.well(1);
        assert_eq!((strikes.left(), strikes.pause(later)), (3, None));
    }
}
