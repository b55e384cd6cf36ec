//! Write-ahead logs that were damaged, and those that a kill or a power cut leaves.

use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::super::life::{self, Cause};
use super::super::tests::{event, killed, open, submit};
use super::super::{FILE, Log as Spine, Records, open as opening};
use super::*;

const FRAME: usize = FRAME_HEADER + 4096;

fn store(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join(FILE)
}

/// The machine was started since.
fn reboot(dir: &tempfile::TempDir) {
    fs::write(dir.path().join("events.db.open"), "another boot").expect("is written");
}

fn frames(dir: &tempfile::TempDir) -> Vec<u8> {
    fs::read(wal_path(&store(dir))).expect("reads")
}

/// The frames, from 1, that end a transaction.
fn commits(bytes: &[u8]) -> Vec<usize> {
    let count = (bytes.len() - HEADER) / FRAME;
    (1..=count).filter(|frame| long(bytes, HEADER + (frame - 1) * FRAME + 4).expect("a frame") > 0).collect()
}

/// Flips a bit in the page of a frame.
fn flip(dir: &tempfile::TempDir, frame: usize) {
    let mut bytes = frames(dir);
    bytes[HEADER + (frame - 1) * FRAME + FRAME_HEADER + 4000] ^= 1;
    fs::write(wal_path(&store(dir)), bytes).expect("is written");
}

/// The life before, and the places of its events that the log has after a start and what it salvages by itself.
fn after_start(dir: &tempfile::TempDir, life: &str) -> (Spine, Vec<u64>) {
    let log = open(dir.path());
    log.salvage_wrecks();
    let events = log.read_after(0, 1000).expect("reads");
    let fronts = events.iter().filter_map(|event| event.front());
    let mut places: Vec<u64> = fronts.filter(|front| front.life() == life).map(|front| front.seq).collect();
    places.sort_unstable();
    (log, places)
}

fn life_of(dir: &tempfile::TempDir) -> String {
    let epoch: String = {
        let copy = tempfile::tempdir().expect("temp dir");
        for name in ["events.db", "events.db-wal"] {
            fs::copy(dir.path().join(name), copy.path().join(name)).expect("is copied");
        }
        let store = rusqlite::Connection::open(copy.path().join(FILE)).expect("opens");
        store.query_row("SELECT value FROM store WHERE key = 'epoch'", [], |row| row.get(0)).expect("reads")
    };
    format!("gw-{epoch}")
}

fn is_aside(dir: &tempfile::TempDir) -> bool {
    !super::super::wrecks(dir.path()).expect("reads").is_empty()
        || fs::read_dir(dir.path())
            .expect("reads")
            .any(|entry| entry.expect("reads").file_name().to_string_lossy().ends_with(".salvaged"))
}

fn all(places: RangeInclusive<u64>) -> Vec<u64> {
    places.collect()
}

#[test]
fn a_whole_log_goes_on_whoever_ended_and_however_it_ends() {
    for rebooted in [false, true] {
        let dir = killed(20);
        if rebooted {
            reboot(&dir);
        }
        let life = life_of(&dir);
        assert_eq!(look(&store(&dir), !rebooted).expect("reads"), Finding::Whole);
        // The last transaction was on its way: half of a frame, and one without its commit.
        let mut bytes = frames(&dir);
        let ends = commits(&bytes);
        bytes.truncate(HEADER + (ends[ends.len() - 1] - 1) * FRAME + 1000);
        fs::write(wal_path(&store(&dir)), bytes).expect("is written");
        let (log, places) = after_start(&dir, &life);
        assert_eq!((log.id_prefix(), places), (life.as_str(), all(1..=19)));
        log.close();
    }
}

#[test]
fn a_bad_frame_in_front_of_what_was_synced_sets_the_store_aside_and_every_readable_event_comes_in() {
    for rebooted in [false, true] {
        let dir = killed(20);
        if rebooted {
            reboot(&dir);
        }
        let life = life_of(&dir);
        let ends = commits(&frames(&dir));
        flip(&dir, ends[ends.len() / 2]);
        let verdict = Records::open(dir.path()).expect("opens").verify(true).expect("verifies");
        assert!(verdict.faults.iter().any(|fault| fault.contains("write-ahead log")), "{:?}", verdict.faults);
        let (log, places) = after_start(&dir, &life);
        assert!(log.id_prefix() != life && is_aside(&dir));
        assert_eq!(places, all(1..=20));
        log.close();
    }
}

#[test]
fn a_bad_frame_in_the_last_transaction_is_damage_unless_the_power_may_have_gone() {
    let ends = commits(&frames(&killed(20)));
    let (before, last) = (ends[ends.len() - 2], ends[ends.len() - 1]);
    assert!(last - before > 1, "it has several frames");
    for (frame, rebooted, expected) in [
        (before + 1, false, Finding::Damaged(u64::try_from(before + 1).expect("small"))),
        (last, false, Finding::Torn),
        (before + 1, true, Finding::Whole),
        (last, true, Finding::Whole),
    ] {
        let dir = killed(20);
        if rebooted {
            reboot(&dir);
        }
        let life = life_of(&dir);
        flip(&dir, frame);
        assert_eq!(look(&store(&dir), !rebooted).expect("reads"), expected, "{frame} {rebooted}");
        let (log, places) = after_start(&dir, &life);
        assert_eq!(log.id_prefix() == life, rebooted, "{frame} {rebooted}");
        assert_eq!(is_aside(&dir), matches!(expected, Finding::Damaged(_)));
        assert!(places.len() >= 19, "{places:?}");
        log.close();
    }
}

