//! An uploaded document to events: its journal lines, events and transactions, each at the terminal it belongs to.
//!
//! A row is about the terminal of its journal line. The terminals are called `atm-N` here, after their numbers; whoever
//! knows them by another name changes it. What the document says of the present (a terminal that is online, a device that
//! works) is no event: it ends a condition that is open, and is inventory else.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::Serialize;

use super::Context;
use crate::event::{Component, Device, Event, Kind, Money, Severity, State};
use crate::protocol::upload::{Document, EventRow, JournalRow, TransactionRow};

/// An event of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowEvent {
    /// The event; its terminal is `atm-N`, or empty where the document does not say which it is.
    pub event: Event,
    /// The same for the same row of any upload, another one where the row has changed.
    pub source_id: String,
}

/// What a terminal is called as long as nobody has given it another name.
pub fn terminal_name(atm_id: u32) -> String {
    format!("atm-{atm_id}")
}

/// The events of a document, in the order of its tables: journal lines, events, transactions.
pub fn events(document: &Document, context: &Context<'_>) -> Vec<RowEvent> {
    let lines: HashMap<u32, &JournalRow> = document.journal.iter().map(|line| (line.ej_id, line)).collect();
    let line = |ej_id: Option<u32>| ej_id.and_then(|id| lines.get(&id).copied());
    let row = |event: Event, table: &str, id: u32, row: &dyn Fn() -> Vec<u8>, line: Option<&JournalRow>| {
        let mut event = at(event, line, document, context);
        super::mask(&mut event);
        RowEvent { source_id: source_id(table, id, &row()), event }
    };
    let journal = document.journal.iter().map(|journal| {
        let event = Event::new(Kind::JournalUnparsed).detail(journal.ej_data.as_str());
        row(event, "journal", journal.ej_id, &|| bytes(journal), Some(journal))
    });
    let events = document.events.iter().map(|said| {
        let event = happening(said).attribute("event_id", said.event_id);
        row(event, "event", said.event_id, &|| bytes(said), line(said.ej_id))
    });
    let transactions = document.transactions.iter().map(|made| {
        let event = transaction(made, context).attribute("transaction_id", made.transaction_id);
        row(event, "transaction", made.transaction_id, &|| bytes(made), line(made.ej_id))
    });
    journal.chain(events).chain(transactions).collect()
}

/// What the document says is in order: terminals online, devices that work.
pub fn good(document: &Document) -> Vec<Event> {
    let reading = |kind: Kind, atm_id: u32| {
        let mut event = Event::new(kind);
        event.terminal = terminal_name(atm_id);
        event.state = Some(State::Cleared);
        event
    };
    let is = |text: &str, word: &str| text.trim().eq_ignore_ascii_case(word);
    let online = document.terminals.iter().filter(|atm| is(atm.status.as_str(), "online"));
    let online =
        online.flat_map(|atm| [Kind::CommsRestored, Kind::ModeInService].map(|kind| reading(kind, atm.atm_id)));
    let models: HashMap<u32, &str> =
        document.devices.iter().map(|device| (device.device_id, device.device_model.as_str())).collect();
    let working = document.fitted.iter().filter(|fitted| is(fitted.device_status.as_str(), "operational"));
    let working = working.filter_map(|fitted| {
        let device = device_of_model(models.get(&fitted.device_id)?)?;
        Some(reading(Kind::DeviceRecovered, fitted.atm_id).device(device))
    });
    online.chain(working).collect()
}

/// What a device is, by the words in its model.
pub fn device_of_model(model: &str) -> Option<Device> {
    const WORDS: [(&str, Device); 14] = [
        ("cash dispenser", Device::CashHandler),
        ("cash acceptor", Device::NoteAcceptor),
        ("note acceptor", Device::NoteAcceptor),
        ("card reader", Device::CardReader),
        ("receipt printer", Device::ReceiptPrinter),
        ("journal printer", Device::JournalPrinter),
        ("pin pad", Device::Encryptor),
        ("touchscreen", Device::TouchScreen),
        ("touch screen", Device::TouchScreen),
        ("camera", Device::Camera),
        ("voice", Device::VoiceGuidance),
        ("coin dispenser", Device::CoinDispenser),
        ("barcode", Device::BarcodeReader),
        ("depository", Device::Depository),
    ];
    let model = model.to_ascii_lowercase();
    WORDS.iter().find(|(words, _)| model.contains(words)).map(|row| row.1)
}

