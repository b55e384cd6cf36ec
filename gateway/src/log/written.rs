//! What this process writes to disks: the flash of a card lasts for so many bytes.

use std::sync::{Mutex, PoisonError};

use super::Log;
use crate::metrics::Metrics;

/// Counts begun when the store was opened.
#[derive(Debug)]
pub(super) struct Written(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    /// Bytes written, and the log's head, then.
    begin: (u64, u64),
    /// Bytes counted so far.
    counted: u64,
}

impl Written {
    pub(super) fn new(head: u64) -> Written {
        Written(Mutex::new(Counts { begin: (bytes().unwrap_or(0), head), counted: 0 }))
    }
}

impl Log {
    /// Brings the figures of what was written up to date.
    pub fn count_written(&self, metrics: &Metrics) {
        let Some(bytes) = bytes() else { return };
        let mut counts = self.0.written.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = bytes.saturating_sub(counts.begin.0);
        metrics.log_written_bytes.inc_by(since.saturating_sub(counts.counted));
        counts.counted = since;
        let events = self.0.head.borrow().saturating_sub(counts.begin.1);
        if let Some(each) = since.checked_div(events) {
            metrics.log_written_bytes_per_event.set(i64::try_from(each).unwrap_or(i64::MAX));
        }
    }
}

/// Bytes that this process has had written to disks since it began, as the system counts them: whole pages, once for each
/// time that they reach the disk.
fn bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_counts() {
        assert!(bytes().is_some());
    }
}
