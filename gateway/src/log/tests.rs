//! The log as its users see it: what was answered is there after a restart.

mod outbox;
mod room;

use std::sync::Arc;

use super::*;
use crate::command::{Command, Source, State};
use crate::event::{Kind, Severity};
use crate::metrics::Metrics;

/// A fold that changes nothing.
pub(super) struct Plain;

impl Fold for Plain {
    fn load(&mut self, _: &str, _: &str) {}
    fn apply(&mut self, event: Event, _: bool, out: &mut Vec<Event>) {
        out.push(event);
    }
    fn changed(&mut self, _: &mut dyn FnMut(&str, String)) {}
    fn undo(&mut self) {}
    fn keep(&mut self) {}
}

pub(super) fn open(dir: &std::path::Path) -> Log {
    let config = Config { dir: dir.to_owned(), tail_events: 8, max_event_bytes: 1000, ..Config::default() };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    Log::open(&config, "gw", Box::new(Plain), metrics).expect("opens").log
}

pub(super) fn event(terminal: &str) -> NewEvent {
    let mut event = Event::new(Kind::SupplyLow);
    event.terminal = terminal.to_owned();
    event.into()
}

pub(super) fn submit(log: &Log, events: Vec<NewEvent>) -> Result<Vec<u64>, LogError> {
    log.submit_blocking(Submission { events, ..Submission::default() }).map(|receipt| receipt.seqs)
}

/// A folder with a store of so many events, each in a transaction of its own, as a killed process leaves it.
pub(super) fn killed(events: u64) -> tempfile::TempDir {
    let (dir, left) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let log = open(dir.path());
    for _ in 0..events {
        submit(&log, vec![event("a")]).expect("appends");
    }
    for name in ["events.db", "events.db-wal", "events.db.open"] {
        std::fs::copy(dir.path().join(name), left.path().join(name)).expect("is copied");
    }
    log.close();
    left
}

#[test]
fn places_ids_and_positions_survive_a_restart() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    assert_eq!(submit(&log, vec![event("a"), event("b"), event("a")]).expect("appends"), [1, 2, 3]);
    let progress = Progress { floor: 1, ranges: vec![(3, 3)], forwarded: 2, dead_lettered: 0, discarded: 0 };
    let mut settled = Settled::default();
    settled.push(Outcome::Forwarded, 1, 1);
    settled.push(Outcome::Forwarded, 3, 3);
    log.settle(settled);
    let state = vec![("count".to_owned(), Some(vec![7]))];
    let commit = PluginCommit { plugin: "cash-low".to_owned(), cursor: 3, state };
    log.submit_blocking(Submission { events: vec![event("a")], plugin: Some(commit), ..Submission::default() })
        .expect("commits");
    let prefix = log.id_prefix().to_owned();
    log.close();
    assert!(matches!(submit(&log, vec![event("a")]), Err(LogError::Stopped)));
    drop(log);

    let log = open(dir.path());
    assert_eq!(log.id_prefix(), prefix);
    assert_eq!(log.progress().expect("reads"), progress);
    assert_eq!(log.plugin_cursor("cash-low").expect("reads"), Some(3));
    assert_eq!(log.plugin_state("cash-low").expect("reads")["count"], [7]);
    let events = log.read_after(0, 10).expect("reads");
    let places: Vec<_> = events.iter().map(|stored| (stored.seq, stored.terminal_seq)).collect();
    assert_eq!(places, [(1, 1), (2, 1), (3, 2), (4, 3)]);
    assert!(events[2].json.starts_with(&format!(r#"{{"seq":3,"id":"{prefix}-3","terminal_seq":2,"terminal":"a""#)));
    assert_eq!(submit(&log, vec![event("a")]).expect("appends"), [5]);
    log.close();
}

#[test]
fn a_source_id_is_stored_once() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    let with_id = |id: &str| NewEvent { source_id: Some(id.to_owned()), ..event("a") };
    assert_eq!(submit(&log, vec![with_id("x"), with_id("y"), with_id("x")]).expect("appends"), [1, 2, 1]);
    assert_eq!(submit(&log, vec![with_id("y"), with_id("z")]).expect("appends"), [2, 3]);
    log.close();
}

#[test]
fn a_bad_submission_fails_alone() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    let mut large = event("a");
    large.event.detail = "x".repeat(2000);
    let waiting: Vec<_> = [vec![event("a")], vec![event("a"), large], vec![event("a")]]
        .into_iter()
        .map(|events| log.enqueue(Submission { events, ..Submission::default() }).expect("queued"))
        .collect();
    let mut answers = waiting.into_iter().map(|answer| answer.blocking_recv().expect("answered"));
    assert_eq!(answers.next().expect("first").expect("appended").seqs, [1]);
    assert!(matches!(answers.next().expect("second"), Err(LogError::Refused(_))));
    assert_eq!(answers.next().expect("third").expect("appended").seqs, [2], "no place is lost to the refused one");
    log.close();
}

