//! The rule host against a plugin that misbehaves on request (`gateway/tests/fixture-plugin`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::effects::Frame;
use super::engine::Engine;
use super::host::Host;
use super::instance::{Instance, Outcome};
use super::load::{LoadError, load};
use super::state::State;
use super::{Config, TerminalFlags};
use crate::event::{Component, Device, Event, Kind, Money, Severity, State as Condition};
use crate::log::Stored;

pub(super) const FIXTURE: &[u8] = include_bytes!("../../tests/fixtures/fixture-plugin.wasm");

pub(super) fn engine() -> Arc<Engine> {
    let config = Config::default();
    Arc::new(Engine::new(config.deadline(), config.memory_bytes).expect("the engine"))
}

pub(super) fn stored(seq: u64, event: Event) -> Arc<Stored> {
    Arc::new(Stored { seq, terminal_seq: seq, boot_ms: None, event, json: "{}".into() })
}

pub(super) fn wish(wish: &str) -> Event {
    let event = Event::new(Kind::SourceReport).attribute("do", wish);
    Event { terminal: "atm-01".to_owned(), received_at: Some(at(0)), ..event }
}

fn wishes(wishes: &[&str]) -> Vec<Arc<Stored>> {
    (1..).zip(wishes).map(|(seq, text)| stored(seq, wish(text))).collect()
}

/// Seconds after a fixed time.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).expect("a time")
}

pub(super) fn frame(plugin: &str, now: Timestamp) -> Frame<'_> {
    Frame { plugin, id_prefix: "gw-0", now: Some(now), stale_after: Duration::from_secs(60) }
}

pub(super) fn instance(engine: &Arc<Engine>, wasm: &[u8], flags: TerminalFlags) -> Instance {
    let plugin = load(engine, wasm).expect("loads");
    let host = Host::new(Arc::from("fixture"), State::default(), flags, engine.memory_bytes);
    Instance::new(Arc::clone(engine), Arc::new(plugin), host)
}

fn fixture() -> Instance {
    instance(&engine(), FIXTURE, Arc::new(|_, flag| flag == "reports_requests"))
}

fn digest(instance: &mut Instance, batch: &[Arc<Stored>]) -> Outcome {
    instance.digest(batch, &frame("fixture", at(1)), usize::MAX)
}

fn reason(instance: &mut Instance, text: &str) -> String {
    let outcome = digest(instance, &wishes(&[text]));
    assert_eq!((outcome.events.len(), outcome.faults.len()), (0, 1), "{text}: {outcome:?}");
    outcome.faults[0].reason.clone()
}

#[test]
fn an_event_arrives_whole() {
    let mut event = wish("echo").attribute("number", 7).component(Component::Cassette(3)).detail("so it is");
    event.device = Some(Device::CashHandler);
    event.state = Some(Condition::Raised);
    event.amount = Some(Money::parse("120.00", "EUR".parse().expect("a currency")).expect("money"));
    let outcome = digest(&mut fixture(), &[stored(41, wish("nothing")), stored(42, event)]);
    let [said] = &outcome.events[..] else { panic!("{outcome:?}") };
    assert_eq!(said.detail, "atm-01|true|cassette_3|so it is|1795000000000|12000|EUR|7|true|true");
    assert_eq!((said.kind, said.state), (Kind::AlertCleared, Some(Condition::Cleared)));
    assert_eq!((said.device, said.component), (Some(Device::CashHandler), Some(Component::Cassette(3))));
    assert_eq!(
        (said.terminal.as_str(), said.cause.as_deref(), said.rule.as_deref()),
        ("atm-01", Some("gw-0-42"), Some("fixture"))
    );
    assert_eq!((said.occurred_at, said.received_at), (Some(at(0)), Some(at(1))));
}

#[test]
fn a_large_event_arrives_as_others_do_however_often() {
    // A deadline that even an unoptimised build keeps: it is the size that is tried here.
    let engine = Engine::new(Duration::from_secs(10), Config::default().memory_bytes).expect("the engine");
    let mut instance = instance(&Arc::new(engine), FIXTURE, Arc::new(|_, _| false));
    // The plugin fetches the whole text of each, and only logs it: 100 MB go through 16 MiB of memory.
    let large = "x".repeat(200_000);
    let outcome = digest(&mut instance, &wishes(&vec![large.as_str(); 500]));
    assert_eq!((outcome.events.len(), outcome.faults.len()), (0, 0), "{:?}", outcome.faults.first());
    assert_eq!(digest(&mut instance, &wishes(&["count"])).events.len(), 1);
}

#[test]
fn a_poisonous_event_is_skipped_and_the_others_count_once() {
    let mut instance = fixture();
    let batch = wishes(&["count", "write and trap", "count", "loop", "count", "hog", "count"]);
    let outcome = digest(&mut instance, &batch);
    let counts: Vec<_> = outcome.events.iter().map(|event| event.attributes["title"].as_str().expect("text")).collect();
    assert_eq!(counts, ["1", "2", "3", "4"]);
    let places: Vec<_> = outcome.faults.iter().map(|fault| fault.place).collect();
    assert_eq!(places, [1, 3, 5], "{:?}", outcome.faults);
    assert!(outcome.faults[0].reason.contains("as the event wished"), "{}", outcome.faults[0].reason);
    assert_eq!(instance.host().expect("a host").state.waiting(), [("count".to_owned(), Some(b"4".to_vec()))]);
}

