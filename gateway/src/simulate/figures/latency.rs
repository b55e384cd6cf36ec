//! Times counted by size, in bounded memory: a bucket is at most a thirty-second of its times wide.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Buckets of a doubling, as a power of two.
const FINE: u32 = 5;
/// Buckets: one for each microsecond below 32, then 32 for each doubling up to a day and more.
const BUCKETS: usize = 1024;

/// Times, counted.
#[derive(Debug)]
pub struct Latency {
    buckets: Box<[AtomicU64]>,
    most: AtomicU64,
}

/// What half, nine tenths, and all but a hundredth of the times stay below, and the longest. Microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Half of them.
    pub p50: u64,
    /// Nine tenths.
    pub p90: u64,
    /// All but a hundredth.
    pub p99: u64,
    /// The longest, exactly.
    pub max: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Latency { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), most: AtomicU64::new(0) }
    }
}

impl Latency {
    /// Counts one.
    pub fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.most.fetch_max(micros, Ordering::Relaxed);
    }

    /// How they are spread; nothing where there are none.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let all: u64 = counts.iter().sum();
        let max = self.most.load(Ordering::Relaxed);
        let below = |percent: u64| {
            let wanted = (all * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let place = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            place.map_or(max, |place| upper(place).min(max))
        };
        (all > 0).then(|| Quantiles { p50: below(50), p90: below(90), p99: below(99), max })
    }
}

/// The bucket of so many microseconds.
fn bucket(micros: u64) -> usize {
    let doublings = micros.checked_ilog2().unwrap_or(0).saturating_sub(FINE);
    let fine = usize::try_from(micros >> doublings).unwrap_or(BUCKETS);
    let coarse = usize::try_from(doublings).unwrap_or(BUCKETS) << FINE;
    (coarse + fine).min(BUCKETS - 1)
}

/// The largest number of microseconds of a bucket.
fn upper(place: usize) -> u64 {
    let fine = 1 << FINE;
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    let doublings = (place / fine).saturating_sub(1);
    (place - doublings * fine + 1).checked_shl(u32::try_from(doublings).unwrap_or(0)).unwrap_or(u64::MAX) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_a_bucket_that_is_narrow() {
        for micros in (0..5_000).chain([65_535, 65_536, 1_000_000, 3_600_000_000]) {
            let upper = upper(bucket(micros));
            assert!(upper >= micros && upper - micros <= micros / 32, "{micros}: {upper}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let latency = Latency::default();
        assert_eq!(latency.quantiles(), None);
        (1..=1000).for_each(|millis| latency.record(Duration::from_millis(millis)));
        let found = latency.quantiles().expect("some");
        assert_eq!(found.max, 1_000_000);
        for (value, exact) in [(found.p50, 500_000), (found.p90, 900_000), (found.p99, 990_000)] {
            assert!((exact..=exact + exact / 32).contains(&value), "{value} is not near {exact}");
        }
    }
}
