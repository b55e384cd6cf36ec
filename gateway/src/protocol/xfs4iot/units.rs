//! Storage units: cassettes, bins and everything else that holds items.

use serde::ser::{SerializeMap, Serializer};

use super::{leaves, shown};
use crate::event::{Component, Device};

/// Most units of one message.
const MAX_UNITS: usize = 64;
/// Most counts of one unit.
const MAX_COUNTS: usize = 32;

/// What a message says of one storage unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its key in the message: `unit1`.
    pub name: String,
    /// What it holds: `cash`, `card`, `printer` and so on, where that is said.
    pub holds: Option<String>,
    /// `ok`, `inoperative`, `missing`, `notConfigured`, `manipulated`.
    pub status: Option<String>,
    /// `ok`, `full`, `high`, `low`, `empty`.
    pub replenishment: Option<String>,
    /// Which of its operations do not work.
    pub operation: Option<String>,
    /// Whether items are given out of it, where that is said.
    pub gives: Option<bool>,
    /// Whether items are put into it, where that is said.
    pub takes: Option<bool>,
    /// Its counts, by their path below the unit's status.
    pub counts: Vec<(String, i64)>,
}

impl Unit {
    /// The part of an event that is about it; `None` where its name has no number that fits.
    pub fn component(&self) -> Option<Component> {
        self.name.strip_prefix("unit").and_then(|number| number.parse().ok()).map(Component::Unit)
    }

    /// The device that it belongs to.
    pub fn device(&self) -> Option<Device> {
        match self.holds.as_deref()? {
            "cash" => Some(Device::CashHandler),
            "card" => Some(Device::CardReader),
            "printer" => Some(Device::ReceiptPrinter),
            "check" => Some(Device::ChequeProcessor),
            "deposit" => Some(Device::Depository),
            _ => None,
        }
    }

    /// The worst that is said of it, in one word.
    fn word(&self) -> &str {
        let status = self.status.as_deref().filter(|status| !status.eq_ignore_ascii_case("ok"));
        status.or(self.replenishment.as_deref()).or(self.status.as_deref()).unwrap_or("unknown")
    }
}

/// The units of a payload: at its top, under `storage`, or under `unit`.
pub(super) fn read(payload: &str) -> Result<Vec<Unit>, serde_json::Error> {
    let mut units: Vec<Unit> = Vec::new();
    leaves::each(payload, |path, value| {
        let path = path.strip_prefix("storage.").or(path.strip_prefix("unit.")).unwrap_or(path);
        let Some((name, fact)) = path.split_once('.').filter(|(name, _)| name.starts_with("unit")) else { return };
        let at = match units.iter().position(|unit| unit.name == name) {
            Some(at) => at,
            None if units.len() < MAX_UNITS => {
                units.push(Unit { name: shown(name, 32), ..Unit::default() });
                units.len() - 1
            }
            None => return,
        };
        if let Some(unit) = units.get_mut(at) {
            unit.take(fact, value);
        }
    })?;
    Ok(units)
}

impl Unit {
    fn take(&mut self, fact: &str, value: &str) {
        let (holds, below) = match fact.split_once('.') {
            None if fact == "status" => {
                self.status = Some(shown(value, 32));
                return;
            }
            None => return,
            Some(parts) => parts,
        };
        match below {
            "status.replenishmentStatus" => self.replenishment = Some(shown(value, 32)),
            "status.operationStatus" => self.operation = Some(shown(value, 32)),
            _ => {}
        }
        if let Some(way) = below.strip_prefix("configuration.types.").filter(|_| holds == "cash") {
            let yes = value == "true";
            let side = if matches!(way, "cashOut" | "replenishment") { &mut self.gives } else { &mut self.takes };
            *side = Some(side.unwrap_or(false) || yes);
        }
        let count = below.strip_prefix("status.").zip(value.parse().ok());
        if let Some((path, count)) = count.filter(|_| self.counts.len() < MAX_COUNTS) {
            self.counts.push((shown(path, 96), count));
        }
        if self.holds.is_none() {
            self.holds = Some(shown(holds, 32));
        }
    }
}

/// The units as an object: name and the worst that is said of each.
pub(super) fn by_name<S: Serializer>(units: &[Unit], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(units.len()))?;
    for unit in units {
        map.serialize_entry(&unit.name, unit.word())?;
    }
    map.end()
}
