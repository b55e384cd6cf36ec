//! What retention has to know from outside: who still waits for events.
//!
//! A position alone keeps nothing: those of rules that were taken away, and that of a forwarder where there is no broker
//! any more, stand in the store for ever. Whoever is there says so; until both have been heard of, no event is pruned.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::gap::Gap;
use super::{Log, NoRoom, Stored};
use crate::event::Event;

/// Who waits for events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Whether there is a broker.
    pub(super) broker: bool,
    /// The rules in force.
    pub(super) rules: BTreeSet<String>,
}

/// The same, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<(Option<bool>, Option<BTreeSet<String>>)>);

impl Known {
    /// Whether everybody is known.
    pub(super) fn is_complete(&self) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.0.is_some() && known.1.is_some()
    }

    /// Everybody, once everybody is known.
    pub(super) fn needs(&self) -> Option<Needs> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (broker, rules) = &*known;
        Some(Needs { broker: (*broker)?, rules: rules.clone()? })
    }
}

impl Log {
    /// Says whether there is a broker that events are kept for until they are forwarded.
    pub fn keep_for_broker(&self, broker: bool) {
        self.0.needs.0.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(broker);
    }

    /// Says which rules are in force: events are kept until each has dealt with them.
    pub fn keep_for_rules(&self, rules: BTreeSet<String>) {
        self.0.needs.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(rules);
    }

    /// Why nothing new is accepted, where nothing is.
    pub fn refuses(&self) -> Option<NoRoom> {
        *self.0.refuses.borrow()
    }
}

/// The event that tells of what a rule missed: places behind `after` that are not among those `read`, which came next.
/// Places have no gaps; what is not there was pruned.
pub fn missed(plugin: &str, after: u64, read: &[Arc<Stored>]) -> Option<Event> {
    missing(after, read).map(|gap| gap.missed_by(plugin))
}

/// What lies between `after` and the last of `read` and is not there.
fn missing(after: u64, read: &[Arc<Stored>]) -> Option<Gap> {
    let mut before = after;
    let mut gap: Option<Gap> = None;
    for stored in read {
        let between = stored.seq.saturating_sub(before + 1);
        if between > 0 {
            let (first, count) = gap.map_or((before + 1, 0), |gap| (gap.first, gap.count));
            gap = Some(Gap { first, last: stored.seq - 1, count: count + between });
        }
        before = stored.seq;
    }
    gap
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    #[test]
    fn what_is_missing_is_counted_and_what_is_there_is_not() {
        let read = |places: &[u64]| -> Vec<Arc<Stored>> {
            let stored = |seq: &u64| Stored {
                boot_ms: None,
                seq: *seq,
                terminal_seq: 1,
                event: Event::new(Kind::SupplyLow),
                json: "{}".into(),
            };
            places.iter().map(|seq| Arc::new(stored(seq))).collect()
        };
        assert_eq!(missing(4, &read(&[5, 6, 7])), None);
        assert_eq!(missing(4, &[]), None);
        assert_eq!(missing(4, &read(&[10, 11])), Some(Gap { first: 5, last: 9, count: 5 }));
        assert_eq!(missing(0, &read(&[1, 4, 5, 9])), Some(Gap { first: 2, last: 8, count: 5 }));
        let event = missed("cash-low", 0, &read(&[3])).expect("two are missing");
        assert_eq!((event.rule.as_deref(), event.attributes["count"].to_string().as_str()), (Some("cash-low"), "2"));
    }

    #[test]
    fn nothing_is_known_until_both_have_been_heard_of() {
        let known = Known::default();
        known.0.lock().expect("no panic").0 = Some(true);
        assert_eq!(known.needs(), None);
        known.0.lock().expect("no panic").1 = Some(BTreeSet::new());
        assert_eq!(known.needs(), Some(Needs { broker: true, rules: BTreeSet::new() }));
    }
}
