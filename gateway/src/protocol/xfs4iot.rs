//! XFS4IoT: the devices of a terminal as services, each of which speaks JSON over a WebSocket. One text message, one
//! [`Message`].
//!
//! The header says what a message is; key order is free. KAL's framework sends unsolicited messages with type `event` and
//! no request id, so that counts as unsolicited too. Names and values are compared without regard to case.
//!
//! **What is read of a payload** is decided by a list, not by what is in it: statuses, thresholds, storage units. Payloads
//! of the card reader, PIN pad, keyboard and of every other message are skipped where they stand, and never copied; of
//! those that can hold card data the places are named in `must_drop`.

mod leaves;
mod query;
mod reset;
mod units;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Fault;
use crate::event::Device;
pub use query::{Query, Service, services};
pub use reset::{Outcome, Reset, told};
pub use units::Unit;

/// Largest message accepted, in bytes. Capabilities of a whole terminal have some hundred thousand.
pub const MAX_MESSAGE: usize = 1024 * 1024;
/// Longest name that is kept.
const NAME_MAX: usize = 128;
/// Most places of dropped data that are named.
const MAX_PLACES: usize = 64;
/// Most readings of a change that are named facts besides.
const MAX_CHANGES: usize = 16;

/// What kind of message one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A client asks for something.
    Command,
    /// The service has taken a command, or refused it.
    Acknowledge,
    /// Something happened while a command is carried out; or at all, where there is no request id.
    Event,
    /// A command has ended.
    Completion,
    /// Something happened.
    Unsolicited,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// What kind of message.
    pub r#type: Type,
    /// `Interface.Name`, as it came.
    pub name: String,
    /// The number of the command it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<i64>,
    /// How a command ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_code: Option<String>,
    /// Of an acknowledgement: why the command was refused, and null where it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Option<String>>,
    /// Named facts of the payload, by the names that samples use: `device_state`, `position`, `threshold` and so on.
    #[serde(flatten)]
    pub facts: BTreeMap<String, String>,
    /// Storage units, in the order of the message.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "units::by_name")]
    pub units: Vec<Unit>,
    /// Where the services of a terminal are, in an answer of its publisher.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Every reading of a status, by its path: `printer.paper.upper`.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "leaves::as_map")]
    pub readings: Vec<(String, String)>,
    /// Where card data stood; it is gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub must_drop: Vec<String>,
    /// The device whose service this is, as far as the message, or else the connection, shows.
    #[serde(skip)]
    pub device: Option<Device>,
}

impl Message {
    /// Whether nobody asked for it.
    pub fn is_unsolicited(&self) -> bool {
        self.r#type == Type::Unsolicited || (self.r#type == Type::Event && self.request_id.is_none())
    }

    /// A named fact of the payload.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }

