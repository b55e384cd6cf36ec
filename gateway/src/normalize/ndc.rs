//! NDC messages to events.

mod conversation;

use super::device;
use crate::event::{Component, Device, Event, Kind, State};
use crate::profile::Profile;
use crate::protocol::ndc::solicited::{Answer, Solicited};
use crate::protocol::ndc::state::{Configuration, Report, TerminalState};
use crate::protocol::ndc::{DieboldStatus, Encryptor, Message, Other, codes};

/// The events that a message means.
pub(super) fn events(message: &Message, profile: &Profile) -> Vec<Event> {
    let events = match message {
        Message::Unsolicited(message) => device::device_status(&message.status, profile),
        Message::Solicited(message) => solicited(message, profile),
        Message::Request(message) => vec![conversation::request(message, profile)],
        Message::Encryptor(message) => vec![encryptor(message)],
        Message::Block(message) => vec![conversation::block(message)],
        Message::Diebold(message) => vec![diebold(message)],
        Message::Command(message) => vec![conversation::command(message)],
        Message::Data(message) => vec![conversation::data(message)],
        Message::Reply(message) => vec![conversation::reply(message)],
        Message::JournalHost(message) => vec![conversation::journal_host(message)],
        Message::Emv(message) => vec![conversation::emv(message)],
        Message::Other(message) => vec![other(message)],
    };
    with_luno(events, message)
}

/// What a message says is in order.
pub(super) fn good(message: &Message, profile: &Profile) -> Vec<Event> {
    let events = match message {
        Message::Unsolicited(message) => device::good(&message.status, profile),
        Message::Solicited(Solicited { answer: Answer::Device(status), .. }) => device::good(status, profile),
        Message::Solicited(Solicited { answer: Answer::State(state), .. }) => shown_supplies(state)
            .into_iter()
            .filter(|(_, _, digit)| *digit == 1)
            .map(|(device, component, _)| device::supply_good(profile, device, component))
            .map(|mut event| {
                event.state = Some(State::Cleared);
                event
            })
            .collect(),
        _ => Vec::new(),
    };
    with_luno(events, message)
}

fn with_luno(mut events: Vec<Event>, message: &Message) -> Vec<Event> {
    for event in &mut events {
        if !message.luno().is_empty() {
            event.attributes.insert("luno".to_owned(), message.luno().into());
        }
    }
    events
}

fn solicited(message: &Solicited, profile: &Profile) -> Vec<Event> {
    match &message.answer {
        Answer::Device(status) => device::device_status(status, profile),
        Answer::Reject { reject_code } => vec![reject(reject_code.as_deref())],
        Answer::Ready { .. } if message.descriptor == '9' => vec![Event::new(Kind::CommandOk).detail("ready")],
        Answer::Ready { tsn, .. } => {
            let event = Event::new(Kind::TxnCompleted).detail("transaction completed");
            vec![match tsn {
                Some(tsn) => event.attribute("tsn", tsn.as_str()),
                None => event,
            }]
        }
        Answer::State(state) => terminal_state(state, profile),
        Answer::Unknown { .. } => {
            let event = Event::new(Kind::DeviceStatusRaw);
            vec![
                event
                    .detail(format!(
                        "solicited status with descriptor {}, whose meaning is not known",
                        message.descriptor
                    ))
                    .attribute("descriptor", message.descriptor.to_string()),
            ]
        }
    }
}

fn reject(code: Option<&str>) -> Event {
    let event = Event::new(Kind::ProtocolCommandReject);
    let Some(code) = code else { return event.detail("command rejected") };
    let detail = match codes::reject(code) {
        "" => format!("command rejected: {code}"),
        words => format!("command rejected: {code}, {words}"),
    };
    event.detail(detail).attribute("reject_code", code)
}

