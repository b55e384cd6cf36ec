//! Which broker is tried next, and when: they are tried in their order, and after each round of them we wait longer.
//! Whoever was connected for a while begins with the first again.

use std::time::Duration;

use super::{Address, Backoff, chance};

/// The brokers, and where we are in their round.
#[derive(Debug)]
pub(crate) struct Round {
    /// Each with what was last said about it, so that it is said once.
    brokers: Vec<(Address, Option<String>)>,
    at: usize,
    backoff: Backoff,
}

impl Round {
    /// Begins with the first; the pauses between rounds grow from the first of these to the other.
    pub(crate) fn new(addresses: Vec<Address>, (first, most): (Duration, Duration)) -> Round {
        let brokers = addresses.into_iter().map(|address| (address, None)).collect();
        Round { brokers, at: 0, backoff: Backoff::new(first, most) }
    }

    /// The broker that is tried now, or connected; none where there is no broker at all.
    pub(crate) fn current(&self) -> Option<&Address> {
        self.brokers.get(self.at).map(|(address, _)| address)
    }

    /// All of them, each with whether it is the current one.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Address, bool)> {
        self.brokers.iter().enumerate().map(|(at, (address, _))| (address, at == self.at))
    }

    /// The current one has accepted us: whatever goes wrong next is said.
    pub(crate) fn connected(&mut self) {
        if let Some((_, said)) = self.brokers.get_mut(self.at) {
            *said = None;
        }
    }

    /// Something is wrong with the current one: its address where that was not said before.
    pub(crate) fn complain(&mut self, reason: &str) -> Option<&Address> {
        let (address, said) = self.brokers.get_mut(self.at)?;
        if said.as_deref() == Some(reason) {
            return None;
        }
        *said = Some(reason.to_owned());
        Some(address)
    }

    /// The connection to the current one has ended, or there was none: goes on to the next. A pause where the round is
    /// over, or was `good`: it then begins anew, and so do the pauses.
    pub(crate) fn next(&mut self, good: bool) -> Option<Duration> {
        if good {
            self.backoff.reset();
        }
        self.at += 1;
        if good || self.at >= self.brokers.len() {
            self.at = 0;
            return Some(self.backoff.next(chance()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_tried_in_its_order_and_a_round_ends_with_a_pause() {
        let addresses: Vec<_> =
            ["mqtt://a", "mqtt://b"].iter().map(|text| Address::parse(text).expect("an address")).collect();
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(8));
        let mut round = Round::new(addresses.clone(), (first, most));
        assert_eq!(round.complain("no"), Some(&addresses[0]));
        assert_eq!(round.complain("no"), None, "it is said once");
        assert_eq!((round.next(false), round.current()), (None, Some(&addresses[1])));
        assert_eq!(round.complain("no"), Some(&addresses[1]));
        assert!(round.next(false).is_some_and(|pause| pause <= first));
        assert_eq!(round.complain("no"), None, "nor in the next round");
        round.connected();
        assert_eq!(round.complain("no"), Some(&addresses[0]));
        assert_eq!(round.next(false), None);
        assert!(round.next(false).is_some_and(|pause| pause >= first && pause <= first * 2));
        assert!(round.next(true).is_some_and(|pause| pause <= first), "after a good one they begin anew");
        assert_eq!(round.current(), Some(&addresses[0]));
        assert!(Round::new(Vec::new(), (first, most)).next(false).is_some());
    }
}