    /// The same message; where it does not show which device it is about, or which of several printers, that of its
    /// service.
    #[must_use]
    pub fn of_service(mut self, device: Option<Device>) -> Message {
        self.device = match self.device {
            None | Some(Device::ReceiptPrinter) => device.or(self.device),
            known => known,
        };
        self
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    header: Header<'a>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(default)]
    request_id: Option<i64>,
    #[serde(default)]
    status: Option<Cow<'a, str>>,
    #[serde(default)]
    completion_code: Option<Cow<'a, str>>,
}

/// Decodes one text message.
///
/// # Errors
/// Where it is no JSON, has no header, or is nested deeper than a parser follows.
pub fn decode(text: &[u8]) -> Result<Message, Fault> {
    // Nothing of a message that nobody understands is shown, nor the parser's own sentence, which quotes from it: a
    // track in base64 no mask would know.
    let fault = |error: serde_json::Error| {
        let (what, line, column) = (error.classify(), error.line(), error.column());
        Fault::new(format!("no XFS4IoT message: {what:?} at {line}:{column} of {} bytes", text.len()), &[])
    };
    if text.len() > MAX_MESSAGE {
        return Err(Fault::new(format!("a message of {} bytes, at most {MAX_MESSAGE} are read", text.len()), &[]));
    }
    let Envelope { header, payload } = serde_json::from_slice(text).map_err(fault)?;
    let kind = match header.r#type.to_ascii_lowercase().as_str() {
        "command" => Type::Command,
        "acknowledge" | "acknowledgement" => Type::Acknowledge,
        "event" => Type::Event,
        "completion" => Type::Completion,
        "unsolicited" => Type::Unsolicited,
        _ => return Err(Fault::new("no XFS4IoT message type", &[])),
    };
    let name = shown(&header.name, NAME_MAX);
    let lower = name.to_ascii_lowercase();
    let mut message = Message {
        r#type: kind,
        request_id: header.request_id,
        completion_code: header.completion_code.map(|code| shown(&code, NAME_MAX)),
        status: (kind == Type::Acknowledge).then(|| header.status.map(|status| shown(&status, NAME_MAX))),
        facts: BTreeMap::new(),
        units: Vec::new(),
        services: Vec::new(),
        readings: Vec::new(),
        must_drop: Vec::new(),
        device: device_of(interface(&lower)),
        name,
    };
    if let Some(payload) = payload {
        message.read(&lower, payload.get()).map_err(fault)?;
    }
    Ok(message)
}

/// What is read of a message's payload.
enum Reads {
    /// Nothing at all.
    Nothing,
    /// Only where data stood that must not be kept.
    Places,
    /// The error code alone.
    ErrorCode,
    /// The names of the interfaces, which say what the device is.
    Interfaces,
    Status,
    Storage,
    Services,
    /// An event with a flat payload of facts.
    Facts,
}

fn reads(kind: Type, name: &str) -> Reads {
    let event = matches!(kind, Type::Event | Type::Unsolicited);
    match (interface(name), name) {
        (_, "common.status") if kind == Type::Completion => Reads::Status,
        (_, "common.statuschangedevent") if event => Reads::Status,
        (_, "common.capabilities") if kind == Type::Completion => Reads::Interfaces,
        (_, "storage.getstorage") if kind == Type::Completion => Reads::Storage,
        (_, "servicepublisher.getservices") if kind == Type::Completion => Reads::Services,
        (_, "servicepublisher.servicedetailevent") if event => Reads::Services,
        ("storage", _) if event => Reads::Storage,
        ("common" | "cashmanagement" | "cashdispenser" | "cashacceptor" | "printer" | "camera", _) if event => {
            Reads::Facts
        }
        (_, "cardreader.cardactionevent" | "cardreader.mediadetectedevent") if event => Reads::Facts,
        ("cardreader" | "pinpad" | "keyboard" | "crypto" | "keymanagement" | "barcodereader" | "textterminal", _) => {
            Reads::Places
        }
        _ if kind == Type::Completion => Reads::ErrorCode,
        _ => Reads::Nothing,
    }
}

/// Payload keys and what they are called here.
const FACTS: [(&str, &str); 16] = [
    ("eventId", "event_id"),
    ("action", "action"),
    ("position", "position"),
    ("shutter", "shutter"),
    ("to", "to"),
    ("from", "from"),
    ("paperSource", "paper_source"),
    ("threshold", "threshold"),
    ("mediaThreshold", "threshold"),
    ("state", "threshold"),
    ("binNumber", "bin"),
    ("reason", "reason"),
    ("retractResult", "retract_result"),
    ("errorCode", "error_code"),
    ("failure", "failure"),
    ("additionalBunches", "additional_bunches"),
];

