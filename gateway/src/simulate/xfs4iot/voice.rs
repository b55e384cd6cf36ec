//! Acts as what the services of a terminal say unasked.

use serde_json::{Value, json};

use super::{Reset, Service};
use crate::simulate::script::{Act, Level};

/// The services of a simulated terminal.
const DISPENSER: &str = "CashDispenser";
const ACCEPTOR: &str = "CashAcceptor";
const READER: &str = "CardReader";
const PRINTER: &str = "Printer";
const OPERATOR: &str = "VendorMode";

/// Something that a service says.
#[derive(Clone, Debug, PartialEq)]
pub struct Unasked {
    /// Which service.
    pub service: &'static str,
    /// The event's name.
    pub name: &'static str,
    /// Its payload.
    pub payload: Value,
}

fn says(service: &'static str, name: &'static str, payload: Value) -> Unasked {
    Unasked { service, name, payload }
}

/// Says acts as the services would, and knows how each is.
#[derive(Clone, Debug)]
pub struct Voice {
    levels: [Level; 4],
    paper: Level,
    dispenser: &'static str,
}

impl Default for Voice {
    fn default() -> Self {
        Voice { levels: [Level::Good; 4], paper: Level::Good, dispenser: "online" }
    }
}

impl Voice {
    /// What is said at this act. A power cycle and keys are not said: the one cuts the connections, the others stay inside.
    pub fn say(&mut self, act: Act) -> Vec<Unasked> {
        let inserted = || says(READER, "CardReader.MediaInsertedEvent", json!({}));
        let taken = || says(READER, "CardReader.MediaRemovedEvent", json!({}));
        let cash = || {
            ["CashManagement.ItemsPresentedEvent", "CashManagement.ItemsTakenEvent"]
                .map(|name| says(DISPENSER, name, json!({ "position": "outDefault" })))
        };
        match act {
            Act::Withdraw(_) => [inserted(), taken()].into_iter().chain(cash()).collect(),
            Act::Deposit(_) => vec![
                inserted(),
                says(ACCEPTOR, "CashManagement.ItemsInsertedEvent", json!({ "position": "inDefault" })),
                says(ACCEPTOR, "CashAcceptor.SubCashInEvent", json!({})),
                taken(),
            ],
            Act::Decline => vec![inserted(), taken()],
            Act::Jackpot(_) => cash().into(),
            Act::Cassette(number, level) => {
                if let Some(cassette) = usize::from(number).checked_sub(1).and_then(|at| self.levels.get_mut(at)) {
                    *cassette = level;
                }
                vec![says(DISPENSER, "Storage.StorageThresholdEvent", json!({ format!("unit{number}"): unit(level) }))]
            }
            Act::Paper(level) => {
                self.paper = level;
                let threshold = json!({ "paperSource": "upper", "threshold": paper(level) });
                vec![says(PRINTER, "Printer.PaperThresholdEvent", threshold)]
            }
            Act::CardCaptured => vec![says(READER, "CardReader.MediaRetainedEvent", json!({}))],
            Act::Jam => vec![self.dispenser("hardwareError")],
            Act::Repair => vec![self.dispenser("online")],
            Act::Retract => {
                let to = json!({ "position": "unit5" });
                vec![says(DISPENSER, "CashManagement.MediaDetectedEvent", to)]
            }
            Act::SupervisorIn => vec![says(OPERATOR, "VendorMode.ModeEnteredEvent", json!({}))],
            Act::SupervisorOut => vec![says(OPERATOR, "VendorMode.ModeExitedEvent", json!({}))],
            Act::SupervisorKey(_) | Act::Restart => Vec::new(),
        }
    }

    fn dispenser(&mut self, device: &'static str) -> Unasked {
        self.dispenser = device;
        says(DISPENSER, "Common.StatusChangedEvent", json!({ "common": { "device": device } }))
    }

    /// The services as they answer now.
    pub fn services(&self) -> Vec<Service> {
        let units = (1_u8..).zip(self.levels).map(|(number, level)| (format!("unit{number}"), unit(level)));
        let storage = json!({ "storage": units.collect::<serde_json::Map<_, _>>() });
        let reset = |name| match name {
            READER => Some("CardReader.Reset"),
            DISPENSER | ACCEPTOR => Some("CashManagement.Reset"),
            PRINTER => Some("Printer.Reset"),
            _ => None,
        };
        let service = |name, status, storage| {
            let reset = reset(name).map(|command| Reset { command, code: Some("success") });
            Service { name, status, storage, reset }
        };
        let online = || json!({ "common": { "device": "online" } });
        let printer =
            json!({ "common": { "device": "online" }, "printer": { "paper": { "upper": paper(self.paper) } } });
        vec![
            service(DISPENSER, json!({ "common": { "device": self.dispenser } }), Some(storage)),
            service(ACCEPTOR, online(), None),
            service(READER, online(), None),
            service(PRINTER, printer, None),
            service(OPERATOR, online(), None),
        ]
    }
}

fn unit(level: Level) -> Value {
    let replenishment = match level {
        Level::Good => "ok",
        Level::Low => "low",
        Level::Out => "empty",
    };
    json!({ "status": "ok", "cash": { "status": { "replenishmentStatus": replenishment } } })
}

fn paper(level: Level) -> &'static str {
    match level {
        Level::Good => "full",
        Level::Low => "low",
        Level::Out => "out",
    }
}
