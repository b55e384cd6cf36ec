//! Triton messages to events.

use crate::event::{Device, Event, Kind, Money};
use crate::profile::Profile;
use crate::protocol::triton::{Configuration, Message, Reply, Request, Totals};

/// The event that a message means; characters that steer the line mean none.
pub(super) fn events(message: &Message, profile: &Profile) -> Vec<Event> {
    match message {
        Message::Request(request) => vec![requested(request, profile)],
        Message::Reply(reply) => vec![replied(reply)],
        Message::Totals(totals) => vec![counted(totals, profile)],
        Message::Configuration(configuration) => vec![configured(configuration)],
        Message::Unread(fault) | Message::Noise(fault) => vec![super::fault(fault)],
        Message::Repeated { .. } | Message::Control { .. } => Vec::new(),
    }
}

fn requested(request: &Request, profile: &Profile) -> Event {
    let (kind, words) = match request.transaction {
        Some("reversal") => (Kind::TxnReversal, "reversal"),
        // The terminal asks, but it is no customer's transaction.
        Some("totals" | "totals_day_close") => (Kind::HostQuery, "totals asked for"),
        Some("configuration") => (Kind::HostQuery, "configuration asked for"),
        what => (Kind::TxnRequested, what.unwrap_or("transaction")),
    };
    let mut event = Event::new(kind).detail(format!("{}, code {}", spaced(words), request.code));
    event.card.clone_from(&request.pan_masked);
    money(&mut event, "amount_minor", request.amount_minor, profile);
    attribute(&mut event, "code", Some(request.code.clone()));
    attribute(&mut event, "transaction", request.transaction.map(str::to_owned));
    attribute(&mut event, "account", request.account.map(str::to_owned));
    attribute(&mut event, "seq", request.seq.clone());
    for (name, value) in [("surcharge_minor", request.surcharge_minor), ("dispensed_minor", request.dispensed_minor)] {
        if let Some(value) = value {
            event.attributes.insert(name.to_owned(), value.into());
        }
    }
    event
}

/// Declines have the kind's own severity: which of the host's codes are everyday ones, no public source says.
fn replied(reply: &Reply) -> Event {
    let reversal = reply.transaction == Some("reversal");
    let (kind, words) = match (reversal, reply.approved()) {
        (true, true) => (Kind::TxnReversalAck, "reversal confirmed".to_owned()),
        (true, false) => (Kind::TxnDeclined, format!("reversal refused, response {}", reply.response)),
        (false, true) => (Kind::TxnApproved, format!("approved, code {}", reply.code)),
        (false, false) => (Kind::TxnDeclined, format!("declined, response {}", reply.response)),
    };
    let mut event = Event::new(kind).detail(words);
    if reversal && kind == Kind::TxnDeclined {
        event.severity = crate::event::Severity::Major;
    }
    attribute(&mut event, "code", Some(reply.code.clone()));
    attribute(&mut event, "transaction", reply.transaction.map(str::to_owned));
    attribute(&mut event, "account", reply.account.map(str::to_owned));
    attribute(&mut event, "seq", Some(reply.seq.clone()));
    attribute(&mut event, "response", Some(reply.response.clone()));
    attribute(&mut event, "auth", reply.auth.clone());
    attribute(&mut event, "business_date", reply.business_date.clone());
    if let Some(surcharge) = reply.surcharge_minor {
        event.attributes.insert("surcharge_minor".to_owned(), surcharge.into());
    }
    event
}

fn counted(totals: &Totals, profile: &Profile) -> Event {
    let words = if totals.code == "51" { "totals of the host, business day closed" } else { "totals of the host" };
    let mut event = Event::new(Kind::CountersReported).detail(words).attribute("counts", totals.counts.clone());
    attribute(&mut event, "code", Some(totals.code.clone()));
    attribute(&mut event, "business_date", Some(totals.business_date.clone()));
    money(&mut event, "settlement_minor", totals.settlement_minor, profile);
    event
}

fn configured(configuration: &Configuration) -> Event {
    Event::new(Kind::HostDownload)
        .device(Device::Encryptor)
        .detail("the host sent configuration and a key")
        .attribute("code", configuration.code.clone())
}

/// Money where the currency is known, else a number.
fn money(event: &mut Event, name: &str, minor: Option<i64>, profile: &Profile) {
    let Some(minor) = minor else { return };
    match profile.currency {
        Some(currency) => event.amount = Some(Money { minor, currency }),
        None => {
            event.attributes.insert(name.to_owned(), minor.into());
        }
    }
}

fn attribute(event: &mut Event, name: &str, value: Option<String>) {
    if let Some(value) = value {
        event.attributes.insert(name.to_owned(), value.into());
    }
}

fn spaced(words: &str) -> String {
    words.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::triton::decode;

    fn event(body: &str) -> Event {
        let mut frame = crate::protocol::triton::frame(&body.replace('|', "\x1c"));
        frame.iter_mut().for_each(|byte| *byte &= 0x7f);
        let mut profile = Profile::builtin("triton").expect("built in");
        profile.currency = "EUR".parse().ok();
        let mut events = events(&decode(&frame).expect("a message"), &profile);
        assert_eq!(events.len(), 1);
        events.remove(0)
    }

    #[test]
    fn every_code_has_its_kind() {
        for (body, expected) in [
            ("T|11|0001|4123456789011234=3012|00002000|00000100||", "txn.requested:info"),
            ("T|99|0001||", "txn.requested:info"),
            ("T|29|0001|4123456789011234=3012|00002000|00000100|00000000|", "txn.reversal:warning"),
            ("T|29|0001|000|", "txn.reversal_ack:info"),
            ("T|29|0001|111|", "txn.declined:major"),
            ("0|T|31|0001|000|12345678|012030|213015|012030|00090000|00000100||", "txn.approved:info"),
            ("0|T|31|0001|111||012030|213015|012030|||", "txn.declined:warning"),
            ("T|50|0001||", "host.query:info"),
            ("T|50|012030|00000000000000000005|", "counters.reported:info"),
            ("T|60|0001||", "host.query:info"),
            ("T|60|~8CA64DE9C1B123A7|", "host.download:info"),
            ("nonsense", "protocol.error:warning"),
        ] {
            assert_eq!(event(body).to_string(), expected, "{body}");
        }
    }

    #[test]
    fn an_amount_is_money_and_a_card_is_masked() {
        let event = event("T|11|0001|4123456789011234=3012|00002000|00000100||");
        assert_eq!(event.amount.map(|amount| amount.to_string()).as_deref(), Some("20.00"));
        assert_eq!(event.card.as_deref(), Some("412345******1234"));
        assert_eq!(event.attributes["surcharge_minor"], 100);
    }
}
