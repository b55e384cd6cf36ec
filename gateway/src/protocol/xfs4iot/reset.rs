//! The one thing that a service can be told to do: bring its device back to a known state.
//!
//! Devices that move something have a `Reset`. Encryptors have one too, and are left alone: their keys are nobody's
//! business here. Where media or notes go is left to the service, which knows its device.

use serde_json::{Map, Value, json};

use super::query::command;
use super::{Message, Type};
use crate::command::{Code, Refusal, Told};
use crate::event::Device;

/// A reset, by the interface whose command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The card reader.
    CardReader,
    /// Cash, in or out.
    Cash,
    /// Any printer.
    Printer,
}

/// What a service says of its reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// The service has no such command.
    Unsupported,
    /// It was not carried out: the service's own word.
    Failed(String),
}

impl Reset {
    /// Every one.
    pub const ALL: [Reset; 3] = [Reset::CardReader, Reset::Cash, Reset::Printer];

    /// The reset of such a device, where it has one that we may ask for.
    pub fn of(device: Device) -> Option<Reset> {
        match device {
            Device::CardReader => Some(Reset::CardReader),
            Device::CashHandler | Device::NoteAcceptor => Some(Reset::Cash),
            Device::ReceiptPrinter | Device::JournalPrinter | Device::StatementPrinter | Device::Passbook => {
                Some(Reset::Printer)
            }
            _ => None,
        }
    }

    /// The command's name.
    pub fn name(self) -> &'static str {
        match self {
            Reset::CardReader => "CardReader.Reset",
            Reset::Cash => "CashManagement.Reset",
            Reset::Printer => "Printer.Reset",
        }
    }

    /// The message to send, with this request number (from 1).
    pub fn message(self, request_id: u32) -> String {
        let payload = match self {
            Reset::CardReader => json!({ "to": "auto" }),
            Reset::Cash | Reset::Printer => json!({}),
        };
        command(self.name(), request_id, &payload)
    }

    /// What this message says of the reset of this number; `None` where it is about something else, or says that it goes on.
    pub fn told(message: &Message, request_id: u32) -> Option<Outcome> {
        if message.request_id != Some(i64::from(request_id)) {
            return None;
        }
        match (message.r#type, &message.status, message.completion_code.as_deref()) {
            (Type::Acknowledge, Some(Some(why)), _) => Some(Outcome::Failed(why.clone())),
            (Type::Completion, _, Some(code)) if code.eq_ignore_ascii_case("success") => Some(Outcome::Done),
            (Type::Completion, _, Some(code)) if is_unsupported(code) => Some(Outcome::Unsupported),
            (Type::Completion, _, code) => Some(Outcome::Failed(code.unwrap_or("no completion code").to_owned())),
            _ => None,
        }
    }
}

fn is_unsupported(code: &str) -> bool {
    ["unsupportedCommand", "invalidCommand"].iter().any(|known| known.eq_ignore_ascii_case(code))
}

/// What the services of a terminal have said, each by its name, as one answer; `None` where one has not said what became of
/// its reset.
pub fn told(outcomes: &[(String, Option<Outcome>)]) -> Option<Told> {
    let mut words = Map::new();
    let mut failed = None;
    for (service, outcome) in outcomes {
        let word = match outcome.as_ref()? {
            Outcome::Done => "success",
            Outcome::Unsupported => "unsupported",
            Outcome::Failed(why) => {
                failed.get_or_insert(why);
                why
            }
        };
        words.insert(service.clone(), Value::from(word));
    }
    let all = || outcomes.iter().map(|(service, _)| format!("{service}: {}", words[service].as_str().unwrap_or("")));
    let refused = |code| Told::Refused(Refusal::new(code, all().collect::<Vec<_>>().join(", ")));
    Some(match failed {
        Some(why) if is_fault(why) => refused(Code::DeviceFault),
        Some(_) => refused(Code::Rejected),
        None if words.values().any(|word| word == "success") => Told::Done(Some(Value::Object(words))),
        None => refused(Code::Unsupported),
    })
}