/// The kinds of the names that events have; another name is a [`Kind::SourceReport`].
fn happening(row: &EventRow) -> Event {
    let name = row.event_name.as_str().trim();
    let event = match name.to_ascii_lowercase().as_str() {
        "network connectivity issue" => Event::new(Kind::CommsDegraded),
        "software update" => Event::new(Kind::ConfigReported),
        "cash dispenser malfunction" => Event::new(Kind::DeviceFault).device(Device::CashHandler),
        "paper refill required" => {
            Event::new(Kind::SupplyLow).device(Device::ReceiptPrinter).component(Component::Paper)
        }
        "card reader error" => Event::new(Kind::DeviceFault).device(Device::CardReader),
        "atm communication loss" => Event::new(Kind::CommsLost),
        "scheduled maintenance" => Event::new(Kind::ModeDiagnostics),
        "suspicious activity detected" => Event::new(Kind::SecurityFraudAttempt),
        "out of service" => Event::new(Kind::ModeOutOfService),
        // `Application Error`, `System Log Rotation` and every other name.
        _ => Event::new(Kind::SourceReport),
    };
    // The source's own level goes before what is usual for the kind.
    let level = row.event_level.as_str().trim();
    let severity = match level.to_ascii_uppercase().as_str() {
        "INFO" => Severity::Info,
        "WARNING" => Severity::Warning,
        "ERROR" => Severity::Major,
        "CRITICAL" => Severity::Critical,
        _ => event.severity,
    };
    event.severity(severity).detail(name).attribute("event_name", name).attribute("event_level", level)
}

