//! A device status to events: what happened, then the worst error severity, then the supplies from first to last.

use serde_json::Value;

use crate::event::{Component, Device, Event, Kind, Severity, State};
use crate::profile::Profile;
use crate::protocol::ndc::codes;
use crate::protocol::ndc::status::DeviceStatus;

/// The events that a device status means, in the order: transaction status, worst severity, supplies first to last.
///
/// A device that reports nothing but success gives no event; see [`good`] for what that is worth.
pub fn device_status(status: &DeviceStatus, profile: &Profile) -> Vec<Event> {
    let mut events = Vec::new();
    match status.device {
        Device::Power => events.push(about(status, profile, Kind::PowerRestart, "restarted")),
        Device::OperatorKeys => events.push(supervisor_keys(status, profile)),
        Device::Sensors => sensors(status, profile, &mut events),
        _ => events.extend(happened(status, profile)),
    }
    events.extend(worst_severity(status, profile));
    for (index, digit) in status.supplies.iter().flatten().enumerate() {
        events.extend(supply(profile, status.device, profile.supply(status.device, index), *digit));
    }
    if events.is_empty() && says_something(status) {
        let words = words(status).map_or_else(|| "status".to_owned(), str::to_owned);
        let kind = match (status.device, status.transaction_status) {
            (Device::Clock, Some('1' | '2')) => Kind::ClockFault,
            (Device::Encryptor, Some('1')) => Kind::SecurityEncryptorFault,
            _ => Kind::DeviceStatusRaw,
        };
        events.push(about(status, profile, kind, &words));
    }
    for event in &mut events {
        attributes(event, status, profile);
    }
    events
}

/// What a device status says is in order: supplies that are good, and a device without an error.
///
/// Not part of what happened; a fold over the terminal's state takes from it which conditions are over. Every event has
/// `state: cleared`, and counts only where the condition it clears is known.
pub fn good(status: &DeviceStatus, profile: &Profile) -> Vec<Event> {
    let mut events = Vec::new();
    let failed = happened(status, profile).is_some_and(|event| event.kind == Kind::DeviceFault);
    if !failed && status.severity.as_ref().is_some_and(|digits| digits.iter().all(|digit| *digit <= 1)) {
        events.push(about(status, profile, Kind::DeviceRecovered, "no error"));
    }
    for (index, digit) in status.supplies.iter().flatten().enumerate() {
        if *digit == 1 {
            events.push(supply_good(profile, status.device, profile.supply(status.device, index)));
        }
    }
    if let Some(bits) = &status.sensor_bits {
        for (name, kind) in SENSORS.iter().filter(|(name, _)| bits.get(name) == Some(&false)) {
            let words = format!("{} at rest", name.replace('_', " "));
            events.push(about(status, profile, *kind, &words).severity(Severity::Info));
        }
    }
    for event in &mut events {
        event.state = Some(State::Cleared);
    }
    events
}

/// Sensors of a full image, and the kind that says one is at rest: where it has none of its own, the kind that raised it.
const SENSORS: [(&str, Kind); 4] = [
    ("vibration_heat", Kind::SecurityVibration),
    ("door", Kind::SecurityDoorClosed),
    ("silent_signal", Kind::SecuritySilentAlarm),
    ("electronics_enclosure", Kind::SecurityEnclosureOpen),
];

/// The event that one supply digit means: 2 low, 3 out, 4 overfill; the others say nothing.
pub fn supply(profile: &Profile, device: Device, component: Component, digit: u8) -> Option<Event> {
    let (kind, words) = match digit {
        2 => (Kind::SupplyLow, "low"),
        3 => (Kind::SupplyOut, "out"),
        4 => (Kind::SupplyOverfill, "overfull"),
        _ => return None,
    };
    let severity = kind.severity_of(Some(device), Some(component));
    Some(supply_event(profile, kind, device, component, words).severity(severity))
}

/// The event of a supply that is good.
pub fn supply_good(profile: &Profile, device: Device, component: Component) -> Event {
    supply_event(profile, Kind::SupplyOk, device, component, "good")
}

fn supply_event(profile: &Profile, kind: Kind, device: Device, component: Component, words: &str) -> Event {
    let part = component.to_string().replace('_', " ");
    Event::new(kind)
        .device(device)
        .component(component)
        .detail(format!("{}: {part} {words}", profile.device_words(device)))
}