#[test]
fn after_the_last_fault_allowed_the_rest_is_not_tried() {
    let mut instance = fixture();
    let batch = wishes(&["count", "write and trap", "count", "write and trap", "count", "write and trap"]);
    let outcome = instance.digest(&batch, &frame("fixture", at(1)), 2);
    assert_eq!((outcome.events.len(), outcome.faults.len(), outcome.handed), (2, 2, 4), "{outcome:?}");
    let rest = instance.digest(&batch[outcome.handed..], &frame("fixture", at(1)), 2);
    assert_eq!((rest.events.len(), rest.faults.len(), rest.handed), (1, 1, 2), "{rest:?}");
    assert_eq!(rest.faults[0].place, 1);
}

#[test]
fn an_endless_loop_is_stopped_and_leaves_a_working_plugin() {
    let mut instance = fixture();
    digest(&mut instance, &wishes(&["count"]));
    let began = Instant::now();
    assert_eq!(reason(&mut instance, "loop"), "it ran longer than 5.1ms");
    // Generous, because tests share the machine; the figure of the promise is measured by the benchmark.
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(digest(&mut instance, &wishes(&["count"])).events.len(), 1);
}

#[test]
fn limits_are_faults_with_a_reason() {
    // A deadline that even an unoptimised build keeps: it is not the limit that is tried here.
    let engine = Engine::new(Duration::from_secs(10), Config::default().memory_bytes).expect("the engine");
    let mut instance = instance(&Arc::new(engine), FIXTURE, Arc::new(|_, _| false));
    for (wish, part) in [
        ("hog", "more memory"),
        ("flood", "more than 64 answers"),
        ("large", ""),
        ("store", "more than 1048576 bytes"),
        ("unknown kind", "kind 0xffff"),
        ("forge", "kind 0x0c04"),
    ] {
        let reason = reason(&mut instance, wish);
        assert!(reason.contains(part), "{wish}: {reason}");
        assert!(instance.host().expect("a host").state.waiting().is_empty());
    }
}

#[test]
fn commands_have_stable_ids_and_old_causes_command_nothing() {
    let mut instance = fixture();
    let batch = wishes(&["nothing", "command"]);
    let fresh = instance.digest(&batch, &frame("fixture", at(60)), usize::MAX);
    assert_eq!(fresh.events[0].kind, Kind::CommandRequested);
    assert_eq!(fresh.events[0].attributes["command_id"], "fixture-2-0");
    assert_eq!(fresh.events[0].attributes["verb"], "reboot");
    let stale = instance.digest(&batch[1..], &frame("fixture", at(61)), usize::MAX);
    assert_eq!(stale.events[0].kind, Kind::CommandRefused);
    assert_eq!(stale.events[0].attributes["command_id"], "fixture-2-0");
    assert_eq!(stale.events[0].attributes["reason"], "stale");

    // Within one boot of the machine the age is measured, whatever the clock was set to meanwhile; across boots an event from
    // the future is of an age that nobody knows.
    let ran = i64::try_from(crate::clock::since_boot().as_millis()).expect("some years");
    for (boot_ms, received_at, kind) in [
        (Some(ran), at(-7200), Kind::CommandRequested),
        (Some(ran), at(7200), Kind::CommandRequested),
        (Some(ran - 61_000), at(0), Kind::CommandRefused),
        (Some(ran - 61_000), at(7200), Kind::CommandRefused),
        (None, at(1), Kind::CommandRefused),
    ] {
        let event = Event { received_at: Some(received_at), ..wish("command") };
        let cause = Arc::new(Stored { seq: 3, terminal_seq: 3, boot_ms, event, json: "{}".into() });
        let outcome = instance.digest(&[cause], &frame("fixture", at(0)), usize::MAX);
        assert_eq!(outcome.events[0].kind, kind, "{boot_ms:?} {received_at}");
    }

    // What a rule derived from an old event is as old as that.
    let derived = Event {
        rule: Some("other".to_owned()),
        occurred_at: Some(at(0)),
        received_at: Some(at(70)),
        ..wish("command")
    };
    let outcome = instance.digest(&[stored(9, derived)], &frame("fixture", at(71)), usize::MAX);
    assert_eq!(outcome.events[0].kind, Kind::CommandRefused);
}

#[test]
fn rules_cannot_answer_each_other_for_ever() {
    let mut instance = fixture();
    let mut event = wish("derive");
    for _ in 0..4 {
        let outcome = digest(&mut instance, &[stored(1, event)]);
        event = outcome.events.into_iter().next().expect("a derived event");
    }
    assert_eq!(event.attributes["hops"], 4);
    let outcome = digest(&mut instance, &[stored(1, event)]);
    assert!(outcome.faults[0].reason.contains("derive"), "{:?}", outcome.faults);
}

