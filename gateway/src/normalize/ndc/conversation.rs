//! What terminal and host say to each other, to events: requests and replies, commands, data, the journal's upload.
//!
//! One event a message: what a request says about the transaction before it is an attribute, and no event again.

use serde_json::Value;

use crate::event::{Event, Kind, Money};
use crate::profile::Profile;
use crate::protocol::ndc::{
    Block, Command, DataCommand, EmvConfiguration, JournalHost, Reply, Request, TerminalCommand, codes,
};

/// An event that gets attributes one after another, where they are known.
struct Draft(Event);

impl Draft {
    fn new(kind: Kind, detail: impl Into<String>) -> Draft {
        Draft(Event::new(kind).detail(detail))
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Draft {
        let value = value.into();
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        if !empty {
            self.0.attributes.insert(name.to_owned(), value);
        }
        self
    }

    fn char(self, name: &str, value: Option<char>) -> Draft {
        self.with(name, value.map(String::from))
    }
}

pub(super) fn request(message: &Request, profile: &Profile) -> Event {
    let amount = |minor: i64| profile.currency.map(|currency| Money { minor, currency });
    let buffers = &message.buffers;
    let last = buffers.last_txn.as_ref();
    let mut draft = Draft::new(Kind::TxnRequested, "transaction requested")
        .with("opcode", message.opcode.as_str())
        .char("coordination", message.coordination)
        .with("last_tsn", last.map(|last| last.tsn.as_str()))
        .char("last_status", last.and_then(|last| last.status))
        .with("last_status_words", last.and_then(|last| codes::last_transaction(last.status?)))
        .with("last_notes_dispensed", last.and_then(|last| last.notes.clone()))
        .with("last_coins_dispensed", buffers.last_txn_coins.clone())
        .with("emv", serde_json::to_value(&buffers.emv).unwrap_or_default());
    draft.0.card.clone_from(&message.pan_masked);
    draft.0.amount = message.amount_minor.and_then(amount);
    if draft.0.amount.is_none() {
        draft = draft.with("amount_minor", message.amount_minor);
    }
    draft.0
}

pub(super) fn reply(message: &Reply) -> Event {
    let words = message.function_id.and_then(codes::reply_function);
    let detail = words.map_or_else(|| "transaction reply".to_owned(), |words| format!("transaction reply: {words}"));
    Draft::new(Kind::TxnReply, detail)
        .with("tsn", message.tsn.as_str())
        .with("next_state", message.next_state.as_str())
        .char("function_id", message.function_id)
        .with("screen", message.screen.as_str())
        .with("notes_requested", message.notes_requested.clone())
        .char("coordination", message.coordination)
        .char("card_flag", message.card_flag)
        .with("response_code", message.response_code.as_deref())
        .0
}

pub(super) fn command(message: &TerminalCommand) -> Event {
    let known = message.known();
    // The code decides: a modifier nobody documented does not make going in service a question.
    let kind = match message.command.as_str() {
        "1" => Kind::HostGoInService,
        "2" => Kind::HostGoOutOfService,
        _ => Kind::HostQuery,
    };
    let words = known
        .or_else(|| Command::read(&message.command, ""))
        .map_or("a command that is not documented", Command::words);
    Draft::new(kind, format!("host: {words}"))
        .with("command", message.command.as_str())
        .with("modifier", message.modifier.as_str())
        .0
}

pub(super) fn data(message: &DataCommand) -> Event {
    Draft::new(Kind::HostDownload, format!("host sent {}", message.content.unwrap_or("configuration data")))
        .with("sub", message.sub.as_str())
        .with("config_id", message.config_id.as_deref())
        .with("date_time", message.date_time.as_deref())
        .with("rows", message.rows.clone())
        .with("data_length", message.data_length)
        .0
}

pub(super) fn emv(message: &EmvConfiguration) -> Event {
    Draft::new(Kind::HostDownload, format!("host sent EMV {}", message.content.unwrap_or("configuration")))
        .with("class", message.class.as_str())
        .with("sub", message.sub.as_str())
        .with("data_length", message.data_length)
        .0
}

pub(super) fn block(message: &Block) -> Event {
    let (first, last) = (message.first_character, message.last_character);
    let missing = Some(message.missing).filter(|missing| *missing > 0);
    let detail = match missing {
        Some(missing) => format!("journal {first} to {last}, {missing} characters of it missing: not acknowledged"),
        None => format!("journal {first} to {last}"),
    };
    Draft::new(Kind::JournalBlock, detail)
        .with("block_id", message.block_id.as_str())
        .with("block_time", message.block_time.as_deref())
        .with("first_character", first)
        .with("last_character", last)
        .with("length", message.length)
        .with("missing", missing)
        .with("text", message.text.as_str())
        .0
}

pub(super) fn journal_host(message: &JournalHost) -> Event {
    match message.command {
        '3' => Draft::new(Kind::HostDownload, "host sent options and timers of the journal's upload")
            .with("options", message.options.as_deref())
            .with("timers", message.timers.clone()),
        _ => Draft::new(Kind::JournalAck, "journal acknowledged")
            .char("command", Some(message.command))
            .with("last_character", message.acknowledged_character),
    }
    .0
}

#[cfg(test)]
mod tests {
    use super::super::events;
    use crate::event::Event;
    use crate::profile::Profile;
    use crate::protocol::ndc::{Options, decode};

