//! Storage units: what is wrong with one, what is in it, and what it has counted.

use crate::event::{Device, Event, Kind, Severity};
use crate::protocol::xfs4iot::{Message, Unit};

/// What is wrong with the units, then what they lack, first to last; and what they have counted, where that is the point.
///
/// A `threshold` that is passed the other way is news, too.
pub(super) fn events(message: &Message, threshold: bool) -> Vec<Event> {
    let mut events: Vec<Event> = counted(message).into_iter().collect();
    events.extend(message.units.iter().filter_map(|unit| condition(message, unit)));
    for unit in &message.units {
        match supply(unit) {
            Some((Kind::SupplyOk, ..)) if !threshold => {}
            Some((kind, severity, words)) => events.push(about(message, unit, kind, words).severity(severity)),
            None => {}
        }
    }
    events
}

/// Units that work, are in their place, and hold enough.
pub(super) fn good(message: &Message) -> Vec<Event> {
    let mut good = Vec::new();
    for unit in &message.units {
        if unit.status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case("ok")) && unit.operation.is_none() {
            good.push(about(message, unit, Kind::CassetteInserted, "in place"));
            good.push(about(message, unit, Kind::DeviceRecovered, "works"));
        }
        if let Some((Kind::SupplyOk, _, words)) = supply(unit) {
            good.push(about(message, unit, Kind::SupplyOk, words));
        }
    }
    good
}

/// What `Storage.StorageErrorEvent` says of the units it names.
pub(super) fn failure(message: &Message) -> Vec<Event> {
    let Some(failure) = message.fact("failure") else { return Vec::new() };
    let (kind, severity) = match failure.to_ascii_lowercase().as_str() {
        "empty" => (Kind::SupplyOut, Severity::Critical),
        "full" => (Kind::SupplyOverfill, Severity::Major),
        "notconfigured" | "config" => (Kind::DeviceWarning, Severity::Warning),
        _ => (Kind::DeviceFault, Severity::Major),
    };
    let words = format!("storage failure: {failure}");
    if message.units.is_empty() {
        return vec![Event::new(kind).severity(severity).detail(words)];
    }
    message.units.iter().map(|unit| about(message, unit, kind, &words).severity(severity)).collect()
}

/// The counters, where the message was sent for their sake.
fn counted(message: &Message) -> Option<Event> {
    let name = message.name.to_ascii_lowercase();
    let sent_for_them = matches!(name.as_str(), "storage.countschangedevent" | "storage.getstorage");
    if !sent_for_them || message.units.iter().all(|unit| unit.counts.is_empty()) {
        return None;
    }
    let mut event = Event::new(Kind::CountersReported).detail("counts of the storage units");
    event.device = message.units.iter().find_map(Unit::device).or(message.device);
    for unit in &message.units {
        let counts: serde_json::Map<_, _> =
            unit.counts.iter().map(|(path, count)| (path.clone(), (*count).into())).collect();
        event.attributes.insert(unit.name.clone(), counts.into());
    }
    Some(event)
}

fn condition(message: &Message, unit: &Unit) -> Option<Event> {
    let (kind, severity, words) = match unit.status.as_deref().unwrap_or("ok").to_ascii_lowercase().as_str() {
        "missing" => (Kind::CassetteMissing, Severity::Major, "missing"),
        "inoperative" => (Kind::DeviceFault, Severity::Major, "inoperative"),
        "manipulated" => (Kind::SecurityCassetteManipulated, Severity::Critical, "manipulated"),
        "notconfigured" => (Kind::DeviceWarning, Severity::Warning, "not configured"),
        _ if unit.operation.is_some() => (Kind::DeviceFault, Severity::Major, "does not work in one direction"),
        _ => return None,
    };
    Some(about(message, unit, kind, words).severity(severity))
}

/// How full a unit is, where that matters: a bin that nothing is given out of may be empty, and a cassette that nothing
/// is put into may be full.
fn supply(unit: &Unit) -> Option<(Kind, Severity, &'static str)> {
    let gives = unit.gives != Some(false) || unit.takes != Some(true);
    let takes = unit.takes != Some(false) || unit.gives != Some(true);
    let cash = unit.holds.as_deref().is_none_or(|holds| holds == "cash");
    Some(match unit.replenishment.as_deref()?.to_ascii_lowercase().as_str() {
        "low" if gives => (Kind::SupplyLow, Severity::Warning, "low"),
        "empty" if gives && cash => (Kind::SupplyOut, Severity::Critical, "empty"),
        "empty" if gives && !matches!(unit.holds.as_deref(), Some("card" | "printer")) => {
            (Kind::SupplyOut, Severity::Major, "empty")
        }
        "high" if takes => (Kind::SupplyOverfill, Severity::Warning, "nearly full"),
        "full" if takes => (Kind::SupplyOverfill, Severity::Major, "full"),
        "ok" | "low" | "empty" | "high" | "full" => (Kind::SupplyOk, Severity::Info, "good"),
        _ => return None,
    })
}

fn about(message: &Message, unit: &Unit, kind: Kind, words: &str) -> Event {
    let mut event = Event::new(kind).detail(format!("{} {words}", unit.name));
    event.device = Some(unit.device().or(message.device).unwrap_or(Device::CashHandler));
    event.component = unit.component();
    event.attribute("unit", unit.name.clone())
}