#[test]
fn a_transaction_that_fails_answers_nobody_and_is_not_tried_again() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    assert_eq!(submit(&log, vec![event("a")]).expect("appends"), [1]);
    // Somebody else holds the store: the next transaction fails as a whole, as it does where the disk does.
    let other = rusqlite::Connection::open(dir.path().join("events.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    assert!(submit(&log, vec![event("a")]).is_err(), "what is not kept is not acknowledged");
    other.execute_batch("ROLLBACK").expect("unlocks");
    assert!(matches!(submit(&log, vec![event("a")]), Err(LogError::Stopped)), "nobody knows what was written");
    log.close();
    drop(other);
    let log = self::open(dir.path());
    assert_eq!(submit(&log, vec![event("a")]).expect("appends"), [2]);
    log.close();
}

#[test]
fn journal_lines_are_kept_with_their_events_or_not_at_all() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    let line = |text: &str| NewLine {
        terminal: "a".to_owned(),
        link: "journal".to_owned(),
        received_at: jiff::Timestamp::now(),
        day: jiff::civil::date(2030, 1, 15),
        printed_at: None,
        text: text.to_owned(),
        event: None,
        undated: None,
    };
    let mut large = event("a");
    large.event.detail = "x".repeat(2000);
    for (events, text) in [(vec![event("a")], "with an event"), (vec![large], "refused"), (Vec::new(), "alone")] {
        let _ = log.submit_blocking(Submission { events, journal: vec![line(text)], ..Submission::default() });
    }
    let search = Search { terminal: "a".to_owned(), from: None, to: None, pattern: None, limit: 10, after: None };
    let texts = |archive: Archive| -> Vec<String> {
        archive.search(&search).expect("reads").lines.into_iter().map(|line| line.text).collect()
    };
    assert_eq!(texts(log.archive().expect("opens")), ["with an event", "alone"]);
    assert_eq!(*log.head().borrow(), 1);
    // A block that is sent again is the same block.
    for _ in 0..2 {
        let events = vec![NewEvent { source_id: Some("block".to_owned()), ..event("a") }];
        log.submit_blocking(Submission { events, journal: vec![line("a block")], ..Submission::default() })
            .expect("commits");
    }
    // A file of which one row is new: its line is kept, the others were.
    let rows = ["block", "row"].map(|id| NewEvent { source_id: Some(id.to_owned()), ..event("a") });
    let journal = (0..2).map(|nth| NewLine { event: Some(nth), ..line(&format!("row {nth}")) }).collect();
    log.submit_blocking(Submission { events: rows.into(), journal, ..Submission::default() }).expect("commits");
    log.close();
    drop(log);
    assert_eq!(texts(Archive::open(dir.path()).expect("opens")), ["with an event", "alone", "a block", "row 1"]);
    assert!(Archive::open(&dir.path().join("nowhere")).is_err());
}

#[test]
fn a_running_log_prunes_its_journals() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    let old = NewLine {
        terminal: "a".to_owned(),
        link: "journal".to_owned(),
        received_at: jiff::Timestamp::UNIX_EPOCH,
        day: jiff::civil::date(1970, 1, 1),
        printed_at: None,
        text: "old".to_owned(),
        event: None,
        undated: None,
    };
    log.submit_blocking(Submission { journal: vec![old], ..Submission::default() }).expect("commits");
    log.close();
    drop(log);
    // The next start prunes at once, without anything to write.
    let log = open(dir.path());
    let search = Search { terminal: "a".to_owned(), from: None, to: None, pattern: None, limit: 10, after: None };
    let begun = std::time::Instant::now();
    while !log.archive().expect("opens").search(&search).expect("reads").lines.is_empty() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "nothing was pruned");
        std::thread::yield_now();
    }
    log.close();
}

