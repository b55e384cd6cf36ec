//! A log that may only be so large, and one that is held by a reader.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::log::open::WAL_BYTES;
use crate::metrics::Metrics;

/// Megabytes that leave the store one beside its write-ahead log.
const ONE: u64 = 17;

fn open_within(dir: &std::path::Path, max_mb: u64) -> (Log, Arc<Metrics>) {
    let config = Config { dir: dir.to_owned(), tail_events: 8, max_mb, reserve_mb: 0, ..Config::default() };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    (Log::open(&config, "gw", Box::new(Plain), Arc::clone(&metrics)).expect("opens").log, metrics)
}

fn large(bytes: usize) -> NewEvent {
    let mut new = event("a");
    new.event.detail = "x".repeat(bytes);
    new.event.received_at = Some(jiff::Timestamp::now());
    new
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything that can be read, jumping over what is not there.
fn read_all(log: &Log) -> Vec<Arc<Stored>> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let read = log.read_after(after, 100).expect("reads");
        let Some(last) = read.last() else { return all };
        assert!(last.seq > after, "a reader goes on");
        after = last.seq;
        all.extend(read);
    }
}

fn number_of(event: &Event, key: &str) -> u64 {
    event.attributes[key].to_string().parse().expect("a number")
}

#[test]
fn what_was_not_forwarded_is_given_up_last_and_is_told() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (log, metrics) = open_within(dir.path(), ONE);
    let (copy, mut moves) = wait(log.follow()).expect("runs");
    assert_eq!(copy, Progress::default());
    for _ in 0..30 {
        submit(&log, (0..100).map(|_| large(900)).collect()).expect("is accepted");
    }
    assert_eq!(metrics.log_pruned.with_label_values(&["event", "max_mb"]).get(), 0, "who needs it is not known yet");
    log.keep_for_broker(true);
    log.keep_for_rules(BTreeSet::new());
    eventually("pruned", || metrics.log_pruned.with_label_values(&["event", "max_mb"]).get() > 0);
    // It goes on until there is little enough; then nothing more goes.
    let count = |log: &Log| log.count(&log.progress().expect("reads")).expect("counts");
    let mut before = (0, 0);
    eventually("enough", || {
        let now = count(&log);
        std::thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut before, now) == now
    });
    let head = *log.head().borrow();
    let progress = log.progress().expect("reads");
    let (there, pending) = count(&log);
    assert_eq!(progress.pending(head), pending, "the sums are those of the rows");
    assert_eq!((progress.discarded + pending, progress.forwarded), (head, 0));
    assert!(there < 1200, "{there}");
    let gaps: Vec<_> = read_all(&log).into_iter().filter(|stored| stored.event.kind == Kind::GatewayGap).collect();
    let lost: u64 = gaps.iter().map(|gap| number_of(&gap.event, "count")).sum();
    assert_eq!(lost, progress.discarded, "each is told, once");
    assert!(gaps.len() < 5, "one event tells of many: {}", gaps.len());
    assert_eq!(number_of(&gaps[0].event, "first"), 1);
    assert_eq!(moves.try_recv(), Ok(Moved::GivenUp));
    assert_eq!(wait(log.follow()).expect("runs").0, progress);
    // Dealt with all of it, and a little more: nothing but the newest has to stay.
    let mut settled = Settled::default();
    settled.push(Outcome::Forwarded, 1, head);
    log.settle(settled);
    for _ in 0..20 {
        submit(&log, (0..100).map(|_| large(900)).collect()).expect("is accepted");
    }
    log.close();
    let head = *log.head().borrow();
    drop(log);
    let (log, _) = open_within(dir.path(), ONE);
    assert_eq!(submit(&log, vec![event("a")]).expect("appends"), [head + 1], "no place is given twice");
    let newest = log.read_after(head, 1).expect("reads");
    assert_eq!(newest[0].terminal_seq, 5001, "nor one of its terminal's");
    log.close();
}

#[test]
fn a_long_reader_lets_the_write_ahead_log_grow_so_far_and_no_further() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (log, metrics) = open_within(dir.path(), 64);
    let reader = reading::open_reader(&dir.path().join(FILE)).expect("opens");
    submit(&log, vec![event("a")]).expect("is accepted");
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").expect("reads");
    let most = checkpoint::most_bytes(Some(64 << 20));
    let mut accepted = 1;
    let begun = Instant::now();
    let refused = loop {
        match submit(&log, vec![large(200_000)]) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(begun.elapsed() < Duration::from_secs(120) && log.sizes().1 < 2 * most, "it grows and grows");
    };
    assert!(matches!(refused, LogError::NoRoom(NoRoom::Reader)), "{refused}");
    assert_eq!(log.refuses(), Some(NoRoom::Reader));
    assert_eq!(metrics.log_accepting.get(), 0);
    // Positions and what a rule makes of earlier events go on.
    let commit = PluginCommit { plugin: "p".to_owned(), cursor: 1, state: vec![("k".to_owned(), Some(vec![1]))] };
    log.submit_blocking(Submission { plugin: Some(commit), ..Submission::default() }).expect("is kept");
    let largest = log.sizes().1;
    assert!(largest > most && largest < most + (8 << 20), "{largest}");
    reader.execute_batch("COMMIT").expect("ends");
    eventually("accepted again", || submit(&log, vec![event("a")]).is_ok());
    eventually("small again", || log.sizes().1 <= WAL_BYTES.unsigned_abs());
    let kinds: Vec<_> = read_all(&log).iter().map(|stored| stored.event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::SupplyLow).count(), accepted + 1);
    assert!(kinds.contains(&Kind::GatewayDiskLow) && kinds.contains(&Kind::GatewayDiskRecovered));
    log.close();
}
