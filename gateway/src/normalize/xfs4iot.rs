//! XFS4IoT messages to events.
//!
//! Commands, acknowledgements and completions mean none, unless one says that something was refused, failed, or is in a
//! state that is not in order. What is in order comes by [`good`]; of a *change* of status, being in order again is news.

mod status;
mod storage;

use crate::event::{Component, Device, Event, Kind, Severity, State};
use crate::protocol::xfs4iot::{Message, Type, device_of};

/// The events that a message means, in the order: what happened, the worst of a device, supplies first to last.
pub(super) fn events(message: &Message) -> Vec<Event> {
    let name = message.name.to_ascii_lowercase();
    let mut events = match message.r#type {
        Type::Command => Vec::new(),
        Type::Acknowledge => acknowledged(message),
        Type::Completion => completed(message, &name),
        Type::Event | Type::Unsolicited => happened(message, &name),
    };
    for event in &mut events {
        event.device = event.device.or(message.device);
        event.attributes.insert("name".to_owned(), message.name.clone().into());
    }
    events
}

/// What a message says is in order.
pub(super) fn good(message: &Message) -> Vec<Event> {
    let mut good = status::good(message);
    good.extend(storage::good(message));
    if let ("closed" | "open", "cashmanagement.shutterstatuschangedevent") =
        (message.fact("shutter").unwrap_or_default(), message.name.to_ascii_lowercase().as_str())
    {
        good.push(Event::new(Kind::DeviceRecovered).component(Component::Shutter).detail("shutter works"));
    }
    for event in &mut good {
        event.device = event.device.or(message.device);
        event.state = Some(State::Cleared);
    }
    good
}

fn acknowledged(message: &Message) -> Vec<Event> {
    let Some(status) = message.status.clone().flatten().filter(|status| !status.eq_ignore_ascii_case("ok")) else {
        return Vec::new();
    };
    let event = Event::new(Kind::ProtocolCommandReject).detail(format!("{} refused: {status}", message.name));
    vec![event.attribute("status", status)]
}

fn completed(message: &Message, name: &str) -> Vec<Event> {
    let code = message.completion_code.as_deref().unwrap_or("success");
    let (kind, severity) = match code.to_ascii_lowercase().as_str() {
        "success" => {
            let mut events = status::events(message);
            events.extend(storage::events(message, false));
            return events;
        }
        "hardwareerror" => (Kind::DeviceFault, Severity::Critical),
        "internalerror" => (Kind::DeviceFault, Severity::Major),
        "devicenotready" => (Kind::DeviceWarning, Severity::Warning),
        "fraudattempt" => (Kind::SecurityFraudAttempt, Severity::Critical),
        "commanderrorcode" if name.starts_with("cashdispenser.dispense") || name == "cashdispenser.present" => {
            (Kind::DispenseFailed, Severity::Major)
        }
        // A customer who waits too long or changes his mind is no fault, and what a command's own code means is not
        // known here.
        "timeout" | "canceled" | "cancelled" | "usererror" | "commanderrorcode" => return Vec::new(),
        _ => (Kind::ProtocolCommandReject, Severity::Warning),
    };
    let event = Event::new(kind).severity(severity).detail(format!("{} ended with {code}", message.name));
    let mut event = event.attribute("completion_code", code);
    if let Some(error) = message.fact("error_code") {
        event = event.attribute("error_code", error);
    }
    vec![event]
}

