//! ISO 8583 messages to events: requests, what became of them, reversals, and the network itself.

use jiff::civil::DateTime;
use serde_json::Value;

use super::Context;
use super::journal::occurred;
use crate::event::{Currency, Event, Kind, Money, Severity};
use crate::local_time::LocalTime;
use crate::protocol::iso8583::codes::{self, Network};
use crate::protocol::iso8583::{Class, Message};

/// The event that a message means.
pub(super) fn events(message: &Message, context: &Context<'_>) -> Vec<Event> {
    let mti = message.mti;
    let event = match (mti.class(), mti.is_response()) {
        (Class::Authorisation | Class::Financial, false) => requested(message),
        (Class::Authorisation | Class::Financial, true) => decided(message),
        (Class::Reversal, false) => Event::new(Kind::TxnReversal).detail(format!("reversal of {}", what(message))),
        (Class::Reversal, true) => {
            Event::new(Kind::TxnReversalAck).detail(format!("reversal of {} confirmed", what(message)))
        }
        (Class::Network, false) => network(message),
        (class, false) => Event::new(Kind::NetManagement).detail(words(class)),
        (class, true) => Event::new(Kind::NetResponse).detail(format!("answer to {}", words(class))),
    };
    let mut event = with_attributes(event, message);
    money(&mut event, message, context);
    local_time(&mut event, message, context);
    vec![event]
}

fn requested(message: &Message) -> Event {
    let said = if message.mti.is_advice() { "advised" } else { "requested" };
    Event::new(Kind::TxnRequested).detail(format!("{} {said}", what(message)))
}

fn decided(message: &Message) -> Event {
    let Some(code) = message.field(39) else {
        return Event::new(Kind::TxnReply).detail(format!("{} answered without a response code", what(message)));
    };
    let response = codes::response(message.mti.version(), code);
    if response.approved {
        return Event::new(Kind::TxnApproved).detail(format!("{} approved", what(message)));
    }
    let severity = if response.everyday { Severity::Warning } else { Severity::Major };
    let why = if response.meaning.is_empty() { "a reason of the network's own" } else { response.meaning };
    Event::new(Kind::TxnDeclined).severity(severity).detail(format!("{} declined: {why} ({code})", what(message)))
}

fn network(message: &Message) -> Event {
    let version = message.mti.version();
    match network_code(message).map(|code| codes::network(version, code)) {
        Some(Network::SignOn) => Event::new(Kind::NetSignOn).detail("sign-on"),
        Some(Network::SignOff) => Event::new(Kind::NetSignOff).detail("sign-off"),
        Some(Network::Echo) => Event::new(Kind::NetEcho).detail("echo test"),
        Some(Network::Management("")) | None => Event::new(Kind::NetManagement).detail(words(Class::Network)),
        Some(Network::Management(words)) => Event::new(Kind::NetManagement).detail(words),
    }
}

/// The code that says what a network management message is for: field 70 of 1987, field 24 since.
fn network_code(message: &Message) -> Option<&str> {
    let field = if message.mti.version() == 0 { 70 } else { 24 };
    message.field(field).filter(|_| message.mti.class() == Class::Network)
}

/// What the transaction is, in words.
fn what(message: &Message) -> String {
    message.txn_type.map_or_else(|| "transaction".to_owned(), |words| words.replace('_', " "))
}

fn words(class: Class) -> &'static str {
    match class {
        Class::FileAction => "file action",
        Class::Reconciliation => "reconciliation",
        Class::Administrative => "administrative message",
        Class::FeeCollection => "fee collection",
        Class::Authorisation | Class::Financial | Class::Reversal => "transaction",
        Class::Network => "network management",
    }
}

/// What events carry of a message: its numbers, who speaks, what was answered. Fields of a network's own are not.
fn with_attributes(mut event: Event, message: &Message) -> Event {
    let mut set = |name: &str, value: Option<&str>| {
        if let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) {
            event.attributes.insert(name.to_owned(), Value::from(value));
        }
    };
    set("mti", Some(message.mti.as_str()));
    set("stan", message.field(11));
    set("rrn", message.field(37));
    set("terminal_id", message.field(41));
    set("merchant_id", message.field(42));
    set("acquirer", message.field(32));
    set("approval_code", message.field(38));
    set("transmitted", message.field(7));
    set("txn_type", message.txn_type);
    set("network_code", network_code(message));
    set("response_code", message.field(39));
    if let Some(code) = message.field(39) {
        let response = codes::response(message.mti.version(), code);
        set("response", Some(response.meaning));
        // A response decides about the card; what a reversal quotes was decided before.
        if response.capture && message.mti.is_response() {
            event.attributes.insert("capture".to_owned(), true.into());
        }
    }
    if message.mti.is_repeat() {
        event.attributes.insert("repeat".to_owned(), true.into());
    }
    if message.mti.class() == Class::Reversal {
        original(&mut event, message);
    }
    event.card = message.card.clone();
    event
}

