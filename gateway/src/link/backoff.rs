//! The pause before a new try.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);

/// A connection that lasted for so long was a success.
const STEADY: Duration = Duration::from_secs(5);

/// A pause that doubles with each failure and begins anew after a success.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    /// The longest pause.
    pub(super) const LONGEST: Duration = Duration::from_secs(30);

    pub(super) fn new() -> Backoff {
        Backoff(FIRST)
    }

    /// The pause to make now.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Backoff::LONGEST);
        pause
    }

    /// Begins anew, where what has just ended had lasted: who hangs up at once is not asked again at once.
    pub(super) fn reset_after(&mut self, lasted: Duration) {
        if lasted >= STEADY {
            self.reset();
        }
    }

    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_a_bound_and_begins_anew() {
        let mut backoff = Backoff::new();
        assert_eq!([backoff.next(), backoff.next()], [FIRST, FIRST * 2]);
        assert_eq!((0..20).map(|_| backoff.next()).last(), Some(Backoff::LONGEST));
        backoff.reset_after(STEADY / 2);
        assert_eq!(backoff.next(), Backoff::LONGEST);
        backoff.reset_after(STEADY);
        assert_eq!(backoff.next(), FIRST);
    }
}