/// Events whose name says everything.
const NAMED: [(&str, Kind, &str); 24] = [
    ("cardreader.mediainsertedevent", Kind::CardInserted, "card inserted"),
    ("cardreader.mediaremovedevent", Kind::CardTaken, "card taken"),
    ("cardreader.mediaretainedevent", Kind::CardCaptured, "card captured"),
    ("cardreader.invalidmediaevent", Kind::CardReadError, "no card that can be read"),
    ("cashmanagement.itemstakenevent", Kind::CashTaken, "notes taken"),
    ("cashmanagement.itemspresentedevent", Kind::CashPresented, "notes presented"),
    ("cashmanagement.itemsinsertedevent", Kind::CashInserted, "notes inserted"),
    ("cashmanagement.incompleteretractevent", Kind::CashRetracted, "notes retracted in part"),
    ("cashdispenser.itemstakenevent", Kind::CashTaken, "notes taken"),
    ("cashdispenser.itemspresentedevent", Kind::CashPresented, "notes presented"),
    ("cashdispenser.incompletedispenseevent", Kind::DispenseShort, "short dispense"),
    ("cashacceptor.itemstakenevent", Kind::CashTaken, "notes taken"),
    ("cashacceptor.itemspresentedevent", Kind::CashPresented, "notes presented"),
    ("cashacceptor.itemsinsertedevent", Kind::CashInserted, "notes inserted"),
    ("cashacceptor.subcashinevent", Kind::CashStacked, "notes stacked"),
    ("cashacceptor.inputrefuseevent", Kind::CashRefused, "notes refused"),
    ("cashmanagement.noteerrorevent", Kind::DeviceWarning, "notes could not be identified or moved"),
    ("vendormode.modeenteredevent", Kind::ModeSupervisorEntered, "vendor mode entered"),
    ("vendormode.modeexitedevent", Kind::ModeSupervisorExited, "vendor mode left"),
    ("keymanagement.illegalkeyaccessevent", Kind::SecurityKeyEvent, "a key was used that must not be"),
    ("keymanagement.initializedevent", Kind::SecurityKeyEvent, "the encryptor was initialised"),
    ("keymanagement.certificatechangeevent", Kind::SecurityKeyEvent, "the encryptor's certificate changed"),
    ("printer.mediarejectedevent", Kind::DeviceWarning, "paper rejected"),
    ("printer.nomediaevent", Kind::DeviceWarning, "no paper in place"),
];

/// Events that are routine: steps of a command, and what a person types.
const ROUTINE: [&str; 22] = [
    "cardreader.insertcardevent",
    "cardreader.trackdetectedevent",
    "cardreader.emvclessreadstatusevent",
    "cashacceptor.insertitemsevent",
    "cashdispenser.delayeddispenseevent",
    "cashdispenser.startdispenseevent",
    "cashmanagement.infoavailableevent",
    "common.nonceclearedevent",
    "keymanagement.dukptksnevent",
    "powermanagement.powersavechangeevent",
    "printer.definitionloadedevent",
    "printer.fielderrorevent",
    "printer.fieldwarningevent",
    "printer.mediainsertedevent",
    "printer.mediapresentedevent",
    "printer.mediapresentedunsolicitedevent",
    "printer.mediatakenevent",
    "servicepublisher.servicedetailevent",
    "vendorapplication.interfacechangedevent",
    "vendorapplication.vendorappexitedevent",
    "vendormode.entermoderequestevent",
    "vendormode.exitmoderequestevent",
];

fn happened(message: &Message, name: &str) -> Vec<Event> {
    if name == "common.statuschangedevent" {
        let mut events = status::events(message);
        events.extend(status::news(message));
        return events;
    }
    if name.starts_with("storage.") && (!message.units.is_empty() || message.fact("failure").is_some()) {
        let threshold = name == "storage.storagethresholdevent";
        let mut events = storage::failure(message);
        events.extend(storage::events(message, threshold));
        return events;
    }
    let interface = name.split('.').next().unwrap_or_default();
    if ROUTINE.contains(&name) || ["pinpad", "keyboard", "textterminal", "barcodereader"].contains(&interface) {
        return Vec::new();
    }
    if let Some((_, kind, words)) = NAMED.iter().find(|row| row.0 == name) {
        let event = Event::new(*kind).detail(*words);
        return vec![match message.fact("position") {
            Some(position) => event.attribute("position", position),
            None => event,
        }];
    }
    let fact = |name: &str| message.fact(name).unwrap_or_default().to_ascii_lowercase();
    match name {
        "common.errorevent" => vec![failed(&fact("event_id"), &fact("action"))],
        "cardreader.cardactionevent" => captured(&fact("to")),
        "cardreader.mediadetectedevent" if fact("position").starts_with("unit") => captured(&fact("position")),
        "cashmanagement.shutterstatuschangedevent" | "cashacceptor.shutterstatuschangedevent" => shutter(message),
        "cashmanagement.mediadetectedevent" => vec![retracted(message)],
        "printer.paperthresholdevent" => supply(&fact("threshold"), Component::Paper),
        "printer.tonerthresholdevent" | "printer.inkthresholdevent" => supply(&fact("threshold"), Component::Ribbon),
        "printer.retractbinthresholdevent" => supply(&fact("threshold"), Component::RetractBin),
        "printer.retractbinstatusevent" => bin(&fact("threshold")),
        "camera.mediathresholdevent" => supply(&fact("threshold"), Component::Supply(1)),
        "printer.lampthresholdevent" if fact("threshold") == "ok" => Vec::new(),
        "printer.lampthresholdevent" => vec![Event::new(Kind::DeviceWarning).detail("lamp fades")],
        "printer.mediaautoretractedevent" if fact("retract_result") == "jammed" => vec![jam(Component::Paper)],
        "printer.mediaautoretractedevent" => Vec::new(),
        _ => {
            let event = Event::new(Kind::DeviceStatusRaw).detail(message.name.clone());
            vec![message.facts.iter().fold(event, |event, (name, value)| event.attribute(name, value.clone()))]
        }
    }
}