/// What a reversal takes back: field 90 of 1987 (type 4, STAN 6, date and time 10, acquirer 11, forwarder 11), field 56
/// of 1993 (type 4, STAN 6, local date and time 12, length and acquirer). What is all zeros is not told.
fn original(event: &mut Event, message: &Message) {
    let (elements, layout): (_, &[(&str, usize)]) = if message.mti.version() == 0 {
        let layout = &[
            ("original_mti", 4),
            ("original_stan", 6),
            ("original_transmitted", 10),
            ("original_acquirer", 11),
            ("original_forwarder", 11),
        ];
        (message.field(90), layout)
    } else {
        (message.field(56), &[("original_mti", 4), ("original_stan", 6), ("original_local_time", 12)])
    };
    let mut rest = elements.unwrap_or_default();
    for (name, length) in layout {
        let Some((value, after)) = rest.split_at_checked(*length) else { return };
        if value.bytes().any(|digit| digit != b'0') {
            event.attributes.insert((*name).to_owned(), value.into());
        }
        rest = after;
    }
}

/// The amount (field 4) in the currency of field 49, or the model's; without a currency the minor units alone.
/// Of a reversal also what was really dispensed: field 95 of 1987.
fn money(event: &mut Event, message: &Message, context: &Context<'_>) {
    let said = message.field(49).and_then(Currency::from_iso_4217);
    let currency = said.or(context.profile.currency);
    let minor = |field: u8| message.field(field)?.get(..12)?.parse::<i64>().ok();
    match (minor(4), currency) {
        (Some(minor), Some(currency)) => event.amount = Some(Money { minor, currency }),
        (Some(minor), None) => {
            event.attributes.insert("amount_minor".to_owned(), minor.into());
        }
        (None, _) => {}
    }
    let replaced = minor(95).filter(|_| message.mti.version() == 0 && message.mti.class() == Class::Reversal);
    if let Some(minor) = replaced {
        let actual = currency.and_then(|currency| serde_json::to_value(Money { minor, currency }).ok());
        match actual {
            Some(actual) => event.attributes.insert("actual_amount".to_owned(), actual),
            None => event.attributes.insert("actual_amount_minor".to_owned(), minor.into()),
        };
    }
}

