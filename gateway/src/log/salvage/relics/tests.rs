//! What comes in beside the events, once, and what is left out.

use std::path::Path;

use jiff::SignedDuration;
use jiff::civil::Date;

use crate::command::{Arguments, Command, Source, State};
use crate::event::Kind;
use crate::log::tests::{event, open, submit};
use crate::log::{
    CommandChange, Log, NewEvent, NewLine, Outcome, RegisterKind, RegisterRow, Search, Settled, Submission, Undated,
    Wanted, Wreck,
};

fn command(id: &str, state: State) -> Command {
    let now = jiff::Timestamp::now();
    Command {
        id: id.to_owned(),
        source: Source::Mqtt,
        terminal: "a".to_owned(),
        verb: "reset".to_owned(),
        arguments: Arguments::new(),
        by: "broker".to_owned(),
        asked_at: now,
        expires_at: now,
        state,
        changed_at: now,
        code: None,
        detail: None,
        result: None,
    }
}

fn line(text: &str, days: i64) -> NewLine {
    NewLine {
        terminal: "a".to_owned(),
        link: "journal".to_owned(),
        received_at: jiff::Timestamp::now() - SignedDuration::from_hours(24 * days),
        day: Date::constant(2030, 1, 15),
        printed_at: Some("11:12:13".to_owned()),
        text: text.to_owned(),
        event: None,
        undated: None,
    }
}

fn with_id(id: &str) -> NewEvent {
    NewEvent { source_id: Some(id.to_owned()), ..event("a") }
}

fn texts(log: &Log) -> Vec<String> {
    let search = Search { terminal: "a".to_owned(), from: None, to: None, pattern: None, limit: 1000, after: None };
    let page = log.archive().expect("opens").search(&search).expect("reads");
    page.lines.into_iter().map(|line| line.text).collect()
}

