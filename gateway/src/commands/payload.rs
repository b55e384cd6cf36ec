//! Commands as they stand on MQTT: topics, what is asked, and how it ended.
//!
//! `{root}/{site}/{terminal}/command/{id}` has `{"verb":"out_of_service","args":{"reason":"…"},"ttl_s":60,"token":"vst_…"}`;
//! `…/command/{id}/result` has the command as HTTP answers it, or why it became none.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::command::{Arguments, Command, Deadline, Refusal};
use crate::mqtt::level;

/// What a command's payload says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    pub(super) verb: String,
    #[serde(default)]
    pub(super) args: Arguments,
    #[serde(default)]
    ttl_s: Option<u64>,
    #[serde(default)]
    expires_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) token: Option<String>,
}

impl Payload {
    pub(super) fn parse(bytes: &[u8]) -> Result<Payload, String> {
        let payload: Payload = serde_json::from_slice(bytes).map_err(|error| format!("no command: {error}"))?;
        match (payload.ttl_s, payload.expires_at) {
            (Some(_), Some(_)) => Err("give one of `ttl_s` and `expires_at`".to_owned()),
            _ => Ok(payload),
        }
    }

    pub(super) fn deadline(&self) -> Deadline {
        match (self.ttl_s, self.expires_at) {
            (Some(seconds), _) => Deadline::Seconds(seconds),
            (None, Some(at)) => Deadline::At(at),
            (None, None) => Deadline::Usual,
        }
    }
}

/// The terminal's level and the id of a command's topic, behind `{root}/{site}/`.
pub(super) fn address<'a>(front: &str, topic: &'a str) -> Option<(&'a str, &'a str)> {
    let mut levels = topic.strip_prefix(front)?.split('/');
    let (terminal, command, id) = (levels.next()?, levels.next()?, levels.next()?);
    (command == "command" && levels.next().is_none()).then_some((terminal, id))
}

/// Where it is told how a command ended.
pub(super) fn result_topic(front: &str, terminal: &str, id: &str) -> String {
    let mut topic = front.to_owned();
    level::push_level(&mut topic, terminal);
    topic.push_str("/command/");
    topic.push_str(id);
    topic.push_str("/result");
    topic
}

/// How a command ended.
pub(super) fn result(command: &Command) -> String {
    serde_json::to_string(command).unwrap_or_default()
}

/// Why something became no command.
pub(super) fn refusal(terminal: &str, id: &str, refusal: &Refusal) -> String {
    json!({
        "id": id, "source": "mqtt", "terminal": terminal, "state": "refused",
        "code": refusal.code.name(), "detail": refusal.detail,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_payloads_read() {
        let front = "vestibule/v1/br001/";
        for (topic, address_of) in [
            ("vestibule/v1/br001/atm-1/command/7", Some(("atm-1", "7"))),
            ("vestibule/v1/br001/atm-1/command/7/result", None),
            ("vestibule/v1/br001/atm-1/event/7", None),
            ("vestibule/v1/br002/atm-1/command/7", None),
        ] {
            assert_eq!(address(front, topic), address_of, "{topic}");
        }
        assert_eq!(result_topic(front, "atm.02", "7"), "vestibule/v1/br001/atm%2E02/command/7/result");
        let deadline = |text: &str| Payload::parse(text.as_bytes()).map(|payload| payload.deadline());
        assert_eq!(deadline(r#"{"verb":"counters"}"#), Ok(Deadline::Usual));
        assert_eq!(deadline(r#"{"verb":"counters","ttl_s":7}"#), Ok(Deadline::Seconds(7)));
        assert!(matches!(
            deadline(r#"{"verb":"x","expires_at":"2030-01-01T00:00:00Z"}"#),
            Ok(Deadline::At(at)) if at.as_second() == 1_893_456_000
        ));
        for text in ["", "7", r#"{"args":{}}"#, r#"{"verb":"x","colour":1}"#, r#"{"verb":"x","args":[]}"#] {
            assert!(deadline(text).is_err(), "{text}");
        }
        assert!(deadline(r#"{"verb":"x","ttl_s":1,"expires_at":"2030-01-01T00:00:00Z"}"#).is_err());
    }
}