/// The terminal's local time. 1993 tells the year, so that it is an instant; 1987 does not: there it stays text.
fn local_time(event: &mut Event, message: &Message, context: &Context<'_>) {
    let text = match (message.mti.version(), message.field(12), message.field(13)) {
        (0, Some(time), date) => {
            let date = date.and_then(|date| Some((date.get(..2)?, date.get(2..4)?)));
            let time = (time.get(..2), time.get(2..4), time.get(4..6));
            let (Some(hour), Some(minute), Some(second)) = time else { return };
            date.map_or_else(
                || format!("{hour}:{minute}:{second}"),
                |(month, day)| format!("{month}-{day}T{hour}:{minute}:{second}"),
            )
        }
        (_, Some(local), _) => {
            let local = DateTime::strptime("%Y%m%d%H%M%S", format!("20{local}")).ok();
            return occurred(event, local.map(LocalTime::Known), context.time_zone);
        }
        _ => return,
    };
    event.attributes.insert("local_time".to_owned(), text.into());
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::profile::Profile;
    use crate::protocol::iso8583::{self, Clear, Mti, Spec};

    fn event(mti: &str, fields: &[(u8, &str)]) -> Event {
        let profile = Profile::builtin("iso8583-1987").expect("built in");
        let time_zone = TimeZone::get("Europe/Berlin").expect("bundled");
        let spec = Spec::named(if mti.starts_with('0') { "1987-ascii" } else { "1993-ascii" }).expect("built in");
        let mti = Mti::new(mti.as_bytes().try_into().expect("four")).expect("a type");
        let clear = fields.iter().fold(Clear::new(mti), |clear, (field, value)| clear.with(*field, value.as_bytes()));
        let wire = spec.encode(&clear).expect("encodes");
        let message = iso8583::decode(&wire, &profile.iso8583).expect("decodes");
        let mut events = events(&message, &Context { profile: &profile, time_zone: &time_zone });
        assert_eq!(events.len(), 1);
        events.remove(0)
    }

    #[test]
    fn every_message_type_is_one_event() {
        for (mti, fields, expected) in [
            ("0100", &[(3, "010000")][..], "txn.requested:info"),
            ("0200", &[], "txn.requested:info"),
            ("0201", &[], "txn.requested:info"),
            ("0220", &[(39, "00")], "txn.requested:info"),
            ("0110", &[(39, "00")], "txn.approved:info"),
            ("0210", &[(39, "00")], "txn.approved:info"),
            ("0230", &[(39, "00")], "txn.approved:info"),
            ("0230", &[(39, "12")], "txn.declined:major"),
            ("0210", &[], "txn.reply:info"),
            ("0400", &[], "txn.reversal:warning"),
            ("0421", &[(39, "68")], "txn.reversal:warning"),
            ("0410", &[(39, "00")], "txn.reversal_ack:info"),
            ("0430", &[(39, "25")], "txn.reversal_ack:info"),
            ("0800", &[(70, "001")], "net.sign_on:info"),
            ("0800", &[(70, "002")], "net.sign_off:info"),
            ("0800", &[(70, "301")], "net.echo:info"),
            ("0800", &[(70, "161")], "net.management:info"),
            ("0800", &[(11, "000001")], "net.management:info"),
            ("0820", &[(70, "201")], "net.management:info"),
            ("0810", &[(39, "00"), (70, "301")], "net.response:info"),
            ("0500", &[], "net.management:info"),
            ("0510", &[], "net.response:info"),
            ("1100", &[(24, "100")], "txn.requested:info"),
            ("1200", &[(24, "200")], "txn.requested:info"),
            ("1210", &[(39, "000")], "txn.approved:info"),
            ("1210", &[(39, "116")], "txn.declined:warning"),
            ("1210", &[(39, "106")], "txn.declined:major"),
            ("1230", &[(39, "000")], "txn.approved:info"),
            ("1420", &[(24, "400")], "txn.reversal:warning"),
            ("1430", &[(39, "400")], "txn.reversal_ack:info"),
            ("1804", &[(24, "801")], "net.sign_on:info"),
            ("1804", &[(24, "802")], "net.sign_off:info"),
            ("1804", &[(24, "831")], "net.echo:info"),
            ("1804", &[(24, "811")], "net.management:info"),
            ("1814", &[(24, "831"), (39, "800")], "net.response:info"),
        ] {
            assert_eq!(event(mti, fields).to_string(), expected, "{mti} {fields:?}");
        }
    }

    #[test]
    fn refusals_by_code() {
        for code in ["05", "51", "54", "55", "61"] {
            assert_eq!(event("0210", &[(39, code)]).severity, Severity::Warning, "{code}");
        }
        for code in ["04", "07", "33", "34", "35", "36", "37", "38", "41", "43", "67"] {
            let event = event("0110", &[(39, code)]);
            assert_eq!(event.severity, Severity::Major, "{code}");
            assert_eq!(event.attributes["capture"], true, "{code}");
        }
        let event = event("0210", &[(3, "011000"), (39, "75")]);
        assert_eq!(event.detail, "withdrawal declined: PIN tries exceeded (75)");
        assert_eq!(event.attributes["response"], "PIN tries exceeded");
        assert!(!event.attributes.contains_key("capture"));
    }

    #[test]
    fn a_reversal_tells_what_it_takes_back_and_what_was_dispensed() {
        let fields = [
            (2, "9999990000000014"),
            (4, "000000010000"),
            (49, "826"),
            (90, "020000042111202130000000012345600000000000"),
            (95, "000000004000000000000000000000000000000000"),
        ];
        let event = event("0420", &fields);
        assert_eq!(event.amount.map(|amount| amount.to_string()).as_deref(), Some("100.00"));
        assert_eq!(event.card.as_deref(), Some("999999******0014"));
        assert_eq!(event.attributes["actual_amount"], serde_json::json!({"value": "40.00", "currency": "GBP"}));
        assert_eq!(event.attributes["original_stan"], "000421");
        assert_eq!(event.attributes["original_acquirer"], "00000123456");
        assert!(!event.attributes.contains_key("original_forwarder"));
    }

    #[test]
    fn amounts_without_a_currency_stay_minor_units() {
        let yen = event("0200", &[(4, "000000001500"), (49, "392")]);
        assert_eq!(yen.amount.map(|amount| amount.to_string()).as_deref(), Some("1500"));
        let none = event("0200", &[(4, "000000001500")]);
        assert_eq!((none.amount, &none.attributes["amount_minor"]), (None, &Value::from(1500)));
    }

    #[test]
    fn only_1993_tells_an_instant() {
        let event_1993 = event("1200", &[(12, "261120213000")]);
        assert_eq!(event_1993.occurred_at.map(|at| at.to_string()).as_deref(), Some("2026-11-20T20:30:00Z"));
        let event_1987 = event("0200", &[(12, "213000"), (13, "1120")]);
        assert_eq!(event_1987.occurred_at, None);
        assert_eq!(event_1987.attributes["local_time"], "11-20T21:30:00");
    }
}
