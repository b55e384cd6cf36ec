//! Several events in one message, for lines where each packet costs: the CloudEvents JSON batch format, packed by zstd
//! where the broker can be told so.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Content type of a batch.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents-batch+json";
/// How a packed batch is packed.
pub(super) const ENCODING: &str = "zstd";
/// zstd's own default: most of the gain at little cost.
const LEVEL: i32 = 3;

/// Settings of batches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batching {
    /// Most events in one message, at least 1. Default 100.
    pub max_events: usize,
    /// Most bytes of one message before it is packed, at least 1024; a larger event goes alone. Default 65536.
    pub max_bytes: usize,
    /// Milliseconds that an event waits for company, 60000 at most; critical ones do not. Default 1000.
    pub max_age_ms: u64,
    /// Whether batches are packed by zstd; MQTT 5 alone can tell a subscriber so. Default true.
    pub zstd: bool,
}

impl Default for Batching {
    fn default() -> Self {
        Batching { max_events: 100, max_bytes: 64 * 1024, max_age_ms: 1000, zstd: true }
    }
}

/// Events that wait for company.
#[derive(Debug, Default)]
pub(super) struct Batch {
    text: String,
    seqs: Vec<u64>,
    since: Option<Instant>,
}

impl Batch {
    /// Whether one more payload of so many bytes still fits.
    pub(super) fn fits(&self, bytes: usize, limits: &Batching) -> bool {
        // A comma or bracket before it, and the last bracket.
        self.seqs.len() < limits.max_events && self.text.len() + bytes + 2 <= limits.max_bytes
    }

    /// Adds one payload.
    pub(super) fn push(&mut self, seq: u64, payload: &str, now: Instant) {
        self.text.push(if self.text.is_empty() { '[' } else { ',' });
        self.text.push_str(payload);
        self.seqs.push(seq);
        self.since.get_or_insert(now);
    }

    /// When it must be sent at the latest; `None` while it is empty.
    pub(super) fn due(&self, limits: &Batching) -> Option<Instant> {
        self.since.map(|since| since + Duration::from_millis(limits.max_age_ms))
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.seqs.is_empty()
    }

    /// What is in it, as one payload; it is empty then.
    pub(super) fn take(&mut self) -> (String, Vec<u64>) {
        let Batch { mut text, seqs, .. } = std::mem::take(self);
        text.push(']');
        (text, seqs)
    }
}

/// Packs a payload; `None` where that gains nothing.
pub(super) fn pack(text: &str) -> Option<Vec<u8>> {
    zstd::bulk::compress(text.as_bytes(), LEVEL).ok().filter(|packed| packed.len() < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_an_array_within_its_bounds() {
        let limits = Batching { max_events: 3, max_bytes: 20, ..Batching::default() };
        let (mut batch, now) = (Batch::default(), Instant::now());
        assert_eq!((batch.due(&limits), batch.is_empty()), (None, true));
        for (seq, payload) in [(1, r#"{"a":1}"#), (2, r#"{"b":2}"#)] {
            assert!(batch.fits(payload.len(), &limits));
            batch.push(seq, payload, now + Duration::from_secs(seq));
        }
        assert!(!batch.fits(7, &limits), "too many bytes");
        assert!(batch.fits(2, &limits));
        batch.push(3, "{}", now);
        assert_eq!(batch.due(&limits), Some(now + Duration::from_secs(2)), "the first one's age counts");
        let (text, seqs) = batch.take();
        assert_eq!((text.as_str(), seqs), (r#"[{"a":1},{"b":2},{}]"#, vec![1, 2, 3]));
        assert!(text.len() <= limits.max_bytes && batch.is_empty());
        (1..=3).for_each(|seq| batch.push(seq, "", now));
        assert!(!batch.fits(0, &limits), "too many events");
    }

    #[test]
    fn what_is_packed_is_smaller_and_the_same() {
        let text = r#"{"kind":"supply.low"},"#.repeat(100);
        let packed = pack(&text).expect("gains something");
        assert!(packed.len() < text.len() / 10);
        assert_eq!(zstd::bulk::decompress(&packed, text.len()).expect("unpacks"), text.as_bytes());
        assert_eq!(pack("[]"), None);
    }
}