#[test]
fn a_reader_that_lags_gets_the_same_events() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    for _ in 0..50 {
        submit(&log, vec![event("a")]).expect("appends");
    }
    let all: Vec<u64> = log.read_after(0, 100).expect("reads").iter().map(|stored| stored.seq).collect();
    assert_eq!(all, (1..=50).collect::<Vec<_>>());
    assert!(log.read_tail(0, 1).is_none() && log.read_tail(45, 9).expect("in memory").len() == 5);
    log.close();
}

/// Asks and waits, on a thread outside any runtime.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

#[test]
fn a_command_is_kept_once_and_goes_on_only_from_where_it_was() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    let mut changes = log.command_changes();
    changes.mark_unchanged();
    let now = jiff::Timestamp::now();
    let command = Command {
        id: "1".to_owned(),
        source: Source::Mqtt,
        terminal: "a".to_owned(),
        verb: "counters".to_owned(),
        arguments: crate::command::Arguments::new(),
        by: "x".to_owned(),
        asked_at: now,
        expires_at: now,
        state: State::Requested,
        changed_at: now,
        code: None,
        detail: None,
        result: None,
    };
    let change = |change: CommandChange| {
        log.submit_blocking(Submission { events: vec![event("a")], commands: vec![change], ..Submission::default() })
            .map(|receipt| receipt.seqs)
    };
    let at = |state: State| Command { state, ..command.clone() };
    assert_eq!(change(CommandChange::New(command.clone())).expect("is kept"), [1]);
    assert!(changes.has_changed().expect("the log runs"));
    assert!(change(CommandChange::New(command.clone())).is_err(), "the id is taken, and its event is none");
    assert!(change(CommandChange::From(State::Sent, at(State::Done))).is_err(), "it was not sent");
    assert_eq!(log.open_commands().expect("reads").len(), 1);
    assert_eq!(change(CommandChange::From(State::Requested, at(State::Sent))).expect("goes on"), [2]);
    assert!(change(CommandChange::From(State::Requested, at(State::Sent))).is_err(), "never twice");
    assert_eq!(log.untold_commands(9).expect("reads").len(), 0);
    change(CommandChange::From(State::Sent, at(State::Done))).expect("ends");
    assert_eq!((log.open_commands().expect("reads").len(), log.untold_commands(9).expect("reads").len()), (0, 1));
    change(CommandChange::Told(Source::Mqtt, "1".to_owned())).expect("is noted");
    assert_eq!(log.untold_commands(9).expect("reads").len(), 0);
    change(CommandChange::Untold(Source::Mqtt, "1".to_owned())).expect("is noted");
    assert_eq!(log.untold_commands(9).expect("reads").len(), 1);
    assert_eq!(log.command(Source::Http, "1").expect("reads"), None);
    let filter = CommandFilter { terminal: Some("a".to_owned()), state: Some(State::Done), before: None };
    assert_eq!(log.commands(&filter, 9).expect("reads")[0].command, at(State::Done));
    log.close();
}

#[test]
fn large_events_are_read_a_few_at_a_time_and_all_of_them() {
    let dir = tempfile::tempdir().expect("temp dir");
    let config = Config { dir: dir.path().to_owned(), tail_events: 1, ..Config::default() };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let log = Log::open(&config, "gw", Box::new(Plain), metrics).expect("opens").log;
    let large = || NewEvent::from(event("a").event.detail("x".repeat(200_000)));
    for _ in 0..5 {
        submit(&log, (0..6).map(|_| large()).collect()).expect("appends");
    }
    let (mut at, mut reads) = (0, 0);
    while at < 30 {
        let read = log.read_after(at, 1000).expect("reads");
        assert!(read.len() <= 11 && read[0].seq == at + 1, "{} events", read.len());
        at = read[read.len() - 1].seq;
        reads += 1;
    }
    assert_eq!((at, reads), (30, 3), "eleven, eleven, and eight");
}

