//! Arithmetic on [`Progress`]: a floor, and ranges above it that are dealt with already.

use crate::log::Progress;

/// Marks `first..=last` as dealt with and returns how many of them were not so before.
pub(super) fn settle(progress: &mut Progress, first: u64, last: u64) -> u64 {
    let first = first.max(progress.floor.saturating_add(1));
    if first > last {
        return 0;
    }
    let ranges = &mut progress.ranges;
    if ranges.is_empty() && first == progress.floor + 1 {
        // Brokers acknowledge in order nearly always.
        progress.floor = last;
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
        && begin == progress.floor + 1
    {
        progress.floor = end;
        ranges.remove(0);
    }
    last - first + 1 - known
}

/// Whether this place is dealt with.
pub(super) fn is_settled(progress: &Progress, seq: u64) -> bool {
    seq <= progress.floor || settled_through(progress, seq.saturating_sub(1)) >= seq
}

/// The last place of the unbroken run of dealt-with places right after `after`; `after` itself where there is none.
pub(super) fn settled_through(progress: &Progress, after: u64) -> u64 {
    let after = after.max(progress.floor);
    let next = after.saturating_add(1);
    let at = progress.ranges.partition_point(|&(_, end)| end < next);
    match progress.ranges.get(at) {
        Some(&(begin, end)) if begin <= next => end,
        _ => after,
    }
}

/// How many places up to `head` are not dealt with.
pub(super) fn pending(progress: &Progress, head: u64) -> u64 {
    let above: u64 = progress.ranges.iter().map(|(begin, end)| end - begin + 1).sum();
    head.saturating_sub(progress.floor).saturating_sub(above)
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
            assert_eq!(is_settled(progress, seq), model.contains(&seq), "{seq} in {progress:?}");
            let mut through = seq;
            while model.contains(&(through + 1)) {
                through += 1;
            }
            if seq >= progress.floor {
                assert_eq!(settled_through(progress, seq), through, "after {seq} in {progress:?}");
            }
        }
        let missing = (1..=head).filter(|seq| !model.contains(seq)).count();
        assert_eq!(pending(progress, head), u64::try_from(missing).expect("small"));
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
                assert_eq!(settle(&mut progress, seq, seq), 1);
                assert_eq!(settle(&mut progress, seq, seq), 0, "a second time counts nothing");
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
                assert_eq!(settle(&mut progress, first, last), u64::try_from(new).expect("small"));
                check(&progress, &model, 70);
            }
        }
    }

    #[test]
    fn an_empty_range_is_nothing() {
        let mut progress = Progress { floor: 9, ..Progress::default() };
        assert_eq!(settle(&mut progress, 3, 9), 0);
        assert_eq!(settle(&mut progress, 12, 11), 0);
        assert_eq!(progress, Progress { floor: 9, ..Progress::default() });
    }
}
