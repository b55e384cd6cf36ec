//! The CloudEvents 1.0 envelope (structured JSON mode) around an event's stored bytes.
//!
//! ```json
//! {"specversion":"1.0","source":"/br001/gw-1","datacontenttype":"application/json","id":"gw-1-7f3a-1042",
//!  "type":"vestibule.supply.low","subject":"atm-07","time":"2026-11-20T21:42:05.883Z","sequence":"1042",
//!  "terminalsequence":"311","severity":"warning","replayed":false,"timesynced":true,"data":{…}}
//! ```
//!
//! - `id` never changes and is never used twice: whoever drops known ids sees every event exactly once.
//! - `sequence` and `terminalsequence` count without gaps within one life of the store, which the `id` names in front of its
//!   number. They are decimal digits in a string, because CloudEvents integers have 32 bits; `data` has both as numbers.
//! - `time` is when the terminal says it happened, else when the gateway read it; absent where neither is known.
//! - `replayed` is true where the event is older than this connection or is sent again: live displays may skip it.
//! - `timesynced` is whether the gateway's clock was known to be right when the event was read; absent where nothing says.
//! - `timecorrected` is true where it was not, and the gateway's times are right all the same: they were worked out since.
//!   While they are not, `data` has `boot` and `boot_ms`, and the event `gateway.clock_set` will say when that boot was.
//!
//! `data` is the event as it stands in the log, byte for byte, unless its times were corrected.

use std::fmt::Write;

use super::identity::Identity;
use crate::log::{Front, Stored};
use crate::mqtt::level::push_encoded;

/// Content type of an event's payload.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// What is the same in every payload.
#[derive(Debug)]
pub struct Envelope {
    /// Everything up to the id.
    front: String,
}

impl Envelope {
    /// The envelope of this gateway's events.
    pub fn new(identity: &Identity) -> Self {
        let mut source = String::new();
        for name in [&identity.site, &identity.gateway] {
            source.push('/');
            push_encoded(&mut source, name, |c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')));
        }
        let mut front = String::from(r#"{"specversion":"1.0","source":"#);
        push_json(&mut front, &source);
        front.push_str(r#","datacontenttype":"application/json","id":""#);
        Envelope { front }
    }

    /// The payload of one event.
    pub fn wrap(&self, stored: &Stored, replayed: bool) -> String {
        let event = &stored.event;
        let mut out = String::with_capacity(self.front.len() + stored.json.len() + event.terminal.len() + 256);
        out.push_str(&self.front);
        // What it was given when it was appended first: in a store that was restored or that holds salvaged events, that may
        // have been in another life. An id stands there as the text of a JSON string already.
        let unnumbered = Front { seq: stored.seq, id: "", terminal_seq: stored.terminal_seq };
        let Front { seq, id, terminal_seq } = stored.front().unwrap_or(unnumbered);
        // Writing to a string cannot fail.
        let _ = write!(out, r#"{id}","type":"vestibule.{}","subject":"#, stored.kind_name());
        push_json(&mut out, &event.terminal);
        if let Some(time) = event.occurred_at.or(event.received_at) {
            let _ = write!(out, r#","time":"{time}""#);
        }
        let _ = write!(
            out,
            r#","sequence":"{seq}","terminalsequence":"{terminal_seq}","severity":"{}","replayed":{replayed}"#,
            event.severity.name(),
        );
        if let Some(synced) = event.time_synced {
            let _ = write!(out, r#","timesynced":{synced}"#);
        }
        if event.time_corrected {
            out.push_str(r#","timecorrected":true"#);
        }
        out.push_str(r#","data":"#);
        out.push_str(&stored.json);
        out.push('}');
        out
    }
}

/// Appends `text` as a JSON string.
fn push_json(out: &mut String, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && !matches!(byte, b'"' | b'\\');
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Component, Event, Kind};

    fn identity() -> Identity {
        Identity { site: "br 001/a".to_owned(), gateway: "gw-1".to_owned() }
    }

    fn stored(terminal: &str) -> Stored {
        let mut event = Event::new(Kind::SupplyLow).component(Component::Cassette(2)).detail("cassette 2 low");
        event.terminal = terminal.to_owned();
        let json = serde_json::to_string(&event).expect("events serialise");
        let json = json.replacen('{', r#"{"seq":1042,"id":"gw-1-7f3a-1042","terminal_seq":311,"#, 1);
        Stored { seq: 1042, terminal_seq: 311, boot_ms: None, event, json: json.into() }
    }

    fn parse(text: &str) -> Value {
        serde_json::from_str(text).expect("payloads are JSON")
    }

    #[test]
    fn the_envelope_holds_the_stored_bytes_as_they_are() {
        let mut row = stored("atm-07");
        row.event.received_at = Some("2026-11-20T21:42:06Z".parse().expect("a timestamp"));
        row.event.time_synced = Some(true);
        let text = Envelope::new(&identity()).wrap(&row, false);
        assert!(text.ends_with(&format!(r#","data":{}}}"#, row.json)));
        let data = parse(&row.json);
        assert_eq!(
            parse(&text),
            json!({
                "specversion": "1.0", "source": "/br%20001%2Fa/gw-1", "datacontenttype": "application/json",
                "id": "gw-1-7f3a-1042", "type": "vestibule.supply.low", "subject": "atm-07", "time": "2026-11-20T21:42:06Z",
                "sequence": "1042", "terminalsequence": "311", "severity": "warning", "replayed": false, "timesynced": true,
                "data": data,
            })
        );
    }

    #[test]
    fn the_terminals_own_time_goes_first_and_unknown_facts_are_absent() {
        let mut row = stored("atm-07");
        let text = Envelope::new(&identity()).wrap(&row, true);
        let value = parse(&text);
        assert!(value.get("time").is_none() && value.get("timesynced").is_none());
        assert_eq!(value["replayed"], json!(true));
        row.event.received_at = Some("2026-11-20T21:42:06Z".parse().expect("a timestamp"));
        row.event.occurred_at = Some("2026-11-20T21:42:05.883Z".parse().expect("a timestamp"));
        let value = parse(&Envelope::new(&identity()).wrap(&row, true));
        assert_eq!(value["time"], json!("2026-11-20T21:42:05.883Z"));
    }

    #[test]
    fn an_event_of_another_life_stays_who_it_was() {
        let row = Stored { seq: 7, ..stored("atm-07") };
        let value = parse(&Envelope::new(&identity()).wrap(&row, true));
        assert_eq!(value["id"], json!("gw-1-7f3a-1042"));
        assert_eq!((&value["sequence"], &value["terminalsequence"]), (&json!("1042"), &json!("311")));
    }

    #[test]
    fn strange_names_stay_inside_their_strings() {
        for name in ["a\"b", "a\\", "a\nb\u{1}", "\u{7f}ü", ""] {
            let text = Envelope::new(&identity()).wrap(&stored(name), false);
            assert_eq!(parse(&text)["subject"], json!(name));
        }
    }
}