/// What the transaction status says happened.
fn happened(status: &DeviceStatus, profile: &Profile) -> Option<Event> {
    let code = status.transaction_status?;
    let (kind, severity) = match (status.device, code) {
        (Device::CardReader | Device::SecondaryCardReader, '1') => (Kind::CardCaptured, None),
        (Device::CardReader | Device::SecondaryCardReader, '2') => (Kind::CardEjectFailed, None),
        (Device::CashHandler | Device::CashHandler0 | Device::CashHandler1, code) => match code {
            '1' => (Kind::DispenseShort, None),
            '2' | '4' => (Kind::DispenseFailed, None),
            '3' => (Kind::DispenseUncertain, None),
            '5' => (Kind::CashRetracted, None),
            _ => return None,
        },
        (Device::ReceiptPrinter | Device::JournalPrinter | Device::StatementPrinter, '1') => {
            (Kind::DeviceFault, Some(Severity::Warning))
        }
        (Device::JournalPrinter, '<') | (Device::CoinDispenser, '=') => (Kind::SecurityTamper, None),
        _ => return None,
    };
    let event = about(status, profile, kind, words(status).unwrap_or_default());
    Some(match severity {
        Some(severity) => event.severity(severity),
        None => event,
    })
}

fn worst_severity(status: &DeviceStatus, profile: &Profile) -> Option<Event> {
    let (kind, words) = match status.worst_severity() {
        4 => (Kind::DeviceFault, "fatal error"),
        3 => (Kind::DeviceSuspended, "suspended"),
        2 => (Kind::DeviceWarning, "warning"),
        _ => return None,
    };
    let words = match (&status.m_status, meaning(status, profile)) {
        (Some(m_status), Some(meaning)) => format!("{words}, M-status {m_status}: {meaning}"),
        (Some(m_status), None) => format!("{words}, M-status {m_status}"),
        (None, _) => words.to_owned(),
    };
    let event = about(status, profile, kind, &words);
    Some(event.attribute("error_severity", status.severity.clone().unwrap_or_default()))
}

/// What the M-status means, where the profile knows.
fn meaning<'p>(status: &DeviceStatus, profile: &'p Profile) -> Option<&'p str> {
    profile.m_status(status.device, status.m_status.as_deref()?)
}

fn supervisor_keys(status: &DeviceStatus, profile: &Profile) -> Event {
    let keys = status.operator_menu_keys.clone().unwrap_or_default();
    let words = format!("menu keys {keys} pressed");
    about(status, profile, Kind::ModeSupervisorKey, &words).attribute("operator_menu_keys", keys)
}

fn sensors(status: &DeviceStatus, profile: &Profile, events: &mut Vec<Event>) {
    let mut push = |kind, words: &str| events.push(about(status, profile, kind, words));
    match status.supervisor_mode {
        Some(true) => push(Kind::ModeSupervisorEntered, "supervisor mode entered"),
        Some(false) => push(Kind::ModeSupervisorExited, "supervisor mode left"),
        None => {}
    }
    let active = [
        ("supervisor_mode", Kind::ModeSupervisorEntered, "supervisor mode is on"),
        ("vibration_heat", Kind::SecurityVibration, "vibration or heat"),
        ("door", Kind::SecurityDoorOpen, "door open"),
        ("silent_signal", Kind::SecuritySilentAlarm, "silent signal"),
        ("electronics_enclosure", Kind::SecurityEnclosureOpen, "electronics enclosure open"),
    ];
    for (sensor, kind, words) in active {
        if status.sensor(sensor) {
            push(kind, words);
        }
    }
}

/// Whether a status that fits no rule still says more than that all is well.
fn says_something(status: &DeviceStatus) -> bool {
    match status.device {
        Device::Other(_) => true,
        // The README of the samples settles what these say; everything else they send is routine.
        Device::CardReader
        | Device::CashHandler
        | Device::ReceiptPrinter
        | Device::JournalPrinter
        | Device::StatementPrinter => status.severity_raw.is_some() || status.supplies_raw.is_some(),
        Device::Sensors => status.sensor_bits.is_none(),
        _ => {
            status.transaction_status.is_some_and(|code| code != '0')
                || status.severity_raw.is_some()
                || status.supplies_raw.is_some()
        }
    }
}

fn words(status: &DeviceStatus) -> Option<&'static str> {
    codes::transaction_status(status.device, status.transaction_status?)
}

fn about(status: &DeviceStatus, profile: &Profile, kind: Kind, words: &str) -> Event {
    Event::new(kind).device(status.device).detail(format!("{}: {words}", profile.device_words(status.device)))
}

