//! What is read of damaged stores, and brought into another.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::super::tests::{event, open, submit};
use super::*;
use crate::log::{Outcome, Settled};

const FILE: &str = "events.db";

/// A closed store of so many events in a fresh folder; the first `forwarded` of them were forwarded, and every tenth of
/// the others.
fn store(count: u64, forwarded: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    for first in (1..=count).step_by(100) {
        submit(&log, (first..=count.min(first + 99)).map(|_| event("a")).collect()).expect("appends");
    }
    let mut settled = Settled::default();
    settled.push(Outcome::Forwarded, 1, forwarded);
    for seq in (forwarded + 1..=count).filter(|seq| seq % 10 == 0) {
        settled.push(Outcome::Forwarded, seq, seq);
    }
    log.settle(settled);
    log.close();
    dir
}

fn file(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join(FILE)
}

fn wreck(dir: &tempfile::TempDir, wanted: Wanted) -> Wreck {
    Wreck::open(&file(dir), wanted).expect("opens")
}

fn places(dir: &tempfile::TempDir, wanted: Wanted) -> Vec<u64> {
    let place = |event: Salvaged| super::super::Front::read(event.json()).expect("a front").seq;
    wreck(dir, wanted).events().map(place).collect()
}

#[test]
fn a_whole_store_gives_everything_and_knows_what_was_forwarded() {
    let dir = store(1500, 1200);
    assert_eq!(places(&dir, Wanted::All), (1..=1500).collect::<Vec<_>>());
    assert_eq!(places(&dir, Wanted::Pending), (1201..=1500).filter(|seq| seq % 10 > 0).collect::<Vec<_>>());
    for wanted in [Wanted::All, Wanted::Pending] {
        let survey = wreck(&dir, wanted).survey();
        assert_eq!((survey.events, survey.pending, survey.knows_forwarded, survey.lost), (1500, 270, true, Some(0)));
        assert!(survey.is_whole(), "{survey:?}");
    }
}

#[test]
fn what_is_on_a_damaged_page_is_lost_and_counted_and_nothing_else() {
    let dir = store(3000, 0);
    let bytes = fs::read(file(&dir)).expect("reads");
    let pages = bytes.len() / 4096;
    for page in (1..pages).filter(|page| bytes[page * 4096] == 0x0d && bytes.len() > (page + 1) * 4096) {
        let original = &bytes[page * 4096..(page + 1) * 4096];
        if !original.windows(8).any(|window| window == br#"{"seq":1"#) {
            continue;
        }
        let damaged = fs::File::options().write(true).open(file(&dir)).expect("opens");
        damaged.write_all_at(&[0xa5; 4096], u64::try_from(page * 4096).expect("small")).expect("writes");
        let found = places(&dir, Wanted::All);
        let missing: Vec<u64> = (1..=3000).filter(|seq| found.binary_search(seq).is_err()).collect();
        assert!((1..40).contains(&missing.len()), "{missing:?}");
        assert_eq!(missing.last().expect("one") - missing[0] + 1, u64::try_from(missing.len()).expect("small"));
        let lost = wreck(&dir, Wanted::Pending).survey().lost;
        let pending = missing.iter().filter(|seq| *seq % 10 > 0).count();
        assert_eq!(lost, Some(u64::try_from(pending).expect("small")));
        damaged.write_all_at(original, u64::try_from(page * 4096).expect("small")).expect("mends");
        if page > 60 {
            return;
        }
    }
}

#[test]
fn without_its_first_page_or_its_second_half_the_rest_is_read() {
    let dir = store(2000, 100);
    let bytes = fs::read(file(&dir)).expect("reads");
    let mut headless = bytes.clone();
    headless[..4096].fill(0);
    fs::write(file(&dir), &headless).expect("writes");
    assert_eq!(places(&dir, Wanted::All).len(), 2000);
    assert_eq!(wreck(&dir, Wanted::All).survey().lost, Some(0), "the table's end is where it always is");
    fs::write(file(&dir), &bytes[..bytes.len() / 2]).expect("writes");
    let found = places(&dir, Wanted::All);
    assert!((500..1100).contains(&found.len()), "{}", found.len());
    for nothing in [&b""[..], b"this is not a database"] {
        fs::write(file(&dir), nothing).expect("writes");
        let survey = wreck(&dir, Wanted::All).survey();
        assert_eq!((survey.events, survey.knows_forwarded, survey.lost), (0, false, None));
        assert!(!wreck(&dir, Wanted::All).is_store());
    }
}

