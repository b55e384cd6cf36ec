//! What is sent next, read from the log a piece at a time: critical events first where others wait, then what the broker
//! put off, then the order that was chosen.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Severity;
use crate::log::{Progress, Stored};

/// Rows read at once; another read begins when fewer than half of that are left. A read is done by another thread, which
/// on a busy machine takes its time to begin: what is left lasts for two windows of the usual size.
const BATCH: usize = 1024;
/// Most critical events that are read ahead of the others.
const URGENT: usize = 64;

/// Which events go first after an outage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Everything in the order of the log.
    #[default]
    BacklogFirst,
    /// What happens now goes at once; what is older than the connection has the rest of the line, at least a quarter. A
    /// terminal's events then do not arrive in their order: `terminalsequence` tells it.
    LiveFirst,
}

/// A part of the log that is sent in its order.
#[derive(Debug)]
struct Lane {
    rows: VecDeque<Arc<Stored>>,
    /// The last place read.
    cursor: u64,
    /// The last place to read.
    last: u64,
    /// A read found nothing although there should be something; it is tried again later.
    found_nothing: bool,
}

impl Lane {
    fn new(cursor: u64, last: u64) -> Self {
        Lane { rows: VecDeque::new(), cursor, last, found_nothing: false }
    }

    fn unread(&self, head: u64) -> u64 {
        head.min(self.last).saturating_sub(self.cursor)
    }

    fn wants(&mut self, progress: &Progress, head: u64) -> Option<(u64, usize)> {
        if self.found_nothing || self.rows.len() > BATCH / 2 {
            return None;
        }
        self.cursor = progress.settled_through(self.cursor).min(self.last).max(self.cursor);
        let unread = self.unread(head);
        (unread > 0).then(|| (self.cursor, usize::try_from(unread).map_or(BATCH, |unread| unread.min(BATCH))))
    }
}

/// What is to be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// At most so many rows after this place, for the lane of what happens now or for the other.
    Rows { live: bool, after: u64, limit: usize },
    /// At most so many critical rows after this place.
    Critical { after: u64, limit: usize },
}

/// Rows that were taken in: places that should have been there and are not.
pub(super) type Missing = Vec<(u64, u64)>;

/// What one connection still has to send.
#[derive(Debug)]
pub(super) struct Lanes {
    urgent: VecDeque<Arc<Stored>>,
    again: VecDeque<Arc<Stored>>,
    live: Option<Lane>,
    backlog: Lane,
    /// The last place looked at for critical events.
    critical: u64,
    ends: bool,
}

impl Lanes {
    /// Everything above the floor; `head` is the last event before this connection.
    pub(super) fn new(order: Order, progress: &Progress, head: u64) -> Self {
        let floor = progress.floor;
        let (live, last) = match order {
            Order::BacklogFirst => (None, u64::MAX),
            Order::LiveFirst => (Some(Lane::new(head, u64::MAX)), head),
        };
        let backlog = Lane::new(floor.min(last), last);
        Lanes { urgent: VecDeque::new(), again: VecDeque::new(), live, backlog, critical: floor, ends: false }
    }

    /// Begins anew from the floor, which has gone down.
    pub(super) fn rewind(&mut self, progress: &Progress) {
        for (lane, cursor) in [(Some(&mut self.backlog), progress.floor), (self.live.as_mut(), u64::MAX)] {
            if let Some(lane) = lane {
                lane.rows.clear();
                lane.found_nothing = false;
                lane.cursor = lane.cursor.min(cursor);
            }
        }
        if let Some(live) = &mut self.live {
            live.cursor = self.backlog.last;
        }
        self.urgent.clear();
        self.critical = progress.floor;
    }

    /// Sends nothing that comes after `last`; `None` leaves all that is not taken yet.
    pub(super) fn end(&mut self, last: Option<u64>) {
        self.ends = true;
        for lane in self.live.iter_mut().chain([&mut self.backlog]) {
            match last {
                Some(last) => lane.last = lane.last.min(last),
                None => {
                    lane.last = lane.cursor;
                    lane.rows.clear();
                }
            }
        }
        if last.is_none() {
            self.urgent.clear();
            self.again.clear();
        }
    }

