//! Where the forwarder stands: a floor, and ranges above it that are dealt with already.
//!
//! The writer owns it. The forwarder keeps a copy, on which it does the same sums in the same order: what it tells the
//! writer is which places it has dealt with, and how. So an event that is replayed while others are acknowledged is not
//! lost to whoever saves last.

mod rows;

use std::collections::VecDeque;

/// Where the forwarder stands: what need not be sent any more. Durable.
///
/// `appended = forwarded + pending + dead_lettered + discarded` at every moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every event up to this one is dealt with.
    pub floor: u64,
    /// Ranges above the floor that are dealt with, first and last inclusive, in order, apart from one another.
    pub ranges: Vec<(u64, u64)>,
    /// Events acknowledged by the broker, ever.
    pub forwarded: u64,
    /// Events set aside because they cannot be forwarded, and not replayed since.
    pub dead_lettered: u64,
    /// Events given up, ever.
    pub discarded: u64,
}

/// How events were dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The broker acknowledged them.
    Forwarded,
    /// They cannot be forwarded: why.
    DeadLettered(String),
    /// They were given up.
    Discarded,
}

/// What was dealt with, in the order in which it was.
#[derive(Debug, Default)]
pub struct Settled(VecDeque<(Outcome, u64, u64)>);

impl Settled {
    /// Adds the places `first..=last`.
    pub fn push(&mut self, outcome: Outcome, first: u64, last: u64) {
        match self.0.back_mut() {
            // Brokers acknowledge in order nearly always.
            Some((before, _, end)) if *before == outcome && *end + 1 == first => *end = last,
            _ => self.0.push_back((outcome, first, last)),
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what came later.
    pub(super) fn append(&mut self, later: Settled) {
        for (outcome, first, last) in later.0 {
            self.push(outcome, first, last);
        }
    }

    /// What there is, in order.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&Outcome, u64, u64)> {
        self.0.iter().map(|(outcome, first, last)| (outcome, *first, *last))
    }
}

impl Progress {
    /// Marks `first..=last` as dealt with, counts those that were not so before, and returns how many they are.
    pub fn settle(&mut self, outcome: &Outcome, first: u64, last: u64) -> u64 {
        let new = self.mark(first, last);
        let counter = match outcome {
            Outcome::Forwarded => &mut self.forwarded,
            Outcome::DeadLettered(_) => &mut self.dead_lettered,
            Outcome::Discarded => &mut self.discarded,
        };
        *counter += new;
        new
    }

    fn mark(&mut self, first: u64, last: u64) -> u64 {
        let first = first.max(self.floor.saturating_add(1));
        if first > last {
            return 0;
        }
        let ranges = &mut self.ranges;
        if ranges.is_empty() && first == self.floor + 1 {
            self.floor = last;
            return last - first + 1;
        }
        // The ranges that overlap this one or touch it become one with it.
        let start = ranges.partition_point(|&(_, end)| end.saturating_add(1) < first);
        let stop = ranges.partition_point(|&(begin, _)| begin <= last.saturating_add(1));
        let mut merged = (first, last);
        let mut known = 0;
        for &(begin, end) in &ranges[start..stop] {
            known += (end.min(last) + 1).saturating_sub(begin.max(first));
            merged = (merged.0.min(begin), merged.1.max(end));
        }
        ranges.splice(start..stop, [merged]);
        if let Some(&(begin, end)) = ranges.first()
            && begin == self.floor + 1
        {
            self.floor = end;
            ranges.remove(0);
        }
        last - first + 1 - known
    }

    /// Makes dead letters `first..=last` pending again: the floor goes down to them.
    pub fn revive(&mut self, first: u64, last: u64) {
        let first = first.max(1);
        let settled = std::mem::take(&mut self.ranges);
        let all = std::iter::once((1, self.floor)).chain(settled).filter(|(begin, end)| begin <= end);
        let mut known = 0;
        for (begin, end) in all {
            known += (end.min(last) + 1).saturating_sub(begin.max(first));
            let parts = [(begin, end.min(first - 1)), (begin.max(last + 1), end)];
            self.ranges.extend(parts.into_iter().filter(|(begin, end)| begin <= end));
        }
        self.floor = 0;
        if let Some(&(1, end)) = self.ranges.first() {
            self.floor = end;
            self.ranges.remove(0);
        }
        self.dead_lettered = self.dead_lettered.saturating_sub(known);
    }

    /// Dead letters whose events are no more can never be replayed: they count as given up.
    pub(super) fn give_up_letters(&mut self, count: u64) {
        let count = count.min(self.dead_lettered);
        self.dead_lettered -= count;
        self.discarded += count;
    }

    /// Whether this place is dealt with.
    pub fn is_settled(&self, seq: u64) -> bool {
        seq <= self.floor || self.settled_through(seq.saturating_sub(1)) >= seq
    }