fn terminal_state(state: &TerminalState, profile: &Profile) -> Vec<Event> {
    let (kind, words) = match state.state_id {
        '1' => (Kind::ConfigReported, "configuration"),
        '2' => (Kind::CountersReported, "supply counters"),
        '3' => (Kind::CountersReported, "tallies"),
        '4' => (Kind::ConfigReported, "error log"),
        '5' => (Kind::ConfigReported, "date and time"),
        '6' => (Kind::ConfigReported, "configuration id"),
        '7' => (Kind::CountersReported, "extended supply counters"),
        'H' => (Kind::ConfigReported, "hardware configuration"),
        'I' => (Kind::ConfigReported, "supplies"),
        'J' => (Kind::ConfigReported, "fitness"),
        'K' => (Kind::ConfigReported, "sensors"),
        'L' => (Kind::ConfigReported, "software release"),
        'M' => (Kind::ConfigReported, "option digits"),
        'N' => (Kind::ConfigReported, "cash deposit definitions"),
        _ => (Kind::ConfigReported, "terminal state"),
    };
    let mut event =
        Event::new(kind).detail(format!("{words} reported")).attribute("state_id", state.state_id.to_string());
    // The report itself: counters and configuration are worth having in the event. Nothing in it is card data.
    if let Ok(serde_json::Value::Object(report)) = serde_json::to_value(&state.report) {
        event.attributes.extend(report);
    }
    let supplies = shown_supplies(state).into_iter();
    let low = supplies
        .filter(|(_, _, digit)| matches!(digit, 2 | 3))
        .filter_map(|(device, component, digit)| device::supply(profile, device, component, digit));
    std::iter::once(event).chain(low).collect()
}

/// The supplies that a report of supplies shows and that people act upon: the cassettes, then the receipt paper.
fn shown_supplies(state: &TerminalState) -> Vec<(Device, Component, u8)> {
    let (cassettes, paper): (&[u8], Option<u8>) = match &state.report {
        Report::Configuration(configuration) => {
            let Configuration { cassette_supplies, receipt_paper, .. } = &**configuration;
            (cassette_supplies.as_deref().unwrap_or_default(), *receipt_paper)
        }
        Report::Supplies { supplies } => (
            // The reject bin is first.
            supplies.get("E").and_then(|digits| digits.get(1..)).unwrap_or_default(),
            supplies.get("G").and_then(|digits| digits.first()).copied(),
        ),
        _ => return Vec::new(),
    };
    let cassettes =
        (1..=u8::MAX).zip(cassettes).map(|(n, digit)| (Device::CashHandler, Component::Cassette(n), *digit));
    cassettes.chain(paper.map(|digit| (Device::ReceiptPrinter, Component::Paper, digit))).collect()
}

fn encryptor(message: &Encryptor) -> Event {
    let event = Event::new(Kind::SecurityKeyEvent)
        .device(Device::Encryptor)
        .detail(format!("encryptor: {}", message.words()))
        .attribute("info_id", message.info_id.to_string());
    match message.info_id {
        // Signed keys and random numbers: long, and of use to the host alone.
        '1' | '2' | '9' => event.attribute("info_length", message.info.chars().count()),
        _ if message.info.is_empty() => event,
        _ => event.attribute("info", message.info.as_str()),
    }
}

/// The status bytes of a Diebold terminal are not documented: they are shown as they came.
fn diebold(message: &DieboldStatus) -> Event {
    Event::new(Kind::DeviceStatusRaw)
        .detail(format!("status of {}, as it came", message.device_id))
        .attribute("class", message.class)
        .attribute("device_id", message.device_id.as_str())
        .attribute("raw_status", message.raw_status.clone())
}

fn other(message: &Other) -> Event {
    let words = match message.kind {
        "exit_to_host" => "message of an exit of the terminal's software",
        "host_to_exit" => "message to an exit of the terminal's software",
        "install_status" => "installation status",
        _ => "message of a class that is not decoded",
    };
    Event::new(Kind::DeviceStatusRaw).detail(words).attribute("class", message.class.as_str())
}