impl Message {
    fn read(&mut self, name: &str, payload: &str) -> Result<(), serde_json::Error> {
        match reads(self.r#type, name) {
            Reads::Nothing => Ok(()),
            Reads::Places => leaves::each(payload, |path, value| {
                let key = path.rsplit('.').next().unwrap_or_default();
                if path == "errorCode" {
                    self.facts.insert("error_code".to_owned(), shown(value, NAME_MAX));
                } else if key != "status" && self.must_drop.len() < MAX_PLACES {
                    self.must_drop.push(format!("payload.{}", shown(path, NAME_MAX)));
                }
            }),
            Reads::ErrorCode => self.facts(payload, &|key| key == "errorCode"),
            Reads::Interfaces => {
                let device = &mut self.device;
                leaves::each(payload, |path, _| {
                    *device = device.or_else(|| device_of(&interface(path).to_ascii_lowercase()));
                })
            }
            Reads::Facts => self.facts(payload, &|_| true),
            Reads::Services => {
                self.services = query::services(payload)?;
                Ok(())
            }
            Reads::Storage => {
                self.units = units::read(payload)?;
                self.facts(payload, &|key| matches!(key, "failure" | "errorCode"))
            }
            Reads::Status => {
                let readings = &mut self.readings;
                leaves::each(payload, |path, value| readings.push((path.to_owned(), shown(value, NAME_MAX))))?;
                let others = readings.iter().filter_map(|(path, _)| device_of(&interface(path).to_ascii_lowercase()));
                self.device = self.device.or(others.into_iter().next());
                for (path, fact) in [("common.device", "device_state"), ("common.antiFraudModule", "anti_fraud")] {
                    if let Some((_, value)) = readings.iter().find(|(found, _)| found.eq_ignore_ascii_case(path)) {
                        self.facts.insert(fact.to_owned(), value.clone());
                    }
                }
                // A change has few readings: each is a fact by the name of its property.
                if name == "common.statuschangedevent" && self.readings.len() <= MAX_CHANGES {
                    for (path, value) in self.readings.iter().filter(|(path, _)| interface(path) != "common") {
                        let steps = path.rsplit('.').find(|step| step.parse::<u16>().is_err());
                        self.facts.entry(snake(steps.unwrap_or_default())).or_insert_with(|| value.clone());
                    }
                }
                Ok(())
            }
        }
    }

    fn facts(&mut self, payload: &str, wanted: &dyn Fn(&str) -> bool) -> Result<(), serde_json::Error> {
        leaves::each(payload, |path, value| {
            if let Some((_, fact)) = FACTS.iter().find(|(key, _)| wanted(key) && key.eq_ignore_ascii_case(path)) {
                self.facts.insert((*fact).to_owned(), shown(value, NAME_MAX));
            }
        })
    }
}

/// The part of a name, or of a path, before its first point.
fn interface(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// The device that an interface is of.
pub(crate) fn device_of(interface: &str) -> Option<Device> {
    Some(match interface {
        "cardreader" => Device::CardReader,
        "cashdispenser" | "cashmanagement" => Device::CashHandler,
        "cashacceptor" => Device::NoteAcceptor,
        "printer" => Device::ReceiptPrinter,
        "keymanagement" | "keyboard" | "pinpad" | "crypto" => Device::Encryptor,
        "auxiliaries" => Device::Sensors,
        "barcodereader" => Device::BarcodeReader,
        "camera" => Device::Camera,
        "check" => Device::ChequeProcessor,
        "deposit" => Device::Depository,
        "powermanagement" => Device::Power,
        "textterminal" => Device::CardholderDisplay,
        _ => return None,
    })
}

/// `safeDoor` as `safe_door`.
fn snake(name: &str) -> String {
    name.chars().fold(String::new(), |mut snake, char| {
        if char.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(char.to_ascii_lowercase());
        snake
    })
}

/// Text fit to be kept: cut, and without what could be a card number.
fn shown(text: &str, limit: usize) -> String {
    let cut: String = text.chars().filter(|char| !char.is_control()).take(limit).collect();
    crate::mask::text(&cut).into_owned()
}

#[cfg(test)]
mod tests;