    fn event(frame: &str) -> Event {
        let mut profile = Profile::builtin("ncr-selfserv-ndc").expect("built in");
        profile.currency = "EUR".parse().ok();
        let message = decode(frame.replace('|', "\x1c").as_bytes(), &Options::default()).expect("a message");
        let [event] = <[Event; 1]>::try_from(events(&message, &profile)).expect("one event");
        event
    }

    #[test]
    fn a_request_is_one_event() {
        let event = event(
            "11|001|||12|;4123456789011234=2912?|| DB   AD|000000012050|0;60<78>44=77241||||21639200001000020000300004",
        );
        assert_eq!(event.to_string(), "txn.requested:info");
        assert_eq!(event.card.as_deref(), Some("412345******1234"));
        assert_eq!(
            event.amount.map(|amount| (amount.to_string(), amount.currency.to_string())),
            Some(("120.50".to_owned(), "EUR".to_owned()))
        );
        assert_eq!(
            serde_json::to_value(&event.attributes).expect("serialises"),
            serde_json::json!({
                "luno": "001", "opcode": " DB   AD", "coordination": "2", "last_tsn": "1639", "last_status": "2",
                "last_status_words": "error", "last_notes_dispensed": [1, 2, 3, 4]
            })
        );
    }

    #[test]
    fn a_reply_says_what_to_do() {
        let event = event("4|001||133|0102|07752064|21");
        assert_eq!(
            (event.to_string().as_str(), event.detail.as_str()),
            ("txn.reply:info", "transaction reply: dispense")
        );
        assert_eq!(event.attributes["notes_requested"], serde_json::json!([1, 2]));
        assert_eq!(event.attributes["card_flag"], "1");
    }

    #[test]
    fn what_hosts_say() {
        for (frame, expected, detail) in [
            ("1|001||1", "host.go_in_service:info", "host: go in service"),
            ("1|001||21", "host.go_out_of_service:warning", "host: go out of service for now"),
            ("1|001||29", "host.go_out_of_service:warning", "host: go out of service"),
            ("1|001||42", "host.query:info", "host: send the extended supply counters"),
            ("1|001||x", "host.query:info", "host: a command that is not documented"),
            ("3|001||12|000A", "host.download:info", "host sent states"),
            ("3|001||99|x", "host.download:info", "host sent configuration data"),
            ("8|001|5|x", "host.download:info", "host sent EMV applications"),
            ("6|||1275186", "journal.ack:info", "journal acknowledged"),
            ("6|||36090061000|60255", "host.download:info", "host sent options and timers of the journal's upload"),
            ("7|001||x", "device.status_raw:info", "message to an exit of the terminal's software"),
        ] {
            let event = event(frame);
            assert_eq!((event.to_string().as_str(), event.detail.as_str()), (expected, detail), "{frame}");
        }
    }

    #[test]
    fn what_terminals_say_beside() {
        let key = event("23|027||3|02A68B");
        assert_eq!((key.to_string().as_str(), &key.attributes["info"]), ("security.key_event:info", &"02A68B".into()));
        assert_eq!(event("23|027||2|0123456789").attributes["info_length"], 10);
        let raw = event("12|027||DR01;4123456789011234");
        assert_eq!(
            (raw.to_string().as_str(), &raw.attributes["device_id"]),
            ("device.status_raw:info", &"DR01".into())
        );
        assert_eq!(raw.attributes["raw_status"], serde_json::json!([";412345******1234"]));
        assert_eq!(event("51|027|").detail, "message of an exit of the terminal's software");
        let block = event("61||||000001181011124235279606279633005A\r\nBC");
        assert_eq!((block.to_string().as_str(), &block.attributes["text"]), ("journal.block:info", &"A\nBC".into()));
        assert_eq!(block.attributes.get("missing"), None);
        assert_eq!(event("61||||000001181011124235279606279633005A").attributes["missing"], 4);
    }
}