    /// Whether everything up to the end was taken.
    pub(super) fn are_empty(&self, head: u64) -> bool {
        let lane = |lane: &Lane| lane.rows.is_empty() && lane.unread(head) == 0;
        self.urgent.is_empty() && self.again.is_empty() && lane(&self.backlog) && self.live.as_ref().is_none_or(lane)
    }

    /// Whether rows of what happens now wait for their turn.
    pub(super) fn live_waits(&self, head: u64) -> bool {
        self.live.as_ref().is_some_and(|live| !live.rows.is_empty() || live.unread(head) > 0)
    }

    /// Whether something waits that was put off before.
    pub(super) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// The next row; one that is not `wanted` any more is dropped. The backlog is left alone unless it may go on.
    pub(super) fn next(&mut self, backlog: bool, wanted: impl Fn(u64) -> bool) -> Option<Arc<Stored>> {
        if let Some(row) = self.again.pop_front() {
            return Some(row);
        }
        let live = self.live.as_mut().map(|lane| &mut lane.rows);
        let backlog = backlog.then_some(&mut self.backlog.rows);
        [Some(&mut self.urgent), live, backlog]
            .into_iter()
            .flatten()
            .find_map(|rows| std::iter::from_fn(|| rows.pop_front()).find(|row| wanted(row.seq)))
    }

    /// What is to be read next, if anything is.
    pub(super) fn wish(&mut self, progress: &Progress, head: u64) -> Option<Wish> {
        if let Some((after, limit)) = self.live.as_mut().and_then(|live| live.wants(progress, head)) {
            return Some(Wish::Rows { live: true, after, limit });
        }
        if let Some((after, limit)) = self.backlog.wants(progress, head) {
            return Some(Wish::Rows { live: false, after, limit });
        }
        let unread = self.backlog.unread(head) + self.live.as_ref().map_or(0, |live| live.unread(head));
        let looks = !self.ends && unread > 0 && self.critical < head && self.urgent.is_empty();
        looks.then_some(Wish::Critical { after: self.critical, limit: URGENT })
    }

    /// Takes rows that were read for a lane. Where more wait than there is `room` for, the critical ones go first.
    /// Numbers have no gaps: rows that are missing were pruned.
    pub(super) fn take(&mut self, live: bool, rows: Vec<Arc<Stored>>, room: usize) -> Missing {
        let mut missing = Vec::new();
        let lane = match &mut self.live {
            Some(lane) if live => lane,
            _ => &mut self.backlog,
        };
        lane.found_nothing = rows.is_empty();
        for row in rows {
            if row.seq <= lane.cursor {
                continue;
            }
            if row.seq > lane.cursor + 1 {
                missing.push((lane.cursor + 1, row.seq - 1));
            }
            lane.cursor = row.seq;
            let waits = lane.rows.len() >= room;
            let rows =
                if waits && row.event.severity == Severity::Critical { &mut self.urgent } else { &mut lane.rows };
            rows.push_back(row);
        }
        missing
    }

    /// Takes critical rows that were read with this limit; `head` was the last place then.
    pub(super) fn take_critical(&mut self, rows: Vec<Arc<Stored>>, limit: usize, head: u64) {
        self.critical = match rows.last() {
            Some(row) if rows.len() >= limit => row.seq,
            _ => self.critical.max(head),
        };
        self.urgent.extend(rows.into_iter().filter(|row| row.event.severity == Severity::Critical));
    }

    /// Takes rows that were put off before.
    pub(super) fn take_again(&mut self, rows: Vec<Arc<Stored>>) {
        self.again.extend(rows);
    }