/// A module that imports one function, with an empty type.
fn importing(module: &str, name: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    let import = [&[1][..], &text(module), &text(name), &[0, 0]].concat();
    let size = [2, u8::try_from(import.len()).expect("short")];
    [&b"\0asm\x01\0\0\0"[..], &[1, 4, 1, 0x60, 0, 0], &size, &import].concat()
}

#[test]
fn what_is_no_plugin_is_refused_with_a_sentence() {
    let engine = engine();
    let refused = |bytes: &[u8]| load(&engine, bytes).err().expect("refused").to_string();
    let text = refused(b"fn on_event() {\n}");
    assert!(text.starts_with("it is not WebAssembly: it begins with `fn on_event() { }`"), "{text}");
    assert!(refused(b"").starts_with("it is not WebAssembly"));
    let foreign = refused(&importing("wasi_snapshot_preview1", "fd_write"));
    assert!(foreign.starts_with("it imports `wasi_snapshot_preview1`, which rules do not get"), "{foreign}");
    let newer = refused(&importing("vestibule:rule/host@9.0.0", "log"));
    assert!(newer.contains("`vestibule:rule/host@9.0.0`"), "{newer}");
    assert!(matches!(load(&engine, b"\0asm\x01\0\0\0").err(), Some(LoadError::NoRule(_))));
    assert!(matches!(load(&engine, &FIXTURE[..FIXTURE.len() / 2]).err(), Some(LoadError::CutOff(_))));
    assert!(matches!(load(&engine, &vec![0; (32 << 20) + 1]).err(), Some(LoadError::TooLarge(_))));
}

#[test]
fn a_component_loads_like_a_module() {
    let engine = engine();
    let component =
        wit_component::ComponentEncoder::default().module(FIXTURE).expect("a module").encode().expect("encodes");
    let plugin = load(&engine, &component).expect("loads");
    assert_eq!(plugin.name, "fixture-plugin");
    assert!(plugin.filter.wants("x", &wish("count")));
    assert!(plugin.filter.wants("x", &Event::new(Kind::DeviceFault)));
    assert!(!plugin.filter.wants("x", &Event::new(Kind::DeviceFault).severity(Severity::Warning)));
}

/// The number and name that a row of an SDK table begins with.
fn rows<'a>(text: &'a str, opening: &str) -> Vec<(u16, &'a str, &'a str)> {
    let table = text.split_once(opening).expect("the table").1;
    let table = table.split_once("\n}").expect("its end").0;
    let row = |line: &'a str| {
        let (_, rest) = line.split_once(" = ")?;
        let (number, rest) = rest.split_once(" \"")?;
        let (name, rest) = rest.split_once('"')?;
        let number = number.strip_prefix("0x").map_or_else(|| number.parse(), |hex| u16::from_str_radix(hex, 16));
        Some((number.expect("a number"), name, rest.trim()))
    };
    table.lines().filter_map(row).collect()
}

#[test]
fn the_sdk_knows_the_same_kinds_and_devices() {
    let sdk = include_str!("../../../sdk/src/kind.rs");
    let kinds = rows(sdk, "\nkinds! {");
    assert_eq!(kinds.len(), Kind::table().len());
    for ((number, name, rest), row) in kinds.into_iter().zip(Kind::table()) {
        assert_eq!((number, name), (row.code, row.name));
        assert_eq!(rest, format!("{:?} {:?}", row.severity, row.meaning));
        let constant = name.replace('.', "_").to_uppercase();
        assert!(sdk.contains(&format!("    {constant} = {number:#06x} ")), "{constant}");
    }
    let sdk = include_str!("../../../sdk/src/device.rs");
    let devices = rows(sdk, "\ndevices! {");
    assert_eq!(devices.len(), (1..0x100).filter(|code| Device::from_code(*code).is_some()).count());
    for (number, name, _) in devices {
        assert_eq!(name.parse().map(Device::code), Ok(number));
        assert!(sdk.contains(&format!("    {} = {number} ", name.to_uppercase())));
    }
    let sdk = include_str!("../../../sdk/src/component.rs");
    for number in 1..0x100 {
        let Some(component) = Component::from_code(number) else { continue };
        let constant = component.to_string().to_uppercase();
        assert!(sdk.contains(&format!("pub const {constant}: u16 = {number};")), "{constant}");
        assert!(sdk.contains(&format!("({constant}, \"{component}\")")), "{constant}");
    }
    for component in [Component::Cassette(1), Component::Hopper(1), Component::Supply(1)] {
        let name = component.to_string();
        assert!(sdk.contains(&format!("({}, \"{}\")", component.code() >> 8, name.trim_end_matches('1'))), "{name}");
    }
}

#[test]
fn wrong_settings_are_all_named() {
    let config = Config { bundled: vec!["cash-lo".to_owned()], deadline_ms: 0, memory_bytes: 1, ..Config::default() };
    let keys: Vec<_> = config.faults().into_iter().map(|fault| fault.0).collect();
    assert_eq!(keys, ["bundled", "deadline_ms", "memory_bytes"]);
    assert!(Config::default().faults().is_empty());
}