#[test]
fn what_was_not_forwarded_is_brought_in_once_with_its_ids_and_changes_no_count_of_its_terminal() {
    let old = store(700, 400);
    let wreck = wreck(&old, Wanted::All);
    let new = tempfile::tempdir().expect("temp dir");
    let log = open(new.path());
    submit(&log, vec![event("a"), event("b")]).expect("appends");
    let expected: Vec<u64> = (401..=700).filter(|seq| seq % 10 > 0).collect();
    assert_eq!(log.salvage(&wreck, "x", None).expect("brings in"), BroughtIn { new: 270, ..BroughtIn::default() });
    assert_eq!(log.salvage(&wreck, "x", None).expect("brings in"), BroughtIn { known: 270, ..BroughtIn::default() });
    submit(&log, vec![event("a")]).expect("appends");
    log.close();
    drop(log);

    let log = open(new.path());
    submit(&log, vec![event("a")]).expect("appends");
    let all = log.read_after(0, 1000).expect("reads");
    assert_eq!(all.iter().map(|stored| stored.seq).collect::<Vec<_>>(), (1..=276).collect::<Vec<_>>());
    let salvaged: Vec<_> = all.iter().filter(|stored| stored.is_salvaged()).collect();
    assert_eq!(salvaged.iter().map(|stored| stored.front().expect("a front").seq).collect::<Vec<_>>(), expected);
    let life = wreck.events().next().expect("one").life().to_owned();
    assert!(salvaged.iter().all(|stored| stored.id().starts_with(&life) && !life.starts_with(log.id_prefix())));
    let own = all.iter().filter(|stored| stored.event.terminal == "a" && !stored.is_salvaged());
    assert_eq!(own.map(|stored| stored.terminal_seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(log.progress().expect("reads").pending(*log.head().borrow()), 276);
    log.close();
}

#[test]
fn dead_letters_count_as_not_forwarded() {
    let dir = store(50, 0);
    let log = open(dir.path());
    let mut settled = Settled::default();
    settled.push(Outcome::DeadLettered("too large".to_owned()), 1, 2);
    settled.push(Outcome::Forwarded, 3, 50);
    log.settle(settled);
    log.close();
    assert_eq!(places(&dir, Wanted::Pending), [1, 2]);
}

#[test]
fn what_is_cut_off_or_wiped_is_never_called_nothing() {
    let dir = store(256, 0);
    let bytes = fs::read(file(&dir)).expect("reads");
    let pages = u64::try_from(bytes.len() / 4096).expect("small");
    for fifths in [2, 3, 4] {
        fs::write(file(&dir), &bytes[..bytes.len() * fifths / 5]).expect("writes");
        let found = u64::try_from(places(&dir, Wanted::All).len()).expect("small");
        let survey = wreck(&dir, Wanted::Pending).survey();
        assert!(found < 256 && survey.lost != Some(0) && !survey.is_whole(), "{fifths}: {survey:?}");
        assert_eq!(survey.pages, pages);
        let cut = pages - pages * u64::try_from(fifths).expect("small") / 5;
        assert!(survey.unreadable_pages >= cut, "{fifths}: {survey:?}");
        // The terminal's own count, on an early page, says how many there were; every tenth was forwarded.
        let pending = (1..=256).filter(|seq| seq % 10 > 0).count();
        let expected = u64::try_from(pending).expect("small") - survey.pending;
        assert_eq!(survey.lost_at_least, expected, "{fifths}: {survey:?}");
    }
    fs::write(file(&dir), vec![0; bytes.len()]).expect("writes");
    let survey = wreck(&dir, Wanted::Pending).survey();
    assert_eq!((survey.events, survey.lost, survey.pages, survey.unreadable_pages), (0, None, pages, pages));
}

#[test]
fn a_store_whose_last_events_are_wiped_does_not_know_how_many_they_were() {
    let dir = store(2000, 100);
    let mut bytes = fs::read(file(&dir)).expect("reads");
    let last = bytes.windows(11).position(|window| window == br#"{"seq":2000"#).expect("is there") / 4096 * 4096;
    bytes[last..last + 4096].fill(0xa5);
    fs::write(file(&dir), bytes).expect("writes");
    let survey = wreck(&dir, Wanted::Pending).survey();
    assert_eq!(survey.lost, None);
    assert!((1..40).contains(&survey.lost_at_least), "{survey:?}");
}

#[test]
fn the_table_of_events_begins_where_it_is_looked_for() {
    let dir = store(1, 0);
    let connection = rusqlite::Connection::open(file(&dir)).expect("opens");
    let root: u32 = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'event'", [], |row| row.get(0))
        .expect("is there");
    assert_eq!(root, ROOT);
}

#[test]
fn the_gateways_of_a_store_are_known() {
    let dir = store(3, 0);
    assert_eq!(wreck(&dir, Wanted::Pending).stranger("gw"), None);
    assert_eq!(wreck(&dir, Wanted::Pending).stranger("gw-2"), Some("gw".to_owned()));
}

#[test]
fn each_wreck_is_named() {
    let dir = tempfile::tempdir().expect("temp dir");
    let names = ["events.db", "events.db.corrupt-2", "events.db.corrupt-2-wal", "events.db.corrupt-1", "x.corrupt-1"];
    for name in names.into_iter().chain(["events.db.corrupt-1.salvaged", "events.db.corrupt-2.salvaged.new"]) {
        fs::write(dir.path().join(name), "").expect("writes");
    }
    let wrecks = wrecks(dir.path()).expect("reads");
    let names: Vec<_> = wrecks.iter().map(|path| path.file_name().expect("a name").to_string_lossy()).collect();
    assert_eq!(names, ["events.db.corrupt-1", "events.db.corrupt-2"]);
}

#[test]
fn what_was_salvaged_is_salvaged_again_where_its_new_store_is_lost_before_it_was_forwarded() {
    let old = store(30, 20);
    let dir = tempfile::tempdir().expect("temp dir");
    let aside = dir.path().join("events.db.corrupt-1");
    fs::copy(file(&old), &aside).expect("copies");
    let pending = |log: &Log| -> Vec<u64> {
        let all = log.read_after(0, 1000).expect("reads");
        all.iter()
            .filter(|stored| stored.is_salvaged())
            .filter_map(|stored| stored.front())
            .map(|front| front.seq)
            .collect()
    };
    let expected: Vec<u64> = (21..30).collect();
    for _ in 0..2 {
        let log = open(dir.path());
        log.salvage_wrecks();
        assert_eq!(pending(&log), expected);
        log.salvage_wrecks();
        assert_eq!(pending(&log), expected, "once into each store");
        log.close();
        drop(log);
        // Nothing of the store that took it in is left.
        fs::write(file(&dir), b"").expect("writes");
        fs::write(dir.path().join("events.db.open"), b"").expect("writes");
    }
    // Once it was forwarded, that is for good.
    let log = open(dir.path());
    log.salvage_wrecks();
    let mut settled = Settled::default();
    settled.push(Outcome::Forwarded, 1, *log.head().borrow());
    log.settle(settled);
    log.close();
    drop(log);
    let log = open(dir.path());
    log.salvage_wrecks();
    log.close();
    drop(log);
    fs::remove_file(file(&dir)).expect("is there");
    let log = open(dir.path());
    log.salvage_wrecks();
    assert_eq!(pending(&log), [0; 0]);
    log.close();
}
