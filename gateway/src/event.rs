//! The vocabulary: one kind of event for every terminal, protocol and rule.
//!
//! A leaf of the module tree: no I/O, and nothing of the gateway is imported here. The JSON form below is the one that
//! stands in SQLite, in MQTT `data`, in the console and in `vestibule decode`; absent fields are omitted.

mod component;
mod device;
mod kind;
mod money;
mod numeric;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use component::Component;
pub use device::Device;
pub use kind::{Kind, KindInfo, Severity};
pub use money::{Currency, Money, MoneyError};

/// Free facts of an event that have no field of their own, by name. Never card data.
pub type Attributes = BTreeMap<String, serde_json::Value>;

/// Whether an event starts a condition or ends one. Absent on happenings, which do neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The condition has just begun.
    Raised,
    /// The condition is over.
    Cleared,
}

/// Something that happened at a terminal or in the gateway, before the log gave it a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Name of the terminal in the configuration; empty where it is not known yet (`decode`), `gateway` for our own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub terminal: String,
    /// What happened.
    pub kind: Kind,
    /// How bad it is; [`Kind::severity`] unless something raised or lowered it.
    pub severity: Severity,
    /// The device it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// The part of the device it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// Whether this starts or ends a condition; set by the fold over the terminal's known state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// When the terminal says it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// When the gateway read it, by the gateway's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// Whether the gateway's clock was known to be right when the event was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_synced: Option<bool>,
    /// Whether the gateway's times in it were corrected, once its clock was right, by the time that had passed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub time_corrected: bool,
    /// The protocol that carried it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The terminal's link that carried it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Money, where the event is about money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Masked card number: first six and last four at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The id of the event that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The rule that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// One sentence for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Everything else, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

impl Event {
    /// An event of this kind at its default severity, with nothing else known.
    pub fn new(kind: Kind) -> Self {
        Event {
            terminal: String::new(),
            kind,
            severity: kind.severity(),
            device: None,
            component: None,
            state: None,
            occurred_at: None,
            received_at: None,
            time_synced: None,
            time_corrected: false,
            protocol: None,
            link: None,
            amount: None,
            card: None,
            cause: None,
            rule: None,
            detail: String::new(),
            attributes: Attributes::new(),
        }
    }

    /// The same event with another severity.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same event, about this device.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// The same event, about this part.
    #[must_use]
    pub fn component(mut self, component: Component) -> Self {
        self.component = Some(component);
        self
    }

    /// The same event with its sentence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same event with one more attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }
}

/// `kind:severity[:component]`, the short form that the sample files use.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.severity)?;
        match self.component {
            Some(component) => write!(f, ":{component}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_omits_what_is_absent_and_reads_back() {
        let event = Event::new(Kind::SupplyLow)
            .device(Device::CashHandler)
            .component(Component::Cassette(2))
            .detail("cash handler: cassette 2 low");
        let json = serde_json::to_string(&event).expect("events serialise");
        assert_eq!(
            json,
            r#"{"kind":"supply.low","severity":"warning","device":"cash_handler","component":"cassette_2","detail":"cash handler: cassette 2 low"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&json).expect("reads back"), event);
        assert_eq!(event.to_string(), "supply.low:warning:cassette_2");
    }
}
