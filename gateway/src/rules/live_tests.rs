//! The rules on a real log: effects once, across restarts, and plugins that come and go while everything runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::tests::{FIXTURE, wish};
use super::{Config, Ready, Rules, TerminalFlags};
use crate::event::{Component, Device, Event, Kind};
use crate::log::{self, Fold, Log, Stored, Submission};
use crate::metrics::Metrics;

/// A fold that changes nothing.
struct Plain;

impl Fold for Plain {
    fn load(&mut self, _: &str, _: &str) {}
    fn apply(&mut self, event: Event, _: bool, out: &mut Vec<Event>) {
        out.push(event);
    }
    fn changed(&mut self, _: &mut dyn FnMut(&str, String)) {}
    fn undo(&mut self) {}
    fn keep(&mut self) {}
}

fn open(dir: &Path) -> Log {
    let config = log::Config { dir: dir.to_owned(), ..log::Config::default() };
    Log::open(&config, "gw", Box::new(Plain), metrics()).expect("opens").log
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().expect("metrics"))
}

fn run(log: &Log, config: Config) -> Rules {
    let flags: TerminalFlags = Arc::new(|_, flag| flag == "reports_requests");
    Ready::new(config).expect("an engine").start(log.clone(), flags, metrics())
}

fn submit(log: &Log, event: Event) {
    let event = Event { received_at: Some(jiff::Timestamp::now()), terminal: "atm-01".to_owned(), ..event };
    log.submit_blocking(Submission { events: vec![event.into()], ..Submission::default() }).expect("is accepted");
}

fn low(cassette: u8) -> Event {
    Event::new(Kind::SupplyLow).device(Device::CashHandler).component(Component::Cassette(cassette))
}

fn all(log: &Log) -> Vec<Arc<Stored>> {
    log.read_after(0, 10_000).expect("reads")
}

/// Waits until the log has as many events of this kind, and gives them.
fn wait(log: &Log, kind: Kind, count: usize) -> Vec<Event> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut head = log.head();
    loop {
        head.borrow_and_update();
        let found: Vec<_> =
            all(log).iter().filter(|stored| stored.event.kind == kind).map(|one| one.event.clone()).collect();
        if found.len() >= count {
            return found;
        }
        let changed = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), head.changed()).await });
        let kinds: Vec<_> = all(log).iter().map(|stored| stored.event.to_string()).collect();
        changed.unwrap_or_else(|_| panic!("no {kind} came: {kinds:?}")).expect("the log is open");
    }
}

#[test]
fn effects_come_once_across_restarts() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    let rules = run(&log, Config::default());
    submit(&log, low(1));
    submit(&log, Event::new(Kind::CashPresented));
    wait(&log, Kind::AlertRaised, 2);
    let commands = wait(&log, Kind::CommandRequested, 1);
    assert_eq!(commands[0].attributes["verb"], "out_of_service");
    rules.stop();
    // While no rule runs, events are missed by none.
    submit(&log, low(1));
    submit(&log, low(2));
    log.close();
    drop(log);

    let log = open(dir.path());
    let rules = run(&log, Config::default());
    let alerts = wait(&log, Kind::AlertRaised, 3);
    submit(&log, low(3));
    assert_eq!(wait(&log, Kind::AlertRaised, 4).len(), 4);
    rules.stop();
    let mut keys: Vec<_> = alerts.iter().filter_map(|alert| alert.attributes["alert"].as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["cassette_1", "cassette_2", "security.unauthorised_dispense"]);
    let cause = alerts[2].cause.as_deref().expect("a cause");
    let caused = all(&log).iter().find(|stored| cause == format!("{}-{}", log.id_prefix(), stored.seq)).cloned();
    assert_eq!(caused.expect("the cause").event.component, Some(Component::Cassette(2)));
    log.close();
}

#[test]
fn a_rule_that_never_came_into_force_begins_where_it_was_first_expected() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    submit(&log, Event::new(Kind::CardInserted));
    let rules = run(&log, Config::default());
    submit(&log, low(1));
    // Whatever the rules have done by now: with the event, their place has become durable.
    assert!(matches!(log.plugin_cursor("cash-low"), Ok(Some(cursor)) if cursor >= 1));
    rules.stop();
    log.close();
}

#[test]
fn plugins_come_and_go_and_a_bad_one_changes_nothing() {
    let (dir, folder) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let log = open(dir.path());
    let rules = run(&log, Config { dir: Some(folder.path().to_owned()), bundled: Vec::new(), ..Config::default() });
    let file = folder.path().join("fixture.wasm");

    std::fs::write(&file, FIXTURE).expect("writes");
    let loaded = wait(&log, Kind::GatewayPluginLoaded, 1);
    assert_eq!(loaded[0].attributes["plugin"], "fixture");
    submit(&log, wish("count"));
    wait(&log, Kind::AlertRaised, 1);

    std::fs::write(&file, "this is no plugin").expect("writes");
    let refused = wait(&log, Kind::GatewayPluginRefused, 1);
    assert!(refused[0].detail.contains("it is not WebAssembly"), "{}", refused[0].detail);
    assert!(refused[0].detail.ends_with("the one before stays in force"), "{}", refused[0].detail);
    submit(&log, wish("count"));
    wait(&log, Kind::AlertRaised, 2);

    // Another build of the same plugin takes over what was stored.
    let component =
        wit_component::ComponentEncoder::default().module(FIXTURE).expect("a module").encode().expect("encodes");
    std::fs::write(folder.path().join(".new"), component).expect("writes");
    std::fs::rename(folder.path().join(".new"), &file).expect("renames");
    wait(&log, Kind::GatewayPluginLoaded, 2);
    submit(&log, wish("write and trap"));
    let faults = wait(&log, Kind::GatewayPluginFault, 1);
    assert!(faults[0].detail.contains("as the event wished"), "{}", faults[0].detail);
    submit(&log, wish("count"));
    assert_eq!(wait(&log, Kind::AlertRaised, 3)[2].attributes["title"], "3");

    std::fs::remove_file(&file).expect("removes");
    wait(&log, Kind::GatewayPluginRemoved, 1);
    rules.stop();
    log.close();
}

