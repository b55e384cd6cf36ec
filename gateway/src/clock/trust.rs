//! Whether the clock can be believed. Pure bookkeeping: times and marks come from outside.
//!
//! - A mark of a time daemon says that the clock is right; a daemon without its mark, that it is not yet.
//! - A clock that was moved is believed again once the mark has been renewed: who moves it by hand leaves the old mark.
//! - A time before this release was made, or before one that was known to be right, is wrong, unless a mark says otherwise.
//! - Otherwise nothing says.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// No clock that shows an earlier time is right: this gateway was written later.
pub(super) const RELEASED: &str = "2025-01-01T00:00:00Z";
/// How far the clock may stray between two looks without having been moved: daemons that slew it take much longer.
const SLEWED: SignedDuration = SignedDuration::from_secs(1);
/// A clock that is this far ahead of the newest time that was known is more likely wrong than a gateway that was in a store
/// room for so long.
const LEAP: SignedDuration = SignedDuration::from_hours(24 * 31);

/// What stands at the place of a daemon's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is there, and was touched then.
    There(Option<SystemTime>),
    /// The daemon is there, its mark is not.
    Missing,
    /// There is no such daemon.
    NoDaemon,
}

/// What a look at the clock shows.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) wall: Timestamp,
    pub(super) boot: Duration,
    pub(super) marks: Vec<Mark>,
}

/// What is known from the looks before.
#[derive(Debug)]
pub(super) struct Trust {
    /// An earlier time is wrong.
    floor: Timestamp,
    /// The newest time that was known at the start.
    newest: Option<Timestamp>,
    /// What the clock showed at the machine's boot, going by the last look.
    origin: Option<Timestamp>,
    /// The same, when it was last known to be right.
    confirmed: Option<Timestamp>,
    /// The marks at the last look.
    marks: Vec<Mark>,
    /// Marks that were there before the clock was moved: they say nothing until they are renewed.
    stale: Vec<Mark>,
    /// It was right, and was moved then.
    misled: bool,
}

impl Trust {
    pub(super) fn new(floor: Timestamp) -> Trust {
        Trust {
            floor,
            newest: None,
            origin: None,
            confirmed: None,
            marks: Vec::new(),
            stale: Vec::new(),
            misled: false,
        }
    }

    /// A time that is known to have been.
    pub(super) fn not_before(&mut self, newest: Option<Timestamp>) {
        self.newest = self.newest.max(newest);
        self.floor = newest.map_or(self.floor, |newest| newest.max(self.floor));
    }

    /// Whether the clock was moved since the last look.
    pub(super) fn is_moved(&self, wall: Timestamp, boot: Duration) -> bool {
        self.moved(wall, boot).is_some()
    }

    fn moved(&self, wall: Timestamp, boot: Duration) -> Option<SignedDuration> {
        let by = origin(wall, boot).duration_since(self.origin?);
        (by.abs() >= SLEWED).then_some(by)
    }

    /// Whether the clock is right, and by how much it was moved since the look before.
    pub(super) fn look(&mut self, look: Look) -> (Option<bool>, Option<SignedDuration>) {
        let Look { wall, boot, marks } = look;
        let moved = self.moved(wall, boot);
        if moved.is_some() {
            // Whoever set the clock and renewed the mark has done both since the last look.
            self.stale = self.marks.iter().filter(|mark| matches!(mark, Mark::There(_))).copied().collect();
            self.misled = self.confirmed.is_some();
        }
        let there = |mark: &&Mark| matches!(mark, Mark::There(_));
        let confirmed = marks.iter().filter(there).any(|mark| !self.stale.contains(mark));
        self.origin = Some(origin(wall, boot));
        let synced = if confirmed {
            (self.confirmed, self.misled) = (self.origin, false);
            self.stale.clear();
            Some(true)
        } else if self.misled || wall < self.floor || marks.contains(&Mark::Missing) && !marks.iter().any(|m| there(&m))
        {
            Some(false)
        } else {
            None
        };
        self.marks = marks;
        (synced, moved)
    }

    /// The time now, going by when the clock was last known to be right.
    pub(super) fn best(&self, boot: Duration) -> Option<Timestamp> {
        self.confirmed?.checked_add(boot).ok()
    }

    /// Whether the clock is so far ahead of the newest time that was known at the start that it was rather moved.
    pub(super) fn leapt(&self, wall: Timestamp) -> bool {
        self.newest.is_some_and(|newest| wall.duration_since(newest) > LEAP)
    }
}