/// The kinds of the types that transactions have; another type is a [`Kind::SourceReport`].
fn transaction(row: &TransactionRow, context: &Context<'_>) -> Event {
    let name = row.transaction_type.as_str().trim();
    let detail = row.transaction_detail.as_ref().map(|detail| detail.as_str().trim()).unwrap_or_default();
    let event = match name.to_ascii_lowercase().as_str() {
        "cash withdrawal" | "balance inquiry" | "deposit" | "transfer" | "card payment" | "pin change"
        | "service request" => Event::new(Kind::TxnCompleted),
        "failed transaction" => Event::new(Kind::TxnDeclined),
        // No everyday reason: somebody tried PINs until the bank had enough.
        "account lockout" => Event::new(Kind::TxnDeclined).severity(Severity::Major),
        "system maintenance" => Event::new(Kind::ModeDiagnostics).severity(Severity::Info),
        _ => Event::new(Kind::SourceReport),
    };
    let sentence = if detail.is_empty() { name.to_owned() } else { format!("{name}: {detail}") };
    let mut event = event.detail(sentence).attribute("transaction_type", name);
    for (fact, value) in detail.split(", ").filter_map(|fact| fact.split_once(": ")) {
        match fact.to_ascii_lowercase().as_str() {
            "amount" => {
                // `$` is the dollar of many countries: the profile says which currency it is, or nobody does.
                let digits = value.trim().trim_start_matches(|c: char| !c.is_ascii_digit() && c != '-');
                event.amount = context.profile.currency.and_then(|currency| Money::parse(digits, currency).ok());
                if event.amount.is_none() {
                    event.attributes.insert("amount".to_owned(), value.trim().into());
                }
            }
            "reason" => {
                event.attributes.insert("reason".to_owned(), value.trim().into());
            }
            "card number" => event.card = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    event
}

/// The same event with what its journal line knows: the terminal and the time.
fn at(mut event: Event, line: Option<&JournalRow>, document: &Document, context: &Context<'_>) -> Event {
    match (line, &document.terminals[..]) {
        (Some(line), _) => event.terminal = terminal_name(line.atm_id),
        // A document of one terminal needs no line to say which it is.
        (None, [only]) => event.terminal = terminal_name(only.atm_id),
        (None, _) => {}
    }
    let Some(line) = line else { return event };
    let written = line.timestamp.as_str().trim();
    event.occurred_at = instant(written, context);
    if event.occurred_at.is_none() && !written.is_empty() {
        event.attributes.insert("local_time".to_owned(), written.into());
    }
    event.attribute("ej_id", line.ej_id)
}

/// A time with its offset, or without one in the zone of the profile's terminals.
fn instant(text: &str, context: &Context<'_>) -> Option<Timestamp> {
    let local = || text.parse::<DateTime>().ok()?.to_zoned(context.time_zone.clone()).ok().map(|at| at.timestamp());
    text.parse::<Timestamp>().ok().or_else(local)
}

fn source_id(table: &str, id: u32, row: &[u8]) -> String {
    let hash = blake3::hash(row).to_hex();
    format!("upload/{table}/{id}/{}", &hash[..16])
}

fn bytes(row: &impl Serialize) -> Vec<u8> {
    // Rows of texts and numbers always serialise.
    serde_json::to_vec(row).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use crate::protocol::upload;

    fn document(json: &str) -> Document {
        upload::Document::parse("t.json", json.as_bytes()).expect("a document")
    }

    fn rows(document: &Document) -> Vec<RowEvent> {
        let profile = Profile::builtin("atm-handler").expect("built in");
        events(document, &Context { profile: &profile, time_zone: &jiff::tz::TimeZone::UTC })
    }

    #[test]
    fn every_name_level_and_type_has_its_kind() {
        let line = r#""ElectronicJournal":[{"ejId":1,"atmId":3,"ejData":"x","timestamp":"2024-03-05T10:15:00Z"}]"#;
        let mut said = Vec::new();
        for (table, name, level, expected) in [
            ("Event", "Network Connectivity Issue", "WARNING", "comms.degraded:warning"),
            ("Event", "Software Update", "INFO", "config.reported:info"),
            ("Event", "Cash Dispenser Malfunction", "ERROR", "device.fault:major"),
            ("Event", "Paper Refill Required", "INFO", "supply.low:info:paper"),
            ("Event", "Card Reader Error", "ERROR", "device.fault:major"),
            ("Event", "Application Error", "ERROR", "source.report:major"),
            ("Event", "ATM Communication Loss", "CRITICAL", "comms.lost:critical"),
            ("Event", "System Log Rotation", "INFO", "source.report:info"),
            ("Event", "Scheduled Maintenance", "INFO", "mode.diagnostics:info"),
            ("Event", "Suspicious Activity Detected", "CRITICAL", "security.fraud_attempt:critical"),
            ("Event", "Nobody Knows", "error", "source.report:major"),
            ("Event", "ATM Communication Loss", "?", "comms.lost:critical"),
            ("Transaction", "Cash Withdrawal", "", "txn.completed:info"),
            ("Transaction", "Balance Inquiry", "", "txn.completed:info"),
            ("Transaction", "Deposit", "", "txn.completed:info"),
            ("Transaction", "Transfer", "", "txn.completed:info"),
            ("Transaction", "Card Payment", "", "txn.completed:info"),
            ("Transaction", "PIN Change", "", "txn.completed:info"),
            ("Transaction", "Failed Transaction", "", "txn.declined:warning"),
            ("Transaction", "Account Lockout", "", "txn.declined:major"),
            ("Transaction", "Service Request", "", "txn.completed:info"),
            ("Transaction", "System Maintenance", "", "mode.diagnostics:info"),
        ] {
            let row = match table {
                "Event" => format!(r#"{{"eventId":7,"eventName":"{name}","eventLevel":"{level}","ejId":1}}"#),
                _ => format!(r#"{{"transactionId":7,"transactionType":"{name}","ejId":1}}"#),
            };
            let rows = rows(&document(&format!(r#"{{"{table}":[{row}],{line}}}"#)));
            let event = &rows.last().expect("the row").event;
            assert_eq!(event.to_string(), expected, "{name}");
            assert_eq!(event.terminal, "atm-3");
            assert_eq!(event.occurred_at, "2024-03-05T10:15:00Z".parse().ok());
            said.push(rows.last().expect("the row").source_id.clone());
        }
        said.sort();
        said.dedup();
        assert_eq!(said.len(), 22, "rows that differ have different ids");
    }

    #[test]
    fn the_facts_of_a_transaction_are_told_apart() {
        let document = document(
            r#"{"Transaction":[{"transactionId":1,"transactionType":"Card Payment",
            "transactionDetail":"Merchant: A, Amount: $35.78, Card number: 4123-4567-8901-1234"}],"ATM":[{"atmId":2}]}"#,
        );
        let mut profile = Profile::builtin("atm-handler").expect("built in");
        let event = |profile: &Profile| {
            let context = Context { profile, time_zone: &jiff::tz::TimeZone::UTC };
            events(&document, &context).swap_remove(0).event
        };
        assert_eq!(event(&profile).attributes["amount"], "$35.78");
        assert_eq!(event(&profile).terminal, "atm-2", "the only one there is");
        assert_eq!(event(&profile).card.as_deref(), Some("4123-45**-****-1234"));
        profile.currency = "USD".parse().ok();
        assert_eq!(event(&profile).amount.map(|amount| amount.to_string()), Some("35.78".to_owned()));
    }

    #[test]
    fn what_works_and_is_online_is_a_reading() {
        let document = document(
            r#"{"ATM":[{"atmId":1,"status":"Online"},{"atmId":2,"status":"Offline"}],
            "Device":[{"deviceId":1,"deviceModel":"Cash Dispenser 5000"},{"deviceId":2,"deviceModel":"Fingerprint"}],
            "AtmDevice":[{"atmId":2,"deviceId":1,"deviceStatus":"Operational"},{"atmId":1,"deviceId":1,"deviceStatus":"Faulty"},
            {"atmId":1,"deviceId":2,"deviceStatus":"Operational"}]}"#,
        );
        let said: Vec<String> = good(&document).iter().map(|event| format!("{} {event}", event.terminal)).collect();
        assert_eq!(said, ["atm-1 comms.restored:info", "atm-1 mode.in_service:info", "atm-2 device.recovered:info"]);
    }
}