/// Whether it is the device that failed, and not the command.
fn is_fault(code: &str) -> bool {
    ["hardwareError", "deviceNotReady", "internalError", "commandErrorCode", "fraudAttempt", "userError", "timeOut"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    #[test]
    fn only_what_moves_is_reset_and_only_so() {
        let reset: Vec<Device> =
            (0..0x200).filter_map(Device::from_code).filter(|device| Reset::of(*device).is_some()).collect();
        assert!(!reset.contains(&Device::Encryptor) && reset.contains(&Device::CashHandler), "{reset:?}");
        for (reset, payload) in Reset::ALL.into_iter().zip([json!({"to": "auto"}), json!({}), json!({})]) {
            let said: Value = serde_json::from_str(&reset.message(7)).expect("JSON");
            let header =
                json!({"type": "command", "name": reset.name(), "requestId": 7, "version": "2.0", "timeout": 0});
            assert_eq!(said, json!({"header": header, "payload": payload}));
            assert!(reset.name().ends_with(".Reset"));
        }
    }

    #[test]
    fn an_acknowledgement_or_a_completion_says_what_became_of_it() {
        let outcome = |kind: &str, id: u32, more: &str| {
            let text = format!(r#"{{"header":{{"type":"{kind}","name":"CardReader.Reset","requestId":{id}{more}}}}}"#);
            Reset::told(&decode(text.as_bytes()).expect("a message"), 4)
        };
        assert_eq!(outcome("acknowledge", 4, ""), None, "it goes on");
        assert_eq!(outcome("acknowledge", 4, r#","status":null"#), None);
        let busy = outcome("acknowledge", 4, r#","status":"tooManyRequests""#);
        assert_eq!(busy, Some(Outcome::Failed("tooManyRequests".to_owned())));
        assert_eq!(outcome("completion", 3, r#","completionCode":"success""#), None, "another's");
        assert_eq!(outcome("event", 4, ""), None);
        assert_eq!(outcome("completion", 4, r#","completionCode":"Success""#), Some(Outcome::Done));
        let unknown = outcome("completion", 4, r#","completionCode":"unsupportedCommand""#);
        assert_eq!(unknown, Some(Outcome::Unsupported));
        assert!(matches!(outcome("completion", 4, ""), Some(Outcome::Failed(_))));
    }

    #[test]
    fn several_services_give_one_answer() {
        let failed = |why: &str| Some(Outcome::Failed(why.to_owned()));
        let word = |outcomes: &[Option<Outcome>]| {
            let names = ["CardReader", "CashDispenser"].map(str::to_owned);
            match told(&names.into_iter().zip(outcomes.iter().cloned()).collect::<Vec<_>>()) {
                None => "-".to_owned(),
                Some(Told::Done(result)) => result.unwrap_or_default().to_string(),
                Some(Told::Refused(refusal)) => format!("{} {}", refusal.code, refusal.detail),
            }
        };
        for (outcomes, expected) in [
            (
                [Some(Outcome::Done), Some(Outcome::Unsupported)],
                r#"{"CardReader":"success","CashDispenser":"unsupported"}"#,
            ),
            (
                [Some(Outcome::Done), failed("hardwareError")],
                "device_fault CardReader: success, CashDispenser: hardwareError",
            ),
            (
                [failed("sequenceError"), Some(Outcome::Done)],
                "rejected CardReader: sequenceError, CashDispenser: success",
            ),
            (
                [Some(Outcome::Unsupported), Some(Outcome::Unsupported)],
                "unsupported CardReader: unsupported, CashDispenser: unsupported",
            ),
            ([Some(Outcome::Done), None], "-"),
        ] {
            assert_eq!(word(&outcomes), expected);
        }
    }
}
