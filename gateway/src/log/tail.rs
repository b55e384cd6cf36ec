//! The newest events, kept in memory for the readers that keep up.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use super::Stored;

/// Most bytes of JSON kept, whatever the number of events.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A bounded run of the newest events, without gaps.
#[derive(Debug)]
pub(super) struct Tail {
    capacity: usize,
    ring: RwLock<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Stored>>,
    bytes: usize,
}

impl Tail {
    pub(super) fn new(capacity: usize) -> Tail {
        Tail { capacity, ring: RwLock::default() }
    }

    /// Adds events that have just been committed, in their order.
    pub(super) fn push(&self, events: impl Iterator<Item = Arc<Stored>>) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            ring.bytes += event.json.len();
            ring.events.push_back(event);
        }
        while ring.events.len() > self.capacity || ring.bytes > MAX_BYTES {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.bytes -= oldest.json.len();
        }
    }

    /// Forgets all events: they are read from the store as they are now.
    pub(super) fn clear(&self) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Ring::default();
    }

    /// At most `limit` events after `after`; `None` where the first of them is no longer here.
    pub(super) fn read_after(&self, after: u64, limit: usize) -> Option<Vec<Arc<Stored>>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let first = ring.events.front()?.seq;
        let skip = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        Some(ring.events.iter().skip(skip).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Kind};

    fn stored(seq: u64) -> Arc<Stored> {
        Arc::new(Stored {
            seq,
            terminal_seq: seq,
            boot_ms: None,
            event: Event::new(Kind::SupplyLow),
            json: "{}".into(),
        })
    }

    #[test]
    fn it_serves_what_it_has_and_no_gap() {
        let tail = Tail::new(3);
        assert!(tail.read_after(0, 10).is_none());
        tail.push((1..=5).map(stored));
        assert!(tail.read_after(1, 10).is_none(), "2 has gone");
        let seqs = |after| tail.read_after(after, 2).map(|events| events.iter().map(|e| e.seq).collect::<Vec<_>>());
        assert_eq!(seqs(2), Some(vec![3, 4]));
        assert_eq!(seqs(5), Some(vec![]));
    }
}
