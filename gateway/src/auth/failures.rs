//! Who has failed to show who they are: how long they pause, and when that is worth an event.
//!
//! Nobody can guess 256 bits; the pause keeps a broken client from filling logs and taking time. So a token that is good is
//! taken during a pause too: else anybody who shares an address (a branch behind one router, a proxy) could lock the
//! others out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::limit::Source;

/// Failures that cost nothing: a typing error, a token that has just been replaced.
const FREE: u32 = 5;
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// After so long without a failure, all is forgotten.
const FORGET: Duration = Duration::from_secs(900);
/// Between two events about one source.
const QUIET: Duration = Duration::from_secs(60);
/// Most sources that are told apart; those above share one entry.
const MAX_SOURCES: usize = 1024;
/// Most events in a minute, whoever they are about.
const MAX_EVENTS: u32 = 10;

/// The failures of each source.
#[derive(Default)]
pub struct Failures(Mutex<Table>);

#[derive(Default)]
struct Table {
    sources: HashMap<Source, Entry>,
    crowd: Option<Entry>,
    window: Option<(Instant, u32)>,
}

struct Entry {
    failures: u32,
    last: Instant,
    until: Instant,
    reported: Option<Instant>,
    unreported: u64,
}

impl Entry {
    fn new(now: Instant) -> Entry {
        Entry { failures: 0, last: now, until: now, reported: None, unreported: 0 }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.unreported > 0 && self.reported.is_none_or(|reported| now.duration_since(reported) >= QUIET)
    }

    fn report(&mut self, now: Instant) -> u64 {
        self.reported = Some(now);
        std::mem::take(&mut self.unreported)
    }
}

impl Failures {
    /// How much longer this source has to pause.
    pub fn pause(&self, source: Source, now: Instant) -> Option<Duration> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = table.sources.get(&source).or(table.crowd.as_ref())?.until;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Notes a refusal; `failed` where what was presented is not good, which leads to a pause. Gives how many refusals
    /// an event is to tell of now: of a burst the first is told at once, and the others together later ([`Failures::due`]).
    pub fn note(&self, source: Source, failed: bool, now: Instant) -> Option<u64> {
        let table = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.sources.len() >= MAX_SOURCES && !table.sources.contains_key(&source) {
            forget(&mut table.sources, now);
        }
        let crowded = table.sources.len() >= MAX_SOURCES && !table.sources.contains_key(&source);
        let entry = if crowded {
            table.crowd.get_or_insert_with(|| Entry::new(now))
        } else {
            table.sources.entry(source).or_insert_with(|| Entry::new(now))
        };
        if now.duration_since(entry.last) >= FORGET {
            entry.failures = 0;
        }
        entry.last = now;
        entry.unreported = entry.unreported.saturating_add(1);
        // What comes during a pause does not make it longer: who has mended their client is heard when it is over.
        if failed && entry.until <= now {
            entry.failures = entry.failures.saturating_add(1);
            if let Some(doublings) = entry.failures.checked_sub(FREE + 1) {
                let pause = Duration::from_secs(1_u64.checked_shl(doublings).unwrap_or(u64::MAX));
                entry.until = now + pause.min(MAX_PAUSE);
            }
        }
        (entry.is_due(now) && may_tell(&mut table.window, now)).then(|| entry.report(now))
    }

    /// The refusals that have not been told yet and now should be, each with its source where that was told apart.
    pub fn due(&self, now: Instant) -> Vec<(Option<Source>, u64)> {
        let table = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        let entries = table.sources.iter_mut().map(|(source, entry)| (Some(*source), entry));
        for (source, entry) in entries.chain(table.crowd.iter_mut().map(|entry| (None, entry))) {
            if entry.is_due(now) && may_tell(&mut table.window, now) {
                due.push((source, entry.report(now)));
            }
        }
        forget(&mut table.sources, now);
        due
    }
}

fn forget(sources: &mut HashMap<Source, Entry>, now: Instant) {
    sources.retain(|_, entry| entry.unreported > 0 || now.duration_since(entry.last) < FORGET);
}

fn may_tell(window: &mut Option<(Instant, u32)>, now: Instant) -> bool {
    let (begun, told) = match *window {
        Some((begun, told)) if now.duration_since(begun) < QUIET => (begun, told),
        _ => (now, 0),
    };
    *window = Some((begun, told.saturating_add(1)));
    told < MAX_EVENTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(n: u32) -> Source {
        Source::of(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into())
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_are_forgotten() {
        let (failures, start) = (Failures::default(), Instant::now());
        let (mut pauses, mut now) = (Vec::new(), start);
        for _ in 0..16 {
            failures.note(source(1), true, now);
            let pause = failures.pause(source(1), now).unwrap_or_default();
            if !pause.is_zero() {
                failures.note(source(1), true, now + pause / 2);
            }
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(failures.pause(source(2), start), None, "others need not wait");
        assert_eq!(failures.pause(source(1), now), None);
        failures.note(source(1), true, now + FORGET);
        assert_eq!(failures.pause(source(1), now + FORGET), None, "all is forgotten");
        for _ in 0..100 {
            failures.note(source(3), false, start);
        }
        assert_eq!(failures.pause(source(3), start), None, "who asks without anything to show need not wait");
    }

    #[test]
    fn of_a_burst_the_first_is_told_at_once_and_the_rest_together() {
        let (failures, start) = (Failures::default(), Instant::now());
        assert_eq!(failures.note(source(1), true, start), Some(1));
        for _ in 0..7 {
            assert_eq!(failures.note(source(1), true, start + SECOND), None);
        }
        assert!(failures.due(start + SECOND * 59).is_empty());
        assert_eq!(failures.due(start + SECOND * 60), [(Some(source(1)), 7)]);
        assert!(failures.due(start + SECOND * 200).is_empty());
        assert_eq!(failures.note(source(1), true, start + SECOND * 200), Some(1));
    }

    #[test]
    fn many_sources_fill_neither_memory_nor_the_log() {
        let (failures, start) = (Failures::default(), Instant::now());
        let all = 5 * u32::try_from(MAX_SOURCES).expect("is small");
        let mut told: u64 = (0..all).filter_map(|n| failures.note(source(n), true, start)).sum();
        assert_eq!(told, u64::from(MAX_EVENTS));
        assert!(failures.0.lock().expect("not poisoned").sources.len() <= MAX_SOURCES);
        for minute in 1..200 {
            let due = failures.due(start + QUIET * minute);
            assert!(due.len() <= MAX_EVENTS as usize);
            told += due.into_iter().map(|(_, count)| count).sum::<u64>();
        }
        assert_eq!(told, u64::from(all), "every refusal is counted in the end");
    }
}
