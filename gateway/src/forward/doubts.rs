//! Who is at fault where connections end again and again: the line, or one message.
//!
//! A broker that cannot say no to a message (MQTT 3.1.1 has no word for it) hangs up instead, and would do so for ever.
//!
//! 1. What was under way at the end of [`ENDS`] connections in a row is suspect: from then on one message goes at a time.
//! 2. Whichever event is under way alone when the next connection ends is accused. It is held back, and all others go on.
//! 3. It goes again, alone, on a connection on which the broker has just taken [`OTHERS`] other events. Where the broker
//!    takes it, it is cleared. Where the connection ends, that is one proof; [`PROOFS`] of them condemn it.
//!
//! Any answer of the broker clears an event of everything. So a line that flaps condemns nothing: it would have to carry
//! eight events and break at the ninth, which is the same each time, three times in a row; where each message breaks it with
//! the chance that suits this best, one in nine, that happens once in 12,000 times. Nor does a broker that is down, or that
//! hangs up at every event: nothing passes. What was found out is lost with the process; it is found out again.

use super::states::State;
use std::collections::{BTreeMap, BTreeSet};

/// Connections in a row that end with the same under way, before it is suspect.
const ENDS: u32 = 3;
/// Events that a connection must have taken before the end of it says something about the next one.
pub(super) const OTHERS: u64 = 8;
/// Proofs that condemn.
const PROOFS: u32 = 3;
/// Most events that are accused at once.
const ACCUSED: usize = 64;

/// What is under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    /// The event at this place in the log.
    Event(u64),
    /// The state of this terminal.
    State(String),
}

/// What the end of a connection has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// One message goes at a time from now on: so many are suspect.
    Careful(usize),
    /// The connection ended with this event alone under way: it is held back.
    Accused(u64),
    /// It did so again, and others had passed.
    Proof(u64),
    /// And that often enough: it is not sent any more.
    Condemned(u64),
    /// The state of this terminal is not sent any more until it changes.
    Shunned(String),
}

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Connections in a row that ended with something in common.
    ends: u32,
    common: BTreeSet<Load>,
    /// Events that are held back, and proofs against each.
    accused: BTreeMap<u64, u32>,
    /// How often a connection ended with the state of a terminal alone under way.
    states: BTreeMap<String, u32>,
    /// States that are not sent.
    shunned: BTreeMap<String, State>,
}

impl Doubts {
    /// Whether one message goes at a time.
    pub(super) fn is_careful(&self) -> bool {
        self.ends >= ENDS
    }

    /// Events that are held back.
    pub(super) fn accused(&self) -> impl Iterator<Item = u64> {
        self.accused.keys().copied()
    }

