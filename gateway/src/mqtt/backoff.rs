//! How long to wait before the next attempt.

use std::time::Duration;

/// A random number for jitter and connection numbers; a constant where the system gives none.
pub(crate) fn chance() -> u64 {
    getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15)
}

/// Doubling delays with jitter, so that a branch full of gateways does not come back in step.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Backoff { first, most, failures: 0 }
    }

    /// The delay before the next attempt: between half and the whole of the doubled one. `chance` is any random number.
    pub(crate) fn next(&mut self, chance: u64) -> Duration {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(60));
        let mut whole = Duration::from_millis(200);
        for chance in 0..100_u64 {
            let delay = backoff.next(chance.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert!(delay >= whole / 2 && delay <= whole, "{delay:?} of {whole:?}");
            whole = (whole * 2).min(Duration::from_secs(60));
        }
        backoff.reset();
        assert!(backoff.next(u64::MAX) <= Duration::from_millis(200));
    }
}