/// What a clock showed at the machine's boot.
fn origin(wall: Timestamp, boot: Duration) -> Timestamp {
    wall.checked_sub(boot).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-20T12:00:00Z";

    /// A machine whose clock can be moved.
    struct Machine {
        trust: Trust,
        wall: Timestamp,
        boot: Duration,
    }

    impl Machine {
        fn at(wall: &str) -> Machine {
            let floor = RELEASED.parse().expect("a time");
            Machine { trust: Trust::new(floor), wall: wall.parse().expect("a time"), boot: Duration::from_secs(10) }
        }

        fn pass(&mut self, seconds: u64) {
            let seconds = Duration::from_secs(seconds);
            self.wall += seconds;
            self.boot += seconds;
        }

        fn set(&mut self, wall: &str) {
            self.wall = wall.parse().expect("a time");
        }

        fn look(&mut self, marks: &[Mark]) -> (Option<bool>, Option<i64>) {
            let look = Look { wall: self.wall, boot: self.boot, marks: marks.to_vec() };
            let (synced, moved) = self.trust.look(look);
            (synced, moved.map(|by| by.as_secs()))
        }
    }

    fn touched(second: u64) -> Mark {
        Mark::There(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second)))
    }

    #[test]
    fn a_mark_says_yes_a_daemon_without_one_no_and_nobody_nothing() {
        for (marks, expected) in [
            (vec![], None),
            (vec![Mark::NoDaemon, Mark::NoDaemon], None),
            (vec![Mark::Missing, Mark::NoDaemon], Some(false)),
            (vec![Mark::Missing, touched(1)], Some(true)),
            (vec![touched(1), Mark::NoDaemon], Some(true)),
        ] {
            assert_eq!(Machine::at(NOW).look(&marks), (expected, None), "{marks:?}");
        }
    }

    #[test]
    fn a_time_before_the_release_or_before_a_known_one_is_wrong_until_a_mark_says_otherwise() {
        let mut pi = Machine::at("1970-01-01T00:00:10Z");
        assert_eq!(pi.look(&[Mark::NoDaemon]), (Some(false), None));
        pi.set(NOW);
        assert_eq!(pi.look(&[Mark::NoDaemon]).0, None, "it may be right now");
        let mut pi = Machine::at(NOW);
        pi.trust.not_before("2026-11-20T13:00:00Z".parse().ok());
        assert_eq!(pi.look(&[Mark::NoDaemon]), (Some(false), None));
        assert_eq!(pi.look(&[touched(1)]), (Some(true), None));
    }

    #[test]
    fn network_time_that_arrives_late_is_believed_at_once() {
        let mut pi = Machine::at("1970-01-01T00:00:10Z");
        assert_eq!(pi.look(&[Mark::Missing]), (Some(false), None));
        pi.pass(30);
        pi.set(NOW);
        let (synced, moved) = pi.look(&[touched(1)]);
        assert_eq!((synced, moved.is_some_and(|by| by > 1_700_000_000)), (Some(true), true));
        pi.pass(5);
        assert_eq!(pi.look(&[touched(1)]), (Some(true), None));
    }

    #[test]
    fn a_clock_moved_by_hand_is_wrong_until_the_mark_is_renewed() {
        for (to, by) in [("2026-11-20T11:00:00Z", -3600), ("2027-11-20T12:00:00Z", 31_536_000)] {
            let mut pi = Machine::at(NOW);
            assert_eq!(pi.look(&[touched(1)]), (Some(true), None));
            pi.set(to);
            assert_eq!(pi.look(&[touched(1)]), (Some(false), Some(by)));
            pi.pass(60);
            assert_eq!(pi.look(&[touched(1)]), (Some(false), None), "the mark is still the old one");
            let best = pi.trust.best(pi.boot).expect("it was right once");
            assert_eq!(best.to_string(), "2026-11-20T12:01:00Z");
            pi.set("2026-11-20T12:01:00Z");
            assert_eq!(pi.look(&[touched(2)]), (Some(true), Some(-by)));
        }
    }

    #[test]
    fn a_clock_that_nobody_vouches_for_may_be_moved_and_is_slewed_without_a_word() {
        let mut pi = Machine::at(NOW);
        pi.look(&[]);
        pi.set("2026-11-20T12:30:00Z");
        assert_eq!(pi.look(&[]), (None, Some(1800)));
        for _ in 0..100 {
            pi.pass(1);
            pi.wall += Duration::from_millis(80);
            assert_eq!(pi.look(&[]), (None, None));
        }
    }
}
