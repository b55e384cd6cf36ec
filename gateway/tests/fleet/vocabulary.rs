//! The words in the schemas are those of the code's own tables.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde_json::{Value, json};
use vestibule::command::{Code, Source, State, Verb};
use vestibule::event::{Component, Device, Kind, Severity};
use vestibule::protocol::Protocol;

use crate::python::docs;

fn schema(name: &str) -> Value {
    let text = std::fs::read_to_string(docs("schema").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What stands there must be this; where it is not, this is what has to stand there.
fn is(name: &str, place: &str, words: Value) {
    let schema = schema(name);
    let found = schema.pointer(place).unwrap_or_else(|| panic!("{name} has no {place}"));
    assert!(*found == words, "{place} of docs/schema/{name} must be\n{words:#}");
}

#[test]
fn kinds_severities_devices_and_components_are_those_of_the_event() {
    let kinds = Kind::table().iter().map(|row| json!({ "const": row.name, "description": row.meaning }));
    is("event.json", "/$defs/kind/oneOf", kinds.collect());
    is("event.json", "/$defs/severity/enum", json!(Severity::ALL.map(Severity::name)));
    let all = |code: &u16| Device::from_code(*code);
    let devices: Vec<String> = (0..0x100).collect::<Vec<u16>>().iter().filter_map(all).map(|d| d.to_string()).collect();
    is("event.json", "/$defs/device/anyOf/0/enum", json!(devices));
    let singles = (0..0x100_u16).filter_map(Component::from_code).map(|component| json!(component.to_string()));
    is("event.json", "/$defs/component/anyOf/0/enum", singles.collect());
    let families: BTreeSet<String> = (0x100..=u16::MAX)
        .filter_map(Component::from_code)
        .map(|component| component.to_string().trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
        .collect();
    let pattern = families.iter().map(String::as_str).collect::<Vec<_>>().join("|");
    is("event.json", "/$defs/component/anyOf/1/pattern", json!(format!("^({pattern})[0-9]{{1,3}}$")));
    assert_eq!(Device::Other(0xfe).to_string(), "device_fe");
}

#[test]
fn protocols_are_those_that_are_spoken() {
    let listed = schema("event.json")["properties"]["protocol"]["enum"].clone();
    let listed: BTreeSet<&str> = listed.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let spoken: BTreeSet<&str> = Protocol::value_variants().iter().map(|protocol| protocol.name()).collect();
    assert_eq!(listed, spoken);
}

#[test]
fn verbs_states_sources_and_codes_are_those_of_commands() {
    is("command.json", "/$defs/verb/enum", json!(Verb::ALL.map(Verb::name)));
    is("result.json", "/$defs/state/enum", json!(State::ALL.map(State::name)));
    is("result.json", "/$defs/source/enum", json!([Source::Http, Source::Mqtt, Source::Rule].map(Source::name)));
    // The last three are of commands whose end nobody knows.
    let lost = ["connection_lost", "no_answer", "interrupted", "power_cut"];
    let codes: Vec<&str> = Code::ALL.map(Code::name).into_iter().chain(lost).collect();
    is("result.json", "/$defs/code/enum", json!(codes));
}