#[test]
fn a_rule_that_fails_again_and_again_is_put_aside_and_misses_nothing() {
    let (dir, folder) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let log = open(dir.path());
    std::fs::write(folder.path().join("fixture.wasm"), FIXTURE).expect("writes");
    let config = Config { dir: Some(folder.path().to_owned()), bundled: Vec::new(), ..Config::default() };
    let rules = run(&log, config.clone());
    wait(&log, Kind::GatewayPluginLoaded, 1);
    for text in ["count", "loop", "loop", "loop", "loop", "count"] {
        submit(&log, wish(text));
    }
    // Three skipped events, and that it is put aside; then the fourth, and that it is put aside for longer.
    let faults = wait(&log, Kind::GatewayPluginFault, 6);
    let pauses: Vec<_> = faults.iter().filter_map(|fault| fault.attributes.get("paused_s")?.as_u64()).collect();
    assert_eq!(pauses, [1, 2], "{faults:?}");
    assert_eq!(wait(&log, Kind::AlertRaised, 1).len(), 1, "the last event waits");
    // Another build of the plugin is not made to wait, and gets what waited.
    let component =
        wit_component::ComponentEncoder::default().module(FIXTURE).expect("a module").encode().expect("encodes");
    std::fs::write(folder.path().join(".new"), component).expect("writes");
    std::fs::rename(folder.path().join(".new"), folder.path().join("fixture.wasm")).expect("renames");
    assert_eq!(wait(&log, Kind::AlertRaised, 2)[1].attributes["title"], "2");
    rules.stop();

    // A start shows from the first moment how much waits.
    submit(&log, wish("count"));
    let behind = *log.head().borrow();
    let metrics = metrics();
    let rules = Ready::new(config).expect("an engine").start(log.clone(), Arc::new(|_, _| false), Arc::clone(&metrics));
    assert!(metrics.rule_lag.with_label_values(&["fixture"]).get() >= 1, "{behind}");
    rules.stop();
    log.close();
}

#[test]
fn a_file_stands_for_a_bundled_rule_of_its_name() {
    let (dir, folder) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    let log = open(dir.path());
    std::fs::write(folder.path().join("cash-low.wasm"), FIXTURE).expect("writes");
    std::fs::write(folder.path().join("dispenser-guard.wasm"), "broken").expect("writes");
    let rules = run(&log, Config { dir: Some(folder.path().to_owned()), ..Config::default() });
    let sources = |loaded: &[Event]| -> Vec<String> {
        loaded.iter().map(|event| format!("{} {}", event.attributes["plugin"], event.attributes["source"])).collect()
    };
    let loaded = wait(&log, Kind::GatewayPluginLoaded, 2);
    assert_eq!(sources(&loaded), [r#""cash-low" "folder""#, r#""dispenser-guard" "bundled""#]);
    wait(&log, Kind::GatewayPluginRefused, 1);
    std::fs::remove_file(folder.path().join("cash-low.wasm")).expect("removes");
    let loaded = wait(&log, Kind::GatewayPluginLoaded, 3);
    assert_eq!(sources(&loaded[2..]), [r#""cash-low" "bundled""#]);
    submit(&log, low(1));
    wait(&log, Kind::AlertRaised, 1);
    rules.stop();
    log.close();
}

#[test]
fn a_rule_that_was_away_goes_on_with_the_oldest_event_that_is_kept_and_pins_nothing_meanwhile() {
    let dir = tempfile::tempdir().expect("temp dir");
    let log = open(dir.path());
    let rules = run(&log, Config::default());
    submit(&log, low(1));
    wait(&log, Kind::AlertRaised, 1);
    rules.stop();
    log.close();
    drop(log);

    // Taken away, while more comes than there is room for.
    let small = log::Config { dir: dir.path().to_owned(), max_mb: 17, reserve_mb: 0, ..log::Config::default() };
    let log = Log::open(&small, "gw", Box::new(Plain), metrics()).expect("opens").log;
    log.keep_for_broker(false);
    let rules = run(&log, Config { bundled: Vec::new(), ..Config::default() });
    for _ in 0..20 {
        let event = || Event { terminal: "atm-01".to_owned(), ..low(2).detail("x".repeat(900)) };
        let events = (0..100).map(|_| event().into()).collect();
        log.submit_blocking(Submission { events, ..Submission::default() }).expect("is accepted");
    }
    let begun = std::time::Instant::now();
    while log.read_after(0, 1).expect("reads")[0].seq < 100 {
        assert!(begun.elapsed() < Duration::from_secs(30), "its position keeps nothing: {:?}", all(&log)[0]);
        std::thread::sleep(Duration::from_millis(10));
    }
    rules.stop();
    log.close();
    drop(log);

    let log = open(dir.path());
    let first = log.read_after(0, 1).expect("reads")[0].seq;
    let rules = run(&log, Config::default());
    let gaps = wait(&log, Kind::GatewayGap, 2);
    let gap = gaps.iter().find(|gap| gap.rule.as_deref() == Some("cash-low")).expect("it says so");
    assert_eq!(gap.attributes["last"].to_string(), (first - 1).to_string());
    // And goes on.
    submit(&log, low(3));
    wait(&log, Kind::AlertRaised, 1);
    assert_eq!(wait(&log, Kind::GatewayGap, 2).len(), 2, "once for each of the two");
    rules.stop();
    log.close();
}