    /// The last place of the unbroken run of dealt-with places right after `after`; `after` itself where there is none.
    pub fn settled_through(&self, after: u64) -> u64 {
        let after = after.max(self.floor);
        let next = after.saturating_add(1);
        let at = self.ranges.partition_point(|&(_, end)| end < next);
        match self.ranges.get(at) {
            Some(&(begin, end)) if begin <= next => end,
            _ => after,
        }
    }

    /// How many places up to `head` are not dealt with.
    pub fn pending(&self, head: u64) -> u64 {
        let above: u64 = self.ranges.iter().map(|(begin, end)| end - begin + 1).sum();
        head.saturating_sub(self.floor).saturating_sub(above)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Checks a progress against the plain set of dealt-with places.
    fn check(progress: &Progress, model: &BTreeSet<u64>, head: u64) {
        let floor = (1..).take_while(|seq| model.contains(seq)).count();
        assert_eq!(progress.floor, u64::try_from(floor).expect("small"));
        let mut before = progress.floor;
        for &(begin, end) in &progress.ranges {
            assert!(begin > before + 1 && begin <= end, "ranges are in order and apart: {progress:?}");
            before = end;
        }
        for seq in 1..=head {
            assert_eq!(progress.is_settled(seq), model.contains(&seq), "{seq} in {progress:?}");
            let mut through = seq;
            while model.contains(&(through + 1)) {
                through += 1;
            }
            if seq >= progress.floor {
                assert_eq!(progress.settled_through(seq), through, "after {seq} in {progress:?}");
            }
        }
        let missing = (1..=head).filter(|seq| !model.contains(seq)).count();
        assert_eq!(progress.pending(head), u64::try_from(missing).expect("small"));
    }

    #[test]
    fn acknowledgements_in_any_order_end_in_one_floor() {
        // Every order of six, each acknowledgement given twice.
        fn permute(rest: &mut Vec<u64>, taken: &mut Vec<u64>, orders: &mut Vec<Vec<u64>>) {
            if rest.is_empty() {
                orders.push(taken.clone());
            }
            for index in 0..rest.len() {
                let seq = rest.remove(index);
                taken.push(seq);
                permute(rest, taken, orders);
                taken.pop();
                rest.insert(index, seq);
            }
        }
        let mut orders = Vec::new();
        permute(&mut (1..=6).collect(), &mut Vec::new(), &mut orders);
        assert_eq!(orders.len(), 720);
        for order in orders {
            let (mut progress, mut model) = (Progress::default(), BTreeSet::new());
            for seq in order {
                assert_eq!(progress.mark(seq, seq), 1);
                assert_eq!(progress.mark(seq, seq), 0, "a second time counts nothing");
                model.insert(seq);
                check(&progress, &model, 8);
            }
            assert_eq!(progress, Progress { floor: 6, ..Progress::default() });
        }
    }

    #[test]
    fn random_ranges_agree_with_a_plain_set() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for _ in 0..300 {
            let (mut progress, mut model) = (Progress::default(), BTreeSet::new());
            for _ in 0..40 {
                let first = 1 + next(60);
                let last = first + next(6);
                let new = (first..=last).filter(|seq| model.insert(*seq)).count();
                assert_eq!(progress.mark(first, last), u64::try_from(new).expect("small"));
                check(&progress, &model, 70);
                if next(4) == 0 {
                    let first = 1 + next(60);
                    let last = first + next(6);
                    progress.dead_lettered = 100;
                    let gone = (first..=last).filter(|seq| model.remove(seq)).count();
                    progress.revive(first, last);
                    assert_eq!(progress.dead_lettered, 100 - u64::try_from(gone).expect("small"));
                    check(&progress, &model, 70);
                    progress.revive(first, last);
                    check(&progress, &model, 70);
                }
            }
        }
    }

    #[test]
    fn an_empty_range_is_nothing() {
        let mut progress = Progress { floor: 9, ..Progress::default() };
        assert_eq!(progress.mark(3, 9), 0);
        assert_eq!(progress.mark(12, 11), 0);
        assert_eq!(progress, Progress { floor: 9, ..Progress::default() });
    }

    #[test]
    fn what_is_added_stays_in_its_order_and_grows_where_it_goes_on() {
        let mut settled = Settled::default();
        assert!(settled.is_empty());
        for seq in 1..=5 {
            settled.push(Outcome::Forwarded, seq, seq);
        }
        settled.push(Outcome::Discarded, 6, 7);
        let mut all = Settled::default();
        all.append(settled);
        all.push(Outcome::Forwarded, 9, 9);
        let all: Vec<_> = all.changes().collect();
        assert_eq!(all, [(&Outcome::Forwarded, 1, 5), (&Outcome::Discarded, 6, 7), (&Outcome::Forwarded, 9, 9)]);
    }
}
