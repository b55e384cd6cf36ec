//! Events that the broker put off, and when they are sent again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// First and longest pause before what was put off is sent again.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Places in the log that wait for another try.
#[derive(Debug)]
pub(super) struct Held {
    waiting: VecDeque<u64>,
    due: Instant,
    backoff: Backoff,
}

impl Held {
    pub(super) fn new(now: Instant) -> Self {
        Held { waiting: VecDeque::new(), due: now, backoff: Backoff::new(PAUSE) }
    }

    /// Events that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Lets an event wait; answers the pause where it is the first that does.
    pub(super) fn hold(&mut self, seq: u64, now: Instant) -> Option<Duration> {
        let first = self.waiting.is_empty();
        self.waiting.push_back(seq);
        first.then(|| {
            if now > self.due + PAUSE.1 {
                self.backoff.reset();
            }
            self.pause(now)
        })
    }

    fn pause(&mut self, now: Instant) -> Duration {
        let pause = self.backoff.next();
        self.due = now + pause;
        pause
    }

    /// The broker takes such events again: they need not wait any longer.
    pub(super) fn soon(&mut self, now: Instant) {
        self.backoff.reset();
        self.due = self.due.min(now);
    }

    /// The broker took an event: where nothing waits any more, the next pause is a short one again.
    pub(super) fn relax(&mut self) {
        if self.waiting.is_empty() {
            self.backoff.reset();
        }
    }

    /// Takes at most `most` of those that are due; the rest waits for another pause.
    pub(super) fn take_due(&mut self, now: Instant, most: usize) -> Vec<u64> {
        if now < self.due || self.waiting.is_empty() || most == 0 {
            return Vec::new();
        }
        let due = self.waiting.drain(..self.waiting.len().min(most)).collect();
        if !self.waiting.is_empty() {
            self.pause(now);
        }
        due
    }

    /// Takes the one that waits longest.
    pub(super) fn oldest(&mut self) -> Option<u64> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_back_in_turn_and_later_each_time() {
        let mut now = Instant::now();
        let mut held = Held::new(now);
        let first = held.hold(1, now).expect("the first says how long");
        assert!(first <= PAUSE.0 && held.hold(2, now).is_none() && held.hold(3, now).is_none());
        assert_eq!(held.take_due(now, 9), [] as [u64; 0], "not yet");
        now += PAUSE.0;
        assert_eq!(held.take_due(now, 2), [1, 2]);
        assert_eq!(held.take_due(now, 2), [] as [u64; 0], "the rest waits again");
        assert_eq!(held.hold(1, now), None);
        held.soon(now);
        assert_eq!(held.take_due(now, 9), [3, 1]);
        assert_eq!((held.len(), held.oldest()), (0, None));
        for _ in 0..20 {
            let pause = held.hold(1, now).expect("the first");
            assert!(pause <= PAUSE.1);
            now += pause;
            assert_eq!(held.take_due(now, 9), [1]);
        }
        assert!(held.hold(1, now).expect("the first") >= PAUSE.1 / 2);
    }
}
