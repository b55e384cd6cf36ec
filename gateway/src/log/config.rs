//! Settings of the event store.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Smallest disk budget, in MB: the write-ahead log alone may take half of it.
const LEAST_BUDGET_MB: u64 = 32;
/// Most that a budget or a reserve may be, in MB: a petabyte.
const MOST_MB: u64 = 1 << 30;

/// Settings of the event store.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The data folder; the store is `events.db` in it.
    pub dir: PathBuf,
    /// Most events kept in memory for readers that keep up.
    pub tail_events: usize,
    /// Most bytes of one event's JSON form; a larger one is refused.
    pub max_event_bytes: usize,
    /// Days that events are kept which nobody waits for any more; 0 for ever. Default 90.
    pub keep_days: u32,
    /// Days that the text of journals is kept; 0 for ever. Default 400.
    pub journal_keep_days: u32,
    /// Most megabytes (of 1,048,576 bytes) of the store with its journals and its write-ahead log; 0 for no limit.
    /// Default 4096.
    pub max_mb: u64,
    /// Megabytes of its disk that the store leaves free. Below that, what nobody waits for goes early; below half of it,
    /// nothing new is accepted. 0 for none. Default 128.
    pub reserve_mb: u64,
    /// Whether a start brings in by itself what a damaged store holds that was not forwarded. Default true.
    pub salvage: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            dir: PathBuf::from("/var/lib/vestibule"),
            tail_events: 4096,
            max_event_bytes: 256 * 1024,
            keep_days: 90,
            journal_keep_days: 400,
            max_mb: 4096,
            reserve_mb: 128,
            salvage: true,
        }
    }
}

impl Config {
    /// Everything that is wrong with the settings: key and sentence.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.max_mb != 0 && !(LEAST_BUDGET_MB..=MOST_MB).contains(&self.max_mb) {
            faults.push(("max_mb", format!("{} is neither 0 nor at least {LEAST_BUDGET_MB}", self.max_mb)));
        }
        if self.reserve_mb > MOST_MB {
            faults.push(("reserve_mb", format!("{} is more than any disk has", self.reserve_mb)));
        }
        faults
    }

    /// The disk budget in bytes, if there is one.
    pub(super) fn budget(&self) -> Option<u64> {
        (self.max_mb > 0).then(|| bytes(self.max_mb))
    }

    /// The reserve in bytes.
    pub(super) fn reserve(&self) -> u64 {
        bytes(self.reserve_mb)
    }
}

fn bytes(megabytes: u64) -> u64 {
    megabytes.saturating_mul(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_none_or_large_enough() {
        let keys = |max_mb, reserve_mb| {
            let config = Config { max_mb, reserve_mb, ..Config::default() };
            config.faults().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(0, 0), [] as [&str; 0]);
        assert_eq!(keys(32, 1), [] as [&str; 0]);
        assert_eq!(keys(31, u64::MAX), ["max_mb", "reserve_mb"]);
        assert_eq!(Config::default().faults(), []);
    }
}
