//! Every scenario of every rule on its built wasm: the committed one, or those of the folder that
//! `VESTIBULE_PLUGIN_DIST` names. The SDK runs the same files natively.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::{Table, Value};

use super::TerminalFlags;
use super::instance::Instance;
use super::tests::{at, engine, frame, instance, stored};
use crate::event::{Event, Kind};
use crate::log::Stored;

fn plugins() -> PathBuf {
    // Tests run in the folder of their package.
    PathBuf::from("../plugins")
}

fn dist() -> PathBuf {
    std::env::var_os("VESTIBULE_PLUGIN_DIST").map_or_else(|| plugins().join("dist"), PathBuf::from)
}

fn read(path: &Path) -> Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The event of a scenario's row: the JSON form, with the kind's own severity where none is given.
fn event(mut row: Table) -> Event {
    row.remove("expect");
    row.remove("restart");
    let kind: Kind = row["kind"].as_str().expect("a kind").parse().expect("a known kind");
    row.entry("severity").or_insert_with(|| kind.severity().name().into());
    Event { received_at: Some(at(0)), ..row.try_into().expect("an event") }
}

/// The table form of an effect.
fn effect(event: &Event) -> Table {
    let attribute = |name: &str| event.attributes.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let mut table = Table::new();
    let mut put = |name: &str, value: &str| table.insert(name.to_owned(), value.into());
    match event.kind {
        Kind::AlertRaised => {
            put("raise", attribute("alert"));
            put("title", attribute("title"));
        }
        Kind::AlertCleared => drop(put("clear", attribute("alert"))),
        Kind::CommandRequested => drop(put("command", attribute("verb"))),
        kind => drop(put("emit", kind.name())),
    }
    put("severity", event.severity.name());
    put("detail", &event.detail);
    put("component", &event.component.map(|component| component.to_string()).unwrap_or_default());
    if let Some(arguments) = event.attributes.get("arguments") {
        table.insert("arguments".to_owned(), Value::try_from(arguments).expect("arguments"));
    }
    if !event.attributes.is_empty() {
        table.insert("attributes".to_owned(), Value::try_from(&event.attributes).expect("attributes"));
    }
    table
}

fn start(wasm: &[u8], scenario: &Table) -> Instance {
    let flag = |(terminal, flags): (&String, &Value)| -> Vec<(String, String)> {
        let flags = flags.as_array().expect("a list of flags");
        flags.iter().map(|flag| (terminal.clone(), flag.as_str().expect("a flag").to_owned())).collect()
    };
    let flags = scenario.get("flags").and_then(Value::as_table);
    let flags: BTreeSet<(String, String)> = flags.into_iter().flatten().flat_map(flag).collect();
    let flags: TerminalFlags = Arc::new(move |terminal, flag| flags.contains(&(terminal.to_owned(), flag.to_owned())));
    instance(&engine(), wasm, flags)
}

fn answer(instance: &mut Instance, events: &[Arc<Stored>]) -> Vec<Event> {
    let wanted: Vec<_> =
        events.iter().filter(|stored| instance.plugin().filter.wants("rule", &stored.event)).cloned().collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let outcome = instance.digest(&wanted, &frame("rule", at(1)), usize::MAX);
    assert!(outcome.faults.is_empty(), "{:?}", outcome.faults);
    outcome.events
}

fn run(wasm: &[u8], scenario: &Table, path: &Path) {
    let rows = scenario["event"].as_array().expect("events");
    let mut events = Vec::new();
    let mut answers = Vec::new();
    let mut one = start(wasm, scenario);
    for (number, row) in (1_u64..).zip(rows) {
        let row = row.as_table().expect("an event is a table");
        if row.get("restart").and_then(Value::as_bool) == Some(true) {
            one.restart();
        }
        events.push(stored(number, event(row.clone())));
        let got = answer(&mut one, &events[events.len() - 1..]);
        let expected = row.get("expect").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let effects: Vec<_> = got.iter().map(effect).collect();
        let holds = |(got, want): (&Table, &Value)| {
            want.as_table().expect("a table").iter().all(|(name, value)| got.get(name) == Some(value))
        };
        assert!(
            effects.len() == expected.len() && effects.iter().zip(expected).all(holds),
            "{}: event {number}: expected {expected:?}, the rule answered {effects:?}",
            path.display()
        );
        answers.extend(got);
    }
    // How the log is cut into batches changes nothing.
    assert_eq!(answer(&mut start(wasm, scenario), &events), answers, "{}: in one batch", path.display());
}

#[test]
fn scenarios_hold_on_the_built_rules() {
    let mut count = 0;
    for name in super::bundled::names() {
        let wasm = dist().join(format!("{name}.wasm"));
        let wasm = std::fs::read(&wasm).unwrap_or_else(|error| panic!("{}: {error}", wasm.display()));
        let folder = plugins().join(name);
        assert_eq!(read(&folder.join("plugin.toml"))["name"].as_str(), Some(name));
        assert_eq!(super::load::load(&engine(), &wasm).expect("loads").name, name);
        for entry in std::fs::read_dir(folder.join("scenarios")).expect("scenarios") {
            let path = entry.expect("an entry").path();
            run(&wasm, &read(&path), &path);
            count += 1;
        }
    }
    assert!(count >= super::bundled::names().count(), "every rule has a scenario");
}
