//! How long to wait before the next attempt. A leaf: links, brokers and what a broker puts off wait by it.

use std::time::Duration;

/// What lasted so long was a success.
const STEADY: Duration = Duration::from_secs(5);

/// A random number for jitter and connection numbers; a constant where the system gives none.
pub(crate) fn chance() -> u64 {
    getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15)
}

/// Doubling delays with jitter, so that what went at once (a branch full of gateways, a branch full of terminals) does not
/// come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays from the first of these to the longest.
    pub(crate) fn new((first, most): (Duration, Duration)) -> Self {
        Backoff { first, most, failures: 0 }
    }

    /// The delay before the next attempt: between half and the whole of the doubled one.
    pub(crate) fn next(&mut self) -> Duration {
        self.next_by(chance())
    }

    /// The same by this random number.
    fn next_by(&mut self, chance: u64) -> Duration {
        let whole = self.first.saturating_mul(2_u32.saturating_pow(self.failures.min(24))).min(self.most);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_nanos(chance % span)
    }

    /// The last attempt was good.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Begins anew where what has just ended had lasted: who hangs up at once is not asked again at once.
    pub(crate) fn reset_after(&mut self, lasted: Duration) {
        if lasted >= STEADY {
            self.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_over() {
        let first = Duration::from_millis(200);
        let mut backoff = Backoff::new((first, Duration::from_secs(60)));
        let mut whole = first;
        for chance in 0..100_u64 {
            let delay = backoff.next_by(chance.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert!(delay >= whole / 2 && delay <= whole, "{delay:?} of {whole:?}");
            whole = (whole * 2).min(Duration::from_secs(60));
        }
        backoff.reset_after(STEADY / 2);
        assert!(backoff.next() >= Duration::from_secs(30), "what hangs up at once is not asked again at once");
        backoff.reset_after(STEADY);
        assert!(backoff.next_by(u64::MAX) <= first);
    }

    #[test]
    fn two_do_not_wait_alike() {
        let pauses = |mut backoff: Backoff| (0..8).map(|_| backoff.next()).collect::<Vec<_>>();
        let new = || Backoff::new((Duration::from_millis(200), Duration::from_secs(30)));
        assert_ne!(pauses(new()), pauses(new()));
    }

    #[test]
    fn it_never_gives_up_and_never_waits_longer_than_the_cap() {
        let most = Duration::from_secs(60);
        let mut backoff = Backoff::new((Duration::from_millis(200), most));
        let mut waited = Duration::ZERO;
        for attempt in 0..100_000_u64 {
            let delay = backoff.next_by(attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert!(delay <= most && (attempt < 10 || delay >= most / 2), "attempt {attempt} comes after {delay:?}");
            waited += delay;
        }
        assert!(waited > Duration::from_secs(30 * 24 * 60 * 60), "{waited:?}");
        backoff.reset();
        assert!(backoff.next_by(u64::MAX) <= Duration::from_millis(200));
    }
}