/// A store with some of everything; 1 and 2 of its events were forwarded.
fn fill(dir: &Path) {
    let log = open(dir);
    submit(&log, ["x", "y", "z"].map(with_id).into()).expect("appends");
    let mut undated = line("second", 9);
    undated.undated = Some(Undated::Arrival);
    log.submit_blocking(Submission { journal: vec![line("first", 10), undated], ..Submission::default() })
        .expect("keeps");
    log.submit_blocking(Submission { journal: vec![line("third", 8)], ..Submission::default() }).expect("keeps");
    for (id, state) in [("done", State::Done), ("sent", State::Sent), ("waits", State::Requested)] {
        let commands = vec![CommandChange::New(command(id, state))];
        log.submit_blocking(Submission { commands, ..Submission::default() }).expect("keeps");
    }
    log.submit_blocking(Submission {
        commands: vec![CommandChange::Told(Source::Mqtt, "done".to_owned())],
        ..Submission::default()
    })
    .expect("keeps");
    let body = serde_json::from_str(r#"{"name":"Main street"}"#).ok();
    let register = vec![RegisterRow { kind: RegisterKind::Branch, key: "7".to_owned(), body }];
    log.submit_blocking(Submission { register, ..Submission::default() }).expect("keeps");
    let mut settled = Settled::default();
    settled.push(Outcome::Forwarded, 1, 2);
    log.settle(settled);
    log.close();
}

#[test]
fn sources_commands_journals_and_the_register_come_in_once_and_before_what_is_here() {
    let (old, new) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    fill(old.path());
    let wreck = Wreck::open(&old.path().join("events.db"), Wanted::Pending).expect("opens");
    let log = open(new.path());
    submit(&log, vec![event("b")]).expect("appends");
    log.submit_blocking(Submission { journal: vec![line("of today", 0)], ..Submission::default() }).expect("keeps");
    let brought = log.salvage(&wreck, "x", None).expect("brings in");
    assert_eq!((brought.new, brought.lines, brought.commands), (1, 3, 3));
    assert_eq!(texts(&log), ["first", "second", "third", "of today"]);

    // What its sources send again is known, forwarded or not.
    let head = *log.head().borrow();
    for id in ["x", "y", "z"] {
        submit(&log, vec![with_id(id)]).expect("is answered");
    }
    assert_eq!(*log.head().borrow(), head);
    // A command is neither taken nor sent a second time, and whoever waits for one hears of its end.
    let state = |id: &str| log.command(Source::Mqtt, id).expect("reads").expect("is known").state;
    assert_eq!([state("done"), state("sent"), state("waits")], [State::Done, State::Unknown, State::Unknown]);
    assert!(log.open_commands().expect("reads").is_empty());
    let untold = log.untold_commands(9).expect("reads");
    assert_eq!(untold.iter().map(|kept| kept.command.id.as_str()).collect::<Vec<_>>(), ["sent", "waits"]);
    let all = log.read_after(0, 100).expect("reads");
    assert_eq!(all.iter().filter(|stored| stored.event.kind == Kind::CommandUnknown).count(), 2);
    assert!(log.register(|register| register.get(RegisterKind::Branch, "7").is_some()));

    let again = log.salvage(&wreck, "x", None).expect("brings in");
    assert_eq!((again.new, again.known, again.lines, again.commands), (0, 1, 0, 0));
    assert_eq!(texts(&log).len(), 4);
    log.close();
    drop(log);

    // A copy has all of it, and a third store gets each line once, whichever of the two it hears first.
    let copy = new.path().join("copy.db");
    crate::log::Records::open(new.path()).expect("opens").copy_to(&copy, || true).expect("copies");
    let third = tempfile::tempdir().expect("temp dir");
    let log = open(third.path());
    let second = Wreck::open(&copy, Wanted::Pending).expect("opens");
    assert_eq!(log.salvage(&second, "y", None).expect("brings in").lines, 4);
    assert_eq!(log.salvage(&wreck, "x", None).expect("brings in").lines, 0);
    assert_eq!(texts(&log), ["first", "second", "third", "of today"]);
    log.close();
}

#[test]
fn what_was_lost_may_be_sent_again() {
    let (old, new) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let path = old.path().join("events.db");
    let log = open(old.path());
    submit(&log, (0..200).map(|number| with_id(&number.to_string())).collect()).expect("appends");
    log.close();
    drop(log);
    let mut bytes = std::fs::read(&path).expect("reads");
    let page = bytes.windows(10).position(|window| window == br#"{"seq":100"#).expect("is there") / 4096 * 4096;
    bytes[page..page + 4096].fill(0xa5);
    std::fs::write(&path, bytes).expect("writes");
    let wreck = Wreck::open(&path, Wanted::Pending).expect("opens");
    let lost = wreck.survey().lost.expect("is known");
    assert!(lost > 0);
    let log = open(new.path());
    assert_eq!(log.salvage(&wreck, "x", None).expect("brings in").new, 200 - lost);
    let before = *log.head().borrow();
    submit(&log, (0..200).map(|number| with_id(&number.to_string())).collect()).expect("is answered");
    assert_eq!(*log.head().borrow() - before, lost);
    log.close();
}

#[test]
fn of_a_store_that_does_not_tell_what_was_forwarded_commands_and_journals_come_in_all_the_same() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("events.db");
    fill(dir.path());
    rusqlite::Connection::open(&path).expect("opens").execute("DELETE FROM progress", []).expect("deletes");
    let aside = dir.path().join("events.db.corrupt-1");
    std::fs::copy(&path, &aside).expect("copies");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.path().join(format!("events.db{suffix}")));
    }
    assert!(!Wreck::open(&aside, Wanted::Pending).expect("opens").survey().knows_forwarded);
    let log = open(dir.path());
    log.salvage_wrecks();
    log.salvage_wrecks();
    assert_eq!(texts(&log), ["first", "second", "third"]);
    assert!(log.command(Source::Mqtt, "sent").expect("reads").is_some());
    assert!(log.read_after(0, 100).expect("reads").iter().all(|stored| !stored.is_salvaged()));
    // What was not brought in is no repeat when its source sends it again.
    let before = *log.head().borrow();
    submit(&log, vec![with_id("z")]).expect("appends");
    assert_eq!(*log.head().borrow(), before + 1);
    log.close();
}