/// What the clock told while it was wrong is dated by the boot, on the way out, and after a restart too; what was written
/// stays as it was.
#[tokio::test]
async fn what_was_read_while_the_clock_was_wrong_is_dated_once_it_is_right() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    let unset: jiff::Timestamp = "1970-01-01T00:00:40Z".parse().expect("a time");
    let wrong = |rule: Option<&str>| Event {
        terminal: "a".to_owned(),
        received_at: Some(unset),
        time_synced: Some(false),
        rule: rule.map(str::to_owned),
        // A rule's event carries the time of its cause, which is our clock's; a terminal's own time is its own.
        occurred_at: Some(unset - std::time::Duration::from_secs(5)),
        ..Event::new(Kind::SupplyLow)
    };
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").expect("bundled");
    let line = |undated, printed_at: Option<&str>| NewLine {
        terminal: "a".to_owned(),
        link: "journal".to_owned(),
        received_at: unset,
        day: jiff::civil::date(1970, 1, 1),
        printed_at: printed_at.map(str::to_owned),
        text: "x".to_owned(),
        event: None,
        undated: Some(undated),
    };
    let journal = vec![line(Undated::ArrivalAndDay(zone), Some("23:59:58")), line(Undated::Arrival, None)];
    let events = vec![wrong(None).into(), wrong(Some("rule")).into()];
    log.submit(Submission { events, journal, ..Submission::default() }).await.expect("is kept");
    let before = log.read_after(0, 10).expect("reads");
    let json: serde_json::Value = serde_json::from_str(&before[0].json).expect("is JSON");
    assert_eq!((&json["boot"], json["boot_ms"].as_i64()), (&crate::clock::boot_id().into(), before[0].boot_ms));
    assert!(json.get("time_corrected").is_none());

    // By this clock the machine was started one minute and as long as it runs before half past midnight in Berlin.
    let now: jiff::Timestamp = "2030-01-14T23:30:00Z".parse().expect("a time");
    let origin = now - crate::clock::since_boot();
    log.submit(Submission { clock: Some(origin), ..Submission::default() }).await.expect("is kept");
    let check = |log: &Log| {
        for (stored, raw) in log.read_after(0, 10).expect("reads").iter().zip(&before) {
            let at = origin + std::time::Duration::from_millis(raw.boot_ms.expect("this boot").unsigned_abs());
            let at = jiff::Timestamp::from_millisecond(at.as_millisecond()).expect("a time");
            assert!(now.duration_since(at).abs() < jiff::SignedDuration::from_secs(30));
            assert_eq!(stored.event.received_at.map(|at| at.as_millisecond()), Some(at.as_millisecond()));
            assert!(stored.event.time_corrected && stored.event.time_synced == Some(false));
            let json: serde_json::Value = serde_json::from_str(&stored.json).expect("is JSON");
            assert_eq!(json["received_at"], stored.event.received_at.expect("has one").to_string());
            assert_eq!(
                (&json["id"], &json["time_corrected"]),
                (&format!("gw-{}-{}", log.epoch(), raw.seq).into(), &true.into())
            );
            let occurred = stored.event.occurred_at.expect("has one");
            match &stored.event.rule {
                Some(_) => assert_eq!(stored.event.received_at.expect("has one").duration_since(occurred).as_secs(), 5),
                None => assert_eq!(occurred, unset - std::time::Duration::from_secs(5), "the terminal's own"),
            }
        }
        let search = |day| Search {
            terminal: "a".to_owned(),
            from: Some(day),
            to: Some(day),
            pattern: None,
            limit: 10,
            after: None,
        };
        let found = |day| log.archive().expect("opens").search(&search(day)).expect("searches").lines;
        // Printed shortly before midnight, and it came shortly after it; the other line knew its day.
        let [late] = &found(jiff::civil::date(2030, 1, 14))[..] else { panic!("one line") };
        assert!(now.duration_since(late.received_at).abs() < jiff::SignedDuration::from_secs(30));
        assert_eq!(found(jiff::civil::date(1970, 1, 1)).len(), 1);
    };
    check(&log);
    log.close();
    drop(log);
    let log = open(dir.path());
    check(&log);
    log.close();
}
