//! Retention over a store that nobody writes to, with progress and positions as they please.

use rusqlite::params;

use super::*;
use crate::log::progress::Outcome;
use crate::log::{dead_letter, open, plugin};

/// A store with so many events, made a second apart; the last one came just now.
struct Store {
    connection: Connection,
    progress: Progress,
    pruning: Pruning,
    head: u64,
    _dir: tempfile::TempDir,
}

fn json(seq: u64, received_at: Timestamp, synced: Option<bool>) -> String {
    let severity = if seq.is_multiple_of(100) { "critical" } else { "info" };
    let synced = synced.map_or(String::new(), |synced| format!(r#","time_synced":{synced}"#));
    format!(r#"{{"seq":{seq},"severity":"{severity}","received_at":"{received_at}"{synced}}}"#)
}

impl Store {
    fn new(config: Config, events: u64) -> Store {
        let dir = tempfile::tempdir().expect("temp dir");
        let connection = open::open(dir.path()).expect("opens").connection;
        connection.execute_batch("BEGIN").expect("begins");
        let now = Timestamp::now();
        for seq in 1..=events {
            let at = now - SignedDuration::from_secs(number(events - seq));
            connection
                .execute("INSERT INTO event VALUES (?1, ?1, 1, 1, ?2)", params![number(seq), json(seq, at, None)])
                .expect("adds");
        }
        connection.execute_batch("COMMIT").expect("commits");
        // Its old events are years old, and its others of today: no clock was wrong there.
        let pruning = Pruning { settles: SignedDuration::ZERO, ..Pruning::new(&config) };
        Store { connection, progress: Progress::default(), pruning, head: events, _dir: dir }
    }

    fn date(&self, seqs: std::ops::RangeInclusive<u64>, at: &str, synced: Option<bool>) {
        for seq in seqs {
            let json = json(seq, at.parse().expect("an instant"), synced);
            self.connection
                .execute("UPDATE event SET json = ?2 WHERE seq = ?1", params![number(seq), json])
                .expect("dates");
        }
    }

    fn settle(&mut self, outcome: Outcome, first: u64, last: u64) {
        self.progress.settle(&outcome, first, last);
        if let Outcome::DeadLettered(reason) = outcome {
            dead_letter::write(&self.connection, first, last, &reason).expect("writes");
        }
    }

    fn rule(&self, id: &str, cursor: u64) {
        plugin::write_cursor(&self.connection, id, cursor).expect("writes");
    }

    /// Slices until the log has nothing more to do soon.
    fn run(&mut self, needs: &Needs, tight: bool) -> Vec<Slice> {
        let mut slices = Vec::new();
        // A new sweep, without waiting for it.
        self.pruning.next_sweep = Instant::now();
        loop {
            let now = Instant::now();
            self.pruning.looked = now - LOOK;
            let due = self.pruning.is_due(&self.connection, true, tight).expect("reads");
            assert!(due || !tight, "there is too little room");
            slices.push(self.slice(needs, tight));
            assert!(slices.len() < 1000, "it ends");
            let p = &mut self.pruning;
            let done = if tight || p.over { p.rest > now } else { p.next_sweep > now + BETWEEN_SLICES * 9 };
            if done {
                return slices;
            }
            p.next_sweep = p.next_sweep.min(now);
        }
    }

    fn slice(&mut self, needs: &Needs, tight: bool) -> Slice {
        let (head, before) = (self.head, self.progress.discarded);
        let slice = self.pruning.run(&self.connection, &mut self.progress, head, Some(needs), tight).expect("prunes");
        if slice.gap.is_none() && needs.broker {
            assert_eq!(before, self.progress.discarded, "nothing is given up in silence");
        }
        let Progress { forwarded, dead_lettered, discarded, .. } = self.progress;
        assert_eq!(forwarded + dead_lettered + discarded + self.progress.pending(head), head);
        slice
    }

    /// How many are left, the first and the last.
    fn span(&self) -> (usize, u64, u64) {
        let left = self.left();
        (left.len(), left[0], left[left.len() - 1])
    }

    fn left(&self) -> Vec<u64> {
        let mut select = self.connection.prepare("SELECT seq FROM event ORDER BY seq").expect("prepares");
        let rows = select.query_map([], |row| row.get(0).map(place)).expect("reads");
        rows.map(|row| row.expect("reads")).collect()
    }

    /// Has the store count as too large until at most so many events are left.
    fn press(&mut self, events: u64) {
        self.pruning.budget = None;
        self.pruning.over = true;
        let left = u64::try_from(self.left().len()).expect("small");
        if left <= events {
            self.pruning.over = false;
        }
    }
}

fn needs(broker: bool, rules: &[&str]) -> Needs {
    Needs { broker, rules: rules.iter().map(|rule| (*rule).to_owned()).collect() }
}

fn keep(keep_days: u32) -> Config {
    Config { keep_days, max_mb: 0, ..Config::default() }
}

const LONG_AGO: &str = "2024-06-01T00:00:00Z";

#[test]
fn what_is_old_goes_once_everybody_who_is_there_has_dealt_with_it() {
    let mut store = Store::new(keep(10), 3000);
    store.date(1..=2000, LONG_AGO, Some(true));
    // Nothing was forwarded.
    store.run(&needs(true, &[]), false);
    assert_eq!(store.left().len(), 3000);
    // Of the rules one is slow, and one has gone.
    store.settle(Outcome::Forwarded, 1, 1800);
    store.rule("slow", 700);
    store.rule("gone", 3);
    store.rule("new", 3000);
    store.run(&needs(true, &["slow", "new"]), false);
    assert_eq!(store.left().first(), Some(&701));
    store.run(&needs(true, &["new"]), false);
    assert_eq!(store.left().first(), Some(&1801));
    // Without a broker nobody waits for it.
    store.run(&needs(false, &["new"]), false);
    assert_eq!(store.span(), (1000, 2001, 3000));
    assert_eq!((store.progress.discarded, store.progress.floor), (200, 2000), "and the sums hold");
}

#[test]
fn the_newest_event_stays_however_old_it_is_and_so_do_dead_letters() {
    let mut store = Store::new(keep(1), 900);
    store.date(1..=900, LONG_AGO, None);
    store.settle(Outcome::DeadLettered("too large".to_owned()), 20, 21);
    store.settle(Outcome::Forwarded, 1, 900);
    store.run(&needs(true, &[]), false);
    assert_eq!(store.left(), [20, 21, 900]);
    assert_eq!((store.progress.dead_lettered, store.progress.discarded), (2, 0));
}

#[test]
fn clocks_that_were_wrong_date_nothing_and_hold_nothing_up() {
    let mut store = Store::new(keep(10), 4000);
    store.settle(Outcome::Forwarded, 1, 4000);
    store.date(1..=1000, LONG_AGO, Some(true));
    // A clock that was far ahead for longer than a slice, then one that had not been set.
    store.date(1001..=2200, "2090-01-01T00:00:00Z", None);
    store.date(2201..=3000, "1970-01-01T00:00:09Z", Some(false));
    store.date(3001..=3001, LONG_AGO, None);
    store.date(3500..=3600, "1970-01-01T00:00:09Z", None);
    store.run(&needs(true, &[]), false);
    assert_eq!(store.span(), (999, 3002, 4000));
}

#[test]
fn what_is_too_much_goes_in_the_order_of_its_need_and_what_is_given_up_is_told() {
    let mut store = Store::new(keep(0), 10_000);
    store.settle(Outcome::DeadLettered("not authorised".to_owned()), 10, 11);
    store.settle(Outcome::Forwarded, 1, 3000);
    store.rule("slow", 1000);
    let who = needs(true, &["slow"]);
    let press = |store: &mut Store, events: u64| {
        let (mut gaps, mut slices) = (Vec::new(), 0);
        loop {
            store.press(events);
            if !store.pruning.over {
                return gaps;
            }
            store.pruning.rest = Instant::now();
            let slice = store.slice(&who, false);
            gaps.extend(slice.gap);
            slices += 1;
            assert!(slices < 1000, "it ends");
        }
    };
    assert_eq!(press(&mut store, 9100), [] as [Gap; 0]);
    assert_eq!(store.left()[..4], [10, 11, 1001, 1002], "what nobody needs goes first");
    let gaps = press(&mut store, 7500);
    assert_eq!(gaps, [Gap { first: 10, last: 11, count: 2 }], "dead letters are given up for good");
    assert_eq!(store.left()[0], 3001, "then what a slow rule needs");
    let gaps = press(&mut store, 2000);
    let lost: u64 = gaps.iter().map(|gap| gap.count).sum();
    assert_eq!((gaps[0].first, store.progress.discarded), (3001, lost + 2));
    assert!(gaps.len() < 6, "one for many: {gaps:?}");
    assert!(store.left().contains(&3100), "critical events stay longest");
    press(&mut store, 5);
    assert_eq!(store.left(), [10_000], "and the newest for ever");
    assert_eq!(store.progress.pending(10_000), 1);
    let letters: i64 =
        store.connection.query_row("SELECT count(*) FROM dead_letter", [], |row| row.get(0)).expect("counts");
    assert_eq!((letters, store.progress.dead_lettered), (0, 0));
}

#[test]
fn a_disk_that_others_fill_takes_nothing_from_anybody() {
    let mut store = Store::new(keep(0), 5000);
    store.settle(Outcome::Forwarded, 1, 3000);
    store.rule("slow", 2000);
    let slices = store.run(&needs(true, &["slow"]), true);
    assert_eq!(slices.iter().map(|slice| slice.events).sum::<u64>(), 2000);
    assert!(slices.iter().all(|slice| slice.gap.is_none()));
    assert_eq!(store.span(), (3000, 2001, 5000));
}

#[test]
fn a_budget_counts_what_the_store_holds() {
    let mut store = Store::new(Config { max_mb: 32, keep_days: 0, ..Config::default() }, 10);
    store.connection.execute_batch("BEGIN").expect("begins");
    for seq in 11..=6000 {
        let text = format!("{{\"x\":\"{}\"}}", "x".repeat(4000));
        store.connection.execute("INSERT INTO event VALUES (?1, 1, 1, 1, ?2)", params![seq, text]).expect("adds");
    }
    store.connection.execute_batch("COMMIT").expect("commits");
    store.head = 6000;
    store.settle(Outcome::Forwarded, 1, 6000);
    store.run(&needs(true, &[]), false);
    let used = Pages::count(&store.connection).expect("counts").used_bytes();
    let most = (32 << 20) - WAL_BYTES.unsigned_abs();
    assert!(used <= most && used > most / 2, "{used} of {most}");
    assert!(!store.pruning.over);
}

#[test]
fn a_clock_that_leaps_ahead_throws_nothing_away_until_it_has_gone_for_a_week() {
    let mut store = Store::new(keep(90), 2000);
    store.settle(Outcome::Forwarded, 1, 2000);
    // So they look where the clock shows two years later since the event before the last.
    store.date(1..=1998, LONG_AGO, None);
    store.pruning.settles = leap::SETTLES;
    store.run(&needs(true, &[]), false);
    assert!(store.pruning.waits_for_clock());
    assert_eq!(store.left().len(), 2000);
    for (seq, days) in [(1999, 8), (2000, 5)] {
        let at = Timestamp::now() - SignedDuration::from_hours(24 * days);
        store.date(seq..=seq, &at.to_string(), None);
    }
    store.run(&needs(true, &[]), false);
    assert!(!store.pruning.waits_for_clock());
    assert_eq!(store.left(), [1999, 2000]);
}
