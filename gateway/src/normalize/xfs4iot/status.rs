//! The readings of a status: which are not in order, which are, and which changes for the better are news.

use super::device_of;
use crate::event::{Component, Device, Event, Kind, Severity};
use crate::protocol::xfs4iot::Message;

/// What one reading says.
#[derive(Clone, Copy)]
enum Says {
    /// Something is not in order.
    Bad(Kind, Severity),
    /// It is in order: this kind ends what a bad reading began.
    Good(Kind),
    /// Neither.
    Nothing,
}

struct Reading {
    says: Says,
    device: Option<Device>,
    component: Option<Component>,
    words: String,
    path: String,
    value: String,
}

impl Reading {
    fn event(&self, kind: Kind, severity: Severity) -> Event {
        let mut event = Event::new(kind).severity(severity).detail(self.words.clone());
        (event.device, event.component) = (self.device, self.component);
        event.attribute("property", self.path.clone()).attribute("value", self.value.clone())
    }
}

/// What is not in order; of two readings that say the same of the same part, the first.
pub(super) fn events(message: &Message) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for reading in readings(message) {
        let Says::Bad(kind, severity) = reading.says else { continue };
        let event = reading.event(kind, severity);
        let known = |known: &Event| {
            known.kind == kind && known.component == event.component
                // That of the device itself and that of its interface are one.
                && (known.device == event.device || kind == Kind::SecuritySkimmingSuspected)
        };
        if !events.iter().any(known) {
            events.push(event);
        }
    }
    events.sort_by_key(|event| event.kind.family() == "supply");
    events
}

/// What is in order, and of no part that another reading of this message complains about.
pub(super) fn good(message: &Message) -> Vec<Event> {
    let bad = events(message);
    let readings = readings(message).into_iter();
    let good = readings.filter_map(|reading| match reading.says {
        Says::Good(kind) => Some(reading.event(kind, Severity::Info)),
        Says::Bad(..) | Says::Nothing => None,
    });
    let mut kept: Vec<Event> = Vec::new();
    for event in good {
        let same = |other: &Event| other.device == event.device && other.component == event.component;
        let complained = bad.iter().any(|bad| same(bad) && bad.kind.family() == event.kind.family());
        if !complained && !kept.iter().any(|kept| same(kept) && kept.kind == event.kind) {
            kept.push(event);
        }
    }
    // A device that is online is there again.
    let back = kept.iter().find(|event| is_of_the_device(event)).cloned();
    kept.extend(back.map(|event| Event { kind: Kind::DeviceRemoved, ..event }));
    kept
}

/// Whether an event is about the reading of a device as a whole.
fn is_of_the_device(event: &Event) -> bool {
    event.attributes.get("property").is_some_and(|path| path == "common.device")
}

/// Of a change, what is in order again and worth saying even to who does not know that it was not.
pub(super) fn news(message: &Message) -> Vec<Event> {
    let worth = |event: &Event| match event.kind {
        Kind::DeviceRecovered => is_of_the_device(event),
        Kind::SecurityDoorClosed | Kind::ModeSupervisorExited | Kind::SupplyOk => true,
        _ => false,
    };
    good(message).into_iter().filter(worth).collect()
}

fn readings(message: &Message) -> Vec<Reading> {
    let read = |(path, value): &(String, String)| reading(message, path, value);
    message.readings.iter().filter_map(read).collect()
}

fn reading(message: &Message, path: &str, value: &str) -> Option<Reading> {
    let lower = path.to_ascii_lowercase();
    let interface = lower.split('.').next().unwrap_or_default();
    // `paper.upper` is about paper, `positions.0.shutter` about a shutter.
    let within: Vec<&str> = lower.split('.').skip(1).filter(|step| step.parse::<u16>().is_err()).collect();
    let property = match within.as_slice() {
        [collection @ ("paper" | "toner" | "ink"), ..] => collection,
        [.., last] => last,
        [] => return None,
    };
    let value_lower = value.to_ascii_lowercase();
    let (says, device, component) = match interface {
        "common" => (common(property, &value_lower), None, None),
        "auxiliaries" => auxiliaries(&within, &value_lower),
        "printer" => {
            let component = match *property {
                "paper" => Some(Component::Paper),
                "toner" | "ink" => Some(Component::Ribbon),
                _ => None,
            };
            let which = match message.device {
                Some(known @ (Device::JournalPrinter | Device::StatementPrinter | Device::Passbook)) => known,
                _ => Device::ReceiptPrinter,
            };
            (printer(property, &value_lower), Some(which), component)
        }
        "vendormode" => (vendor_mode(property, &value_lower), None, None),
        "storage" => return None,
        other => {
            let component = (*property == "shutter").then_some(Component::Shutter);
            (device(other, property, &value_lower), device_of(other), component)
        }
    };
    if matches!(says, Says::Nothing) {
        return None;
    }
    let device = device.or(message.device);
    let of = device.map_or_else(|| interface.to_owned(), |device| device.to_string().replace('_', " "));
    let words = format!("{of}: {} {value}", property.replace('_', " "));
    Some(Reading { says, device, component, words, path: path.to_owned(), value: value.to_owned() })
}

const FAULT: Says = Says::Bad(Kind::DeviceFault, Severity::Major);
const WARNING: Says = Says::Bad(Kind::DeviceWarning, Severity::Warning);