#[test]
fn what_a_power_cut_leaves_of_a_transaction_is_gone_before_the_next_one_comes() {
    let dir = killed(20);
    reboot(&dir);
    let life = life_of(&dir);
    let ends = commits(&frames(&dir));
    flip(&dir, ends[ends.len() - 2] + 1);
    // The same places are given again: nobody had heard of them.
    let log = open(dir.path());
    assert_eq!(submit(&log, vec![event("a")]).expect("appends"), [20]);
    assert_eq!(look(&store(&dir), true).expect("reads"), Finding::Whole);
    assert_eq!(log.id_prefix(), life);
    log.close();
}

#[test]
fn a_log_that_is_gone_short_or_headless_beside_the_mark_never_has_an_id_given_twice() {
    for (sort, aside) in [("gone", false), ("empty", false), ("short", false), ("headless", true)] {
        let dir = killed(20);
        let life = life_of(&dir);
        let (wal, bytes) = (wal_path(&store(&dir)), frames(&dir));
        match sort {
            "gone" => fs::remove_file(&wal).expect("is there"),
            "empty" => fs::write(&wal, b"").expect("is written"),
            "short" => fs::write(&wal, &bytes[..20]).expect("is written"),
            _ => fs::write(&wal, [&[0x5a; HEADER][..], &bytes[HEADER..]].concat()).expect("is written"),
        }
        let before = fs::read(&wal).ok();
        // Whoever looks first changes nothing.
        if let Ok(records) = Records::open(dir.path()) {
            let verdict = records.verify(false).expect("verifies");
            assert!(
                verdict.faults.iter().any(|fault| fault.contains("write-ahead log")),
                "{sort}: {:?}",
                verdict.faults
            );
        }
        assert_eq!(fs::read(&wal).ok(), before, "{sort}");
        let (log, places) = after_start(&dir, &life);
        assert_ne!(log.id_prefix(), life, "{sort}");
        assert_eq!((is_aside(&dir), places.len()), (aside, if aside { 20 } else { 0 }), "{sort}");
        log.close();
    }
}

#[test]
fn what_a_start_has_found_stays_known_if_it_dies() {
    let dir = killed(20);
    let path = store(&dir);
    let life = life_of(&dir);
    fs::remove_file(wal_path(&path)).expect("is there");
    // As far as SQLite having made a log.
    life::note(&path, &life::Verdict::NewLife(Cause::Rewound)).expect("is noted");
    fs::write(wal_path(&path), b"").expect("is written");
    fs::remove_file(dir.path().join("events.db.open")).expect("is there");
    let log = open(dir.path());
    assert_ne!(log.id_prefix(), life);
    let life = log.id_prefix().to_owned();
    log.close();
    drop(log);
    assert_eq!(open(dir.path()).id_prefix(), life, "once");
}

#[test]
fn a_log_whose_store_is_gone_is_set_aside_and_salvaged() {
    let dir = killed(20);
    let life = life_of(&dir);
    fs::remove_file(store(&dir)).expect("is there");
    let wreck = super::super::Wreck::open(&store(&dir), super::super::Wanted::All).expect("opens a log alone");
    assert_eq!(wreck.survey().events, 20);
    let opened = opening::open(dir.path()).expect("opens");
    assert!(opened.set_aside.is_some());
    drop(opened);
    let (log, places) = after_start(&dir, &life);
    assert_eq!(places, all(1..=20));
    log.close();
}

#[test]
fn setting_aside_goes_on_where_a_start_died() {
    for done in 0..=4 {
        let dir = killed(20);
        let (path, life) = (store(&dir), life_of(&dir));
        let ends = commits(&frames(&dir));
        flip(&dir, ends[3]);
        let aside = dir.path().join("events.db.corrupt-x");
        let moves: [&dyn Fn(); 4] = [
            &|| {
                life::note(&path, &life::Verdict::Aside { file: "events.db.corrupt-x".into(), moved: false })
                    .expect("notes")
            },
            &|| fs::rename(wal_path(&path), wal_path(&aside)).expect("moves"),
            &|| fs::rename(&path, &aside).expect("moves"),
            &|| life::unmark(&path),
        ];
        moves.iter().take(done).for_each(|step| step());
        let (log, places) = after_start(&dir, &life);
        assert_eq!(places, all(1..=20), "{done}");
        log.close();
    }
}

#[test]
fn a_full_disk_at_such_a_start_is_named_and_changes_nothing() {
    let dir = killed(20);
    let (path, life) = (store(&dir), life_of(&dir));
    fs::remove_file(wal_path(&path)).expect("is there");
    let note = dir.path().join("events.db.verdict-new");
    std::os::unix::fs::symlink("/dev/full", &note).expect("is made");
    let refused = opening::open(dir.path()).err().expect("has no room for its note");
    assert!(matches!(refused, super::super::OpenError::Full(_)), "{refused}");
    assert!(!wal_path(&path).exists());
    fs::remove_file(&note).expect("is there");
    let log = open(dir.path());
    assert_ne!(log.id_prefix(), life);
    log.close();
}