    /// Drops the accused that need not be sent any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(u64) -> bool) {
        self.accused.retain(|seq, _| wanted(*seq));
    }

    /// Whether this state is not to be sent.
    pub(super) fn shuns(&self, terminal: &str, state: &State) -> bool {
        self.shunned.get(terminal).is_some_and(|shunned| shunned == state)
    }

    /// The broker has answered it, or it is dealt with in another way.
    pub(super) fn clear(&mut self, load: &Load) {
        match load {
            Load::Event(seq) => drop(self.accused.remove(seq)),
            Load::State(terminal) => drop(self.states.remove(terminal)),
        }
        if self.common.remove(load) && self.common.is_empty() {
            self.ends = 0;
        }
    }

    /// A connection ended in a way that says nothing of what was under way.
    pub(super) fn forget(&mut self) {
        self.ends = 0;
        self.common.clear();
    }

    /// A connection was cut. Under way was all this, and `more` that is neither event nor state; `state` is that of the
    /// terminal whose state was. `proves` says whether what goes alone was preceded by enough others.
    pub(super) fn cut(&mut self, flying: BTreeSet<Load>, more: bool, state: State, proves: bool) -> Option<Finding> {
        let alone = flying.first().filter(|_| flying.len() == 1 && !more).cloned();
        match alone {
            Some(Load::Event(seq)) if self.accused.contains_key(&seq) => {
                self.forget();
                self.prove(seq, proves)
            }
            Some(Load::Event(seq)) if self.is_careful() && self.accused.len() < ACCUSED => {
                self.forget();
                self.accused.insert(seq, 0);
                Some(Finding::Accused(seq))
            }
            Some(Load::State(terminal)) if self.is_careful() => {
                let times = self.states.entry(terminal.clone()).or_default();
                *times += 1;
                if *times < PROOFS {
                    self.common = flying;
                    return None;
                }
                self.clear(&Load::State(terminal.clone()));
                self.forget();
                self.shunned.insert(terminal.clone(), state);
                Some(Finding::Shunned(terminal))
            }
            _ => self.compare(flying),
        }
    }

    fn prove(&mut self, seq: u64, proves: bool) -> Option<Finding> {
        let proofs = self.accused.get_mut(&seq).filter(|_| proves)?;
        *proofs += 1;
        if *proofs < PROOFS {
            return Some(Finding::Proof(seq));
        }
        self.accused.remove(&seq);
        Some(Finding::Condemned(seq))
    }

    /// What this end has in common with those before it.
    fn compare(&mut self, flying: BTreeSet<Load>) -> Option<Finding> {
        let common: BTreeSet<Load> = self.common.intersection(&flying).cloned().collect();
        if common.is_empty() {
            self.ends = u32::from(!flying.is_empty());
            self.common = flying;
            return None;
        }
        self.ends = self.ends.saturating_add(1);
        self.common = common;
        (self.ends == ENDS).then_some(Finding::Careful(self.common.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn events(seqs: impl IntoIterator<Item = u64>) -> BTreeSet<Load> {
        seqs.into_iter().map(Load::Event).collect()
    }

    /// Three ends with this in common.
    fn careful(doubts: &mut Doubts, loads: &BTreeSet<Load>) {
        for _ in 1..ENDS {
            assert_eq!(doubts.cut(loads.clone(), false, None, false), None);
        }
        assert_eq!(doubts.cut(loads.clone(), false, None, false), Some(Finding::Careful(loads.len())));
    }

    #[test]
    fn an_event_is_suspect_then_accused_then_condemned() {
        let mut doubts = Doubts::default();
        assert_eq!(doubts.cut(events(1..=5), true, None, false), None);
        assert_eq!(doubts.cut(events(3..=9), true, None, false), None);
        assert_eq!(doubts.cut(events([4, 5, 11]), true, None, false), Some(Finding::Careful(2)));
        doubts.clear(&Load::Event(5));
        assert!(doubts.is_careful());
        assert_eq!(doubts.cut(events([4]), false, None, false), Some(Finding::Accused(4)));
        assert!(!doubts.is_careful() && doubts.accused().eq([4]));
        assert_eq!(doubts.cut(events([4]), false, None, false), None, "nothing else had passed");
        assert_eq!(doubts.cut(events([4]), true, None, true), None, "it was not alone");
        for _ in 1..PROOFS {
            assert_eq!(doubts.cut(events([4]), false, None, true), Some(Finding::Proof(4)));
        }
        assert_eq!(doubts.cut(events([4]), false, None, true), Some(Finding::Condemned(4)));
        assert_eq!(doubts.accused().count(), 0);
    }

    #[test]
    fn an_answer_clears_of_everything() {
        let mut doubts = Doubts::default();
        careful(&mut doubts, &events([1, 2]));
        doubts.clear(&Load::Event(1));
        doubts.clear(&Load::Event(2));
        assert!(!doubts.is_careful(), "none is left");
        careful(&mut doubts, &events([3]));
        assert_eq!(doubts.cut(events([3]), false, None, false), Some(Finding::Accused(3)));
        assert_eq!(doubts.cut(events([3]), false, None, true), Some(Finding::Proof(3)));
        doubts.clear(&Load::Event(3));
        assert_eq!(doubts.accused().count(), 0);
        assert_eq!(doubts.cut(events([3]), false, None, true), None, "it begins at the beginning");
    }

    #[test]
    fn ends_that_have_nothing_in_common_say_nothing() {
        let mut doubts = Doubts::default();
        for seq in 0..100 {
            assert_eq!(doubts.cut(events([seq]), false, None, true), None);
        }
        careful(&mut doubts, &events([7]));
        assert_eq!(doubts.cut(BTreeSet::new(), true, None, true), None);
        assert!(!doubts.is_careful(), "it ended with nothing of it under way");
        careful(&mut doubts, &events([7]));
        doubts.forget();
        assert!(!doubts.is_careful());
        for seq in 1..200 {
            careful(&mut doubts, &events([seq * 1000]));
            let _ = doubts.cut(events([seq * 1000]), false, None, false);
        }
        assert_eq!(doubts.accused().count(), ACCUSED);
    }

    #[test]
    fn a_state_is_shunned_until_it_changes() {
        let mut doubts = Doubts::default();
        let state = |text: &str| Some(Arc::<str>::from(text));
        let load = BTreeSet::from([Load::State("atm-1".to_owned())]);
        careful(&mut doubts, &load);
        for _ in 1..PROOFS {
            assert_eq!(doubts.cut(load.clone(), false, state("large"), false), None);
            assert!(doubts.is_careful());
        }
        let shunned = Some(Finding::Shunned("atm-1".to_owned()));
        assert_eq!(doubts.cut(load, false, state("large"), false), shunned);
        assert!(doubts.shuns("atm-1", &state("large")) && !doubts.is_careful());
        assert!(!doubts.shuns("atm-1", &state("small")) && !doubts.shuns("atm-2", &state("large")));
    }
}