/// What every event of a device status carries of it.
fn attributes(event: &mut Event, status: &DeviceStatus, profile: &Profile) {
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            event.attributes.insert(name.to_owned(), value);
        }
    };
    set("dig", Some(Value::from(status.dig.to_string())));
    set("transaction_status", status.transaction_status.map(|code| Value::from(code.to_string())));
    set("notes_dispensed", status.notes_dispensed.clone().map(Value::from));
    let worth = status.notes_dispensed.as_deref().and_then(|notes| profile.worth(notes));
    set("value_dispensed", worth.and_then(|money| serde_json::to_value(money).ok()));
    set("m_status", status.m_status.clone().map(Value::from));
    set("m_status_meaning", meaning(status, profile).map(Value::from));
    set("m_data", status.m_data.clone().filter(|data| !data.is_empty()).map(Value::from));
    set("config_id", status.config_id.clone().map(Value::from));
    set("status_data", status.status_data.clone().map(Value::from));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ndc::status::parse;

    fn events(fields: &str, severity: &str, supplies: &str) -> Vec<String> {
        let profile = Profile::builtin("ncr-selfserv-ndc").expect("built in");
        let status = parse(fields, Some(severity), Some(""), Some(supplies)).expect("a status");
        device_status(&status, &profile).iter().map(Event::to_string).collect()
    }

    #[test]
    fn what_happened_comes_first_then_the_worst_then_the_supplies() {
        assert_eq!(
            events("E300000000", "02410", "42310"),
            [
                "dispense.uncertain:critical",
                "device.fault:critical",
                "supply.overfill:major:reject_bin",
                "supply.low:warning:cassette_1",
                "supply.out:critical:cassette_2"
            ]
        );
        assert_eq!(events("D0", "3", "4"), ["device.suspended:major", "supply.overfill:major:capture_bin"]);
        assert_eq!(events("F3", "0", "4"), ["supply.overfill:major:deposit_bin"]);
        assert_eq!(
            events("V1", "2", "1132"),
            [
                "device.fault:warning",
                "device.warning:warning",
                "supply.out:major:print_head",
                "supply.low:warning:knife"
            ]
        );
        assert_eq!(events("q0", "1", "12"), ["supply.low:warning:supply_2"]);
        assert!(events("E000000000", "00000", "11111").is_empty());
    }

    #[test]
    fn a_status_nobody_understands_is_not_silent() {
        assert_eq!(events("!7", "", ""), ["device.status_raw:info"]);
        assert_eq!(events("!7", "2", ""), ["device.warning:warning"]);
        assert_eq!(events("P3x", "", ""), ["device.status_raw:info"]);
        assert_eq!(events("w3", "", ""), ["device.status_raw:info"]);
        assert_eq!(events("A1", "", ""), ["clock.fault:warning"]);
        assert_eq!(events("Y=", "", ""), ["security.tamper:critical"]);
    }

    #[test]
    fn the_sensors() {
        assert_eq!(events("P21", "", ""), ["mode.supervisor_entered:warning"]);
        assert_eq!(events("P20", "", ""), ["mode.supervisor_exited:info"]);
        assert_eq!(
            events("P1111110000000", "", ""),
            [
                "mode.supervisor_entered:warning",
                "security.vibration:critical",
                "security.door_open:major",
                "security.silent_alarm:critical",
                "security.enclosure_open:major"
            ]
        );
        assert!(events("P1000000011111", "", "").is_empty());
    }

    #[test]
    fn the_sentence_and_the_attributes() {
        let profile = Profile::builtin("ncr-selfserv-ndc").expect("built in");
        let status = parse("E100040000", Some("00400"), Some("0301"), Some("10200")).expect("a status");
        let events = device_status(&status, &profile);
        let details: Vec<&str> = events.iter().map(|event| event.detail.as_str()).collect();
        assert_eq!(
            details,
            ["cash handler: short dispense", "cash handler: fatal error, M-status 03", "cash handler: cassette 2 low"]
        );
        assert_eq!(events[2].attributes["notes_dispensed"], serde_json::json!([0, 4, 0, 0]));
        assert_eq!(events[2].attributes["m_status"], "03");
        assert_eq!(events[2].attributes.get("m_status_meaning"), None);

        let mut profile = profile;
        profile.m_status.entry(Device::CashHandler).or_default().insert("03".to_owned(), "notes skewed".to_owned());
        let events = device_status(&status, &profile);
        assert_eq!(events[1].detail, "cash handler: fatal error, M-status 03: notes skewed");
        assert_eq!(events[2].attributes["m_status_meaning"], "notes skewed");
    }

    #[test]
    fn what_is_in_order_clears() {
        let profile = Profile::builtin("ncr-selfserv-ndc").expect("built in");
        let status = parse("E000000000", Some("00000"), None, Some("01210")).expect("a status");
        let cleared: Vec<String> = good(&status, &profile).iter().map(Event::to_string).collect();
        assert_eq!(cleared, ["device.recovered:info", "supply.ok:info:cassette_1", "supply.ok:info:cassette_3"]);
        let failed = parse("G1", Some("0"), None, Some("3111")).expect("a status");
        assert!(good(&failed, &profile).iter().all(|event| event.kind != Kind::DeviceRecovered), "it has just failed");
    }

    #[test]
    fn sensors_at_rest_clear_what_they_raised() {
        let profile = Profile::builtin("ncr-selfserv-ndc").expect("built in");
        let status = parse("P1010000000000000000", None, None, None).expect("a status");
        let cleared = good(&status, &profile);
        assert!(cleared.iter().all(|event| event.state == Some(State::Cleared)));
        let cleared: Vec<String> = cleared.iter().map(Event::to_string).collect();
        assert_eq!(
            cleared,
            ["security.door_closed:info", "security.silent_alarm:info", "security.enclosure_open:info"],
            "the vibration sensor is not at rest"
        );
    }
}