fn failed(what: &str, action: &str) -> Event {
    let (kind, severity) = match what {
        "fraudattempt" => (Kind::SecurityFraudAttempt, Severity::Critical),
        "user" => (Kind::DeviceWarning, Severity::Warning),
        "software" => (Kind::DeviceFault, Severity::Major),
        _ => (Kind::DeviceFault, Severity::Critical),
    };
    let event = Event::new(kind).severity(severity).attribute("event_id", what);
    if action.is_empty() {
        return event.detail(format!("{what} error"));
    }
    event.detail(format!("{what} error, asks for: {action}")).attribute("action", action)
}

fn captured(to: &str) -> Vec<Event> {
    if to.starts_with("unit") {
        vec![Event::new(Kind::CardCaptured).device(Device::CardReader).detail("card captured").attribute("to", to)]
    } else {
        Vec::new()
    }
}

fn shutter(message: &Message) -> Vec<Event> {
    if !message.fact("shutter").is_some_and(|shutter| shutter.to_ascii_lowercase().starts_with("jammed")) {
        return Vec::new();
    }
    let event = jam(Component::Shutter);
    vec![match message.fact("position") {
        Some(position) => event.attribute("position", position),
        None => event,
    }]
}

fn jam(component: Component) -> Event {
    let words = format!("{} jammed", component.to_string().replace('_', " "));
    Event::new(Kind::DeviceFault).severity(Severity::Major).component(component).detail(words)
}

/// Notes that a reset found and moved: into a unit they are retracted; else only the place is known.
fn retracted(message: &Message) -> Event {
    let place = message.fact("position").unwrap_or("unknown");
    let away = place.starts_with("unit") || place.to_ascii_lowercase().contains("retract");
    let kind = if away { Kind::CashRetracted } else { Kind::DeviceStatusRaw };
    Event::new(kind).detail(format!("notes found, now at {place}")).attribute("position", place)
}

fn bin(state: &str) -> Vec<Event> {
    let (kind, words) = match state {
        "removed" => (Kind::CassetteMissing, "retract bin removed"),
        "inserted" => (Kind::CassetteInserted, "retract bin inserted"),
        _ => return Vec::new(),
    };
    vec![Event::new(kind).component(Component::RetractBin).detail(words)]
}

/// A threshold that was passed, either way. Bins fill up, everything else runs out.
fn supply(threshold: &str, component: Component) -> Vec<Event> {
    let bin = matches!(component, Component::RetractBin | Component::Supply(_));
    let name = component.to_string().replace('_', " ");
    let (kind, severity) = match threshold {
        "low" => (Kind::SupplyLow, Severity::Warning),
        "out" | "empty" => (Kind::SupplyOut, Severity::Major),
        "jammed" => return vec![jam(component)],
        "high" if bin => (Kind::SupplyOverfill, Severity::Warning),
        "full" if bin => (Kind::SupplyOverfill, Severity::Major),
        "full" | "ok" | "high" => (Kind::SupplyOk, Severity::Info),
        _ => return Vec::new(),
    };
    vec![Event::new(kind).severity(severity).component(component).detail(format!("{name} {threshold}"))]
}

#[cfg(test)]
mod tests;