fn common(property: &str, value: &str) -> Says {
    match (property, value) {
        ("device", "online") => Says::Good(Kind::DeviceRecovered),
        ("device", "hardwareerror") => Says::Bad(Kind::DeviceFault, Severity::Critical),
        ("device", "offline" | "poweroff") => FAULT,
        ("device", "nodevice") => Says::Bad(Kind::DeviceRemoved, Severity::Warning),
        ("device", "usererror") => WARNING,
        ("device", "fraudattempt") => Says::Bad(Kind::SecurityFraudAttempt, Severity::Critical),
        ("device", "potentialfraud") | ("antifraudmodule", "devicedetected") => {
            Says::Bad(Kind::SecuritySkimmingSuspected, Severity::Critical)
        }
        ("antifraudmodule", "inoperable") | ("deviceposition", "notinposition") => WARNING,
        _ => Says::Nothing,
    }
}

fn printer(property: &str, value: &str) -> Says {
    match (property, value) {
        ("paper" | "toner" | "ink", "full") => Says::Good(Kind::SupplyOk),
        ("paper" | "toner" | "ink", "low") => Says::Bad(Kind::SupplyLow, Severity::Warning),
        ("paper" | "toner" | "ink", "out") => Says::Bad(Kind::SupplyOut, Severity::Major),
        ("paper" | "media", "jammed") => FAULT,
        ("lamp", "fading" | "inop") => WARNING,
        _ => Says::Nothing,
    }
}

fn vendor_mode(property: &str, value: &str) -> Says {
    match (property, value) {
        ("service", "active") => Says::Bad(Kind::ModeSupervisorEntered, Severity::Warning),
        ("service", "inactive") => Says::Good(Kind::ModeSupervisorExited),
        _ => Says::Nothing,
    }
}

/// Card reader, cash, cheques, encryptor, camera and power: modules that work or do not.
fn device(interface: &str, property: &str, value: &str) -> Says {
    match (interface, property, value) {
        (_, "shutter", "closed" | "open") => Says::Good(Kind::DeviceRecovered),
        (_, "shutter", jammed) if jammed.starts_with("jammed") => FAULT,
        (_, "media" | "transport" | "transportstate", "jammed" | "inoperative" | "inop") => FAULT,
        ("cardreader", _, "inoperable" | "hardwareerror") => FAULT,
        ("cashmanagement" | "check", "dispenser" | "acceptor", "stop") => FAULT,
        ("cashmanagement" | "check", "dispenser" | "acceptor", "attention") => WARNING,
        ("cashacceptor", "banknotereader", "inoperable") => FAULT,
        ("cashacceptor", "dropbox", "true") => WARNING,
        ("keymanagement", "encryptionstate", "notinitialized" | "undefined") => {
            Says::Bad(Kind::SecurityEncryptorFault, Severity::Critical)
        }
        ("keymanagement", "encryptionstate", "notready") => WARNING,
        ("camera", "camera", "inoperative") => FAULT,
        ("camera", "media", "full") => WARNING,
        ("banknoteneutralization", _, "fault" | "faulty" | "error") => FAULT,
        ("banknoteneutralization", _, "neutralizationtriggered" | "triggered" | "activated") => {
            Says::Bad(Kind::SecurityTamper, Severity::Critical)
        }
        ("powermanagement", "powerinstatus", "nopower") => WARNING,
        ("powermanagement", "batterystatus", "low" | "critical" | "failure") => WARNING,
        _ => Says::Nothing,
    }
}

fn auxiliaries(within: &[&str], value: &str) -> (Says, Option<Device>, Option<Component>) {
    let property = within.first().copied().unwrap_or_default();
    let alarm = |kind: Kind| match value {
        "on" => Says::Bad(kind, Severity::Critical),
        "off" => Says::Good(kind),
        _ => Says::Nothing,
    };
    match property {
        "operatorswitch" => {
            let says = match value {
                "supervisor" | "maintenance" => Says::Bad(Kind::ModeSupervisorEntered, Severity::Warning),
                "run" => Says::Good(Kind::ModeSupervisorExited),
                _ => Says::Nothing,
            };
            (says, Some(Device::Sensors), None)
        }
        "tampersensor" | "internaltampersensor" | "inttampersensor" => {
            (alarm(Kind::SecurityTamper), Some(Device::Sensors), None)
        }
        "seismicsensor" | "heatsensor" => (alarm(Kind::SecurityVibration), Some(Device::Sensors), None),
        "vandalshield" => {
            let says = match value {
                "jammed" => FAULT,
                "tampered" => Says::Bad(Kind::SecurityTamper, Severity::Critical),
                _ => Says::Nothing,
            };
            (says, Some(Device::Sensors), None)
        }
        "ups" => {
            let low = within.get(1).is_some_and(|part| matches!(*part, "low" | "engaged" | "powering"));
            let says = if low && value == "true" { WARNING } else { Says::Nothing };
            (says, Some(Device::Ups), None)
        }
        door if door.contains("door") => {
            let says = match value {
                "open" => Says::Bad(Kind::SecurityDoorOpen, Severity::Major),
                "closed" | "locked" | "bolted" => Says::Good(Kind::SecurityDoorClosed),
                "tampered" => Says::Bad(Kind::SecurityTamper, Severity::Critical),
                _ => Says::Nothing,
            };
            let safe = if door.contains("safe") { Component::Safe } else { Component::Cabinet };
            (says, Some(Device::Sensors), Some(safe))
        }
        _ => (Says::Nothing, None, None),
    }
}
