//! What the forwarder asks of the log.

use super::*;

#[test]
fn dead_letters_are_kept_listed_and_pending_again_once_they_are_replayed() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    submit(&log, (0..10).map(|_| event("a")).collect()).expect("appends");
    let (mut copy, mut replayed) = wait(log.follow()).expect("runs");
    let invariant = |progress: &Progress| {
        let Progress { forwarded, dead_lettered, discarded, .. } = progress;
        assert_eq!(forwarded + dead_lettered + discarded + progress.pending(10), 10, "{progress:?}");
    };
    let mut settled = Settled::default();
    for (outcome, first, last) in [
        (Outcome::Forwarded, 1, 3),
        (Outcome::DeadLettered("too large".to_owned()), 4, 4),
        (Outcome::DeadLettered("too large".to_owned()), 5, 5),
        (Outcome::Forwarded, 6, 6),
        (Outcome::DeadLettered("not authorised".to_owned()), 8, 8),
        (Outcome::DeadLettered("twice".to_owned()), 6, 6),
    ] {
        copy.settle(&outcome, first, last);
        settled.push(outcome, first, last);
        invariant(&copy);
    }
    log.settle(settled);
    assert_eq!(wait(log.follow()).expect("runs").0, copy, "the writer does the same sums");
    assert_eq!((copy.floor, copy.dead_lettered), (6, 3));
    let listed = |log: &Log| {
        let letters = log.dead_letters(0, 10).expect("reads");
        letters.into_iter().map(|letter| (letter.seq, letter.reason)).collect::<Vec<_>>()
    };
    let too_large = |seq| (seq, "too large".to_owned());
    assert_eq!(listed(&log), [too_large(4), too_large(5), (8, "not authorised".to_owned())]);
    assert_eq!(log.dead_letters(4, 1).expect("reads")[0].seq, 5);

    assert_eq!(wait(log.replay_dead_letters(1..=6)).expect("replays"), 2);
    assert_eq!(wait(log.replay_dead_letters(1..=6)).expect("replays"), 0, "once");
    for moved in std::iter::from_fn(|| replayed.try_recv().ok()) {
        let Moved::Revived(ranges) = moved else { panic!("nothing was given up") };
        ranges.into_iter().for_each(|(first, last)| copy.revive(first, last));
        invariant(&copy);
    }
    assert_eq!((copy.floor, copy.pending(10), copy.dead_lettered), (3, 5, 1));
    assert_eq!(listed(&log).len(), 1);
    log.close();
    assert!(matches!(wait(log.replay_dead_letters(1..=9)), Err(LogError::Stopped)));
    assert!(matches!(wait(log.follow()), Err(LogError::Stopped)));
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.progress().expect("reads"), copy);
    log.close();
}

#[test]
fn critical_events_and_single_places_are_found_without_reading_the_rest() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    for seq in 1..=40 {
        let mut new = event("a");
        if seq % 10 == 0 {
            new.event.severity = Severity::Critical;
        }
        submit(&log, vec![new]).expect("appends");
    }
    let seqs = |rows: Vec<Arc<Stored>>| rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    assert_eq!(seqs(log.critical_after(10, 2).expect("reads")), [20, 30]);
    assert_eq!(seqs(log.critical_after(40, 2).expect("reads")), [] as [u64; 0]);
    assert_eq!(seqs(log.read_places(&[7, 39, 41, 2]).expect("reads")), [7, 39, 2]);
    log.close();
}
