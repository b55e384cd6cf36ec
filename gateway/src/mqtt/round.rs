//! Which broker is tried next, and when: they are tried in their order, and after each round of them we wait longer.
//! Whoever was connected for a while begins with the first again.

use std::time::{Duration, Instant};

use super::Address;
use crate::backoff::Backoff;

/// What was said is not said again within this time, even where the connection was good in between.
const QUIET: Duration = Duration::from_secs(600);
/// Most sentences about one broker that are remembered.
const SAID: usize = 8;

/// A broker, and what was said about it and when, so that it is said once.
#[derive(Debug)]
struct Known {
    address: Address,
    said: Vec<(String, Instant)>,
}

/// The brokers, and where we are in their round.
#[derive(Debug)]
pub(super) struct Round {
    brokers: Vec<Known>,
    at: usize,
    backoff: Backoff,
    /// Whether something was said since it was said last that we are connected.
    complained: bool,
}

impl Round {
    /// Begins with the first; the pauses between rounds grow from the first of these to the other.
    pub(super) fn new(addresses: Vec<Address>, pauses: (Duration, Duration)) -> Round {
        let brokers = addresses.into_iter().map(|address| Known { address, said: Vec::new() }).collect();
        Round { brokers, at: 0, backoff: Backoff::new(pauses), complained: true }
    }

    /// The broker that is tried now, or connected; none where there is no broker at all.
    pub(super) fn current(&self) -> Option<&Address> {
        self.brokers.get(self.at).map(|known| &known.address)
    }

    /// All of them, each with whether it is the current one.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Address, bool)> {
        self.brokers.iter().enumerate().map(|(at, known)| (&known.address, at == self.at))
    }

    /// The current one has accepted us: whether that is to be said.
    pub(super) fn connected(&mut self) -> bool {
        std::mem::take(&mut self.complained)
    }

    /// Something is wrong with the current one: its address where that was not said before. A connection that the broker
    /// accepts and ends at once changes nothing about that.
    pub(super) fn complain(&mut self, reason: &str, now: Instant) -> Option<&Address> {
        let known = self.brokers.get_mut(self.at)?;
        if known.said.iter().any(|(said, _)| said == reason) {
            return None;
        }
        if known.said.len() >= SAID {
            known.said.remove(0);
        }
        known.said.push((reason.to_owned(), now));
        self.complained = true;
        Some(&known.address)
    }

    /// The connection to the current one has ended, or there was none: goes on to the next. A pause where the round is
    /// over, or was `good`: it then begins anew, and so do the pauses.
    pub(super) fn next(&mut self, good: bool, now: Instant) -> Option<Duration> {
        if good {
            self.backoff.reset();
            if let Some(known) = self.brokers.get_mut(self.at) {
                known.said.retain(|(_, at)| now.saturating_duration_since(*at) < QUIET);
            }
        }
        self.at += 1;
        if good || self.at >= self.brokers.len() {
            self.at = 0;
            return Some(self.backoff.next());
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
        let (first, most, now) = (Duration::from_secs(1), Duration::from_secs(8), Instant::now());
        let mut round = Round::new(addresses.clone(), (first, most));
        assert_eq!(round.complain("no", now), Some(&addresses[0]));
        assert_eq!(round.complain("no", now), None, "it is said once");
        assert_eq!((round.next(false, now), round.current()), (None, Some(&addresses[1])));
        assert_eq!(round.complain("no", now), Some(&addresses[1]));
        assert!(round.next(false, now).is_some_and(|pause| pause <= first));
        assert_eq!(round.complain("no", now), None, "nor in the next round");
        assert_eq!(round.next(false, now), None);
        assert!(round.next(false, now).is_some_and(|pause| pause >= first && pause <= first * 2));
        assert!(round.next(true, now).is_some_and(|pause| pause <= first), "after a good one they begin anew");
        assert_eq!(round.current(), Some(&addresses[0]));
        assert!(Round::new(Vec::new(), (first, most)).next(false, now).is_some());
    }

    #[test]
    fn what_comes_and_goes_is_said_once() {
        let address = Address::parse("mqtt://a").expect("an address");
        let mut round = Round::new(vec![address], (Duration::from_millis(1), Duration::from_millis(1)));
        let begun = Instant::now();
        let mut said = Vec::new();
        for second in 0..QUIET.as_secs() {
            let now = begun + Duration::from_secs(second);
            if round.connected() {
                said.push("connected");
            }
            for reason in ["taken over", "closed"] {
                said.extend(round.complain(reason, now).map(|_| reason));
            }
            // Two that throw each other out may leave each other alone for a while.
            round.next(second % 60 == 59, now);
        }
        assert_eq!(said, ["connected", "taken over", "closed", "connected"]);
        round.next(true, begun + QUIET * 2);
        assert!(round.complain("closed", begun + QUIET * 2).is_some(), "after a while it is news again");
        for reason in 0..100 {
            assert!(round.complain(&reason.to_string(), begun).is_some());
        }
        assert!(round.brokers.iter().all(|known| known.said.len() <= SAID));
    }
}