    /// What could not be read before may be tried again.
    pub(super) fn retry(&mut self) {
        for lane in self.live.iter_mut().chain([&mut self.backlog]) {
            lane.found_nothing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Kind};

    fn row(seq: u64, severity: Severity) -> Arc<Stored> {
        let mut event = Event::new(Kind::SupplyLow);
        event.severity = severity;
        Arc::new(Stored { seq, terminal_seq: seq, boot_ms: None, event, json: "{}".into() })
    }

    fn rows(places: std::ops::RangeInclusive<u64>) -> Vec<Arc<Stored>> {
        places.map(|seq| row(seq, Severity::Info)).collect()
    }

    /// Reads what is wished for from a log up to `head` in which every thousandth event is critical.
    fn serve(lanes: &mut Lanes, progress: &Progress, head: u64) {
        let severity = |seq: u64| if seq.is_multiple_of(1000) { Severity::Critical } else { Severity::Info };
        while let Some(wish) = lanes.wish(progress, head) {
            match wish {
                Wish::Rows { live, after, limit } => {
                    let last = head.min(after + u64::try_from(limit).expect("small"));
                    let read = (after + 1..=last).map(|seq| row(seq, severity(seq))).collect();
                    assert_eq!(lanes.take(live, read, 0), [] as [(u64, u64); 0]);
                }
                Wish::Critical { after, limit } => {
                    let read = (after + 1..=head).filter(|seq| seq % 1000 == 0).take(limit);
                    lanes.take_critical(read.map(|seq| row(seq, Severity::Critical)).collect(), limit, head);
                }
            }
        }
    }

    fn drain(lanes: &mut Lanes, progress: &mut Progress, mut head: u64, grow: u64) -> Vec<u64> {
        let mut sent = Vec::new();
        loop {
            serve(lanes, progress, head);
            let copy = progress.clone();
            let Some(row) = lanes.next(true, |seq| !copy.is_settled(seq)) else { return sent };
            progress.settle(&crate::log::Outcome::Forwarded, row.seq, row.seq);
            sent.push(row.seq);
            if sent.len() == 100 {
                head += grow;
            }
        }
    }

    #[test]
    fn everything_is_sent_once_in_either_order_and_critical_events_overtake() {
        for order in [Order::BacklogFirst, Order::LiveFirst] {
            let mut progress = Progress { floor: 10, ..Progress::default() };
            let mut lanes = Lanes::new(order, &progress, 5000);
            let sent = drain(&mut lanes, &mut progress, 5000, 50);
            let mut sorted = sent.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (11..=5050).collect::<Vec<_>>());
            assert_eq!((progress.floor, progress.ranges.len()), (5050, 0));
            let at = |seq: u64| sent.iter().position(|sent| *sent == seq).expect("was sent");
            assert!(at(5000) < 300, "a critical event goes ahead: {}", at(5000));
            assert_eq!(at(5020) < 300, order == Order::LiveFirst);
            assert!(at(11) < at(12) && at(5020) < at(5021));
            assert!(lanes.are_empty(5050));
        }
    }

    #[test]
    fn a_floor_that_goes_down_is_read_again_without_what_is_on_its_way() {
        for order in [Order::BacklogFirst, Order::LiveFirst] {
            let mut progress = Progress { floor: 100, ..Progress::default() };
            let mut lanes = Lanes::new(order, &progress, 100);
            serve(&mut lanes, &progress, 120);
            assert_eq!(lanes.next(true, |_| true).expect("101").seq, 101);
            progress.revive(50, 51);
            lanes.rewind(&progress);
            serve(&mut lanes, &progress, 120);
            let mut sent = Vec::new();
            while let Some(row) = lanes.next(true, |seq| seq != 101 && !progress.is_settled(seq)) {
                sent.push(row.seq);
            }
            sent.sort_unstable();
            assert_eq!(sent, [50, 51].into_iter().chain(102..=120).collect::<Vec<_>>());
        }
    }

    #[test]
    fn places_that_are_not_there_are_named() {
        let progress = Progress { floor: 3, ..Progress::default() };
        let mut lanes = Lanes::new(Order::BacklogFirst, &progress, 20);
        assert_eq!(lanes.take(false, rows(10..=12), 9), [(4, 9)]);
        assert_eq!(lanes.take(false, rows(11..=13), 9), [] as [(u64, u64); 0], "what was read already is passed over");
        assert_eq!(lanes.take(false, Vec::new(), 9), [] as [(u64, u64); 0]);
        lanes.end(Some(20));
        assert!(!lanes.are_empty(20), "there is something that could not be read");
        lanes.end(None);
        assert!(lanes.are_empty(20));
    }
}
