//! The tables of an uploaded document.
//!
//! Numbers that name a row have 32 bits, so that none of them can be a card number; amounts and places outside of what
//! they can mean are left out.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::mask;

/// Most characters of one text.
const MAX_TEXT: usize = 5_000;
/// The largest cash level that the table has room for (eight digits before the point).
const MAX_CASH: u32 = 100_000_000;

/// A text of the document: masked and cut to length while it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        // Cut first, so that a long text costs no more than a short one. A number that the cut goes through is cut off
        // with it: what is left of it might be too short to be masked.
        let text = match text.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => text[..end].trim_end_matches(|c: char| c.is_ascii_hexdigit() || !c.is_alphanumeric()),
            None => &text,
        };
        Ok(Text(mask::printed(text).into_owned()))
    }
}

/// A region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionRow {
    /// Its number.
    pub id: u32,
    /// Its name.
    #[serde(default)]
    pub region_name: Text,
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BranchRow {
    /// Its number.
    pub branch_id: u32,
    /// Its name.
    #[serde(default)]
    pub branch_name: Text,
    /// The region it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_id: Option<u32>,
}

/// How the members of a group are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupKind {
    /// They are listed: each terminal names its group.
    Static,
    /// By a rule where there is one, else as for a static group.
    Dynamic,
}

/// Who is in a dynamic group: terminals for which everything that is given here holds.
///
/// An addition to the protocol of the seed, whose dynamic groups have a type and no rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupRule {
    /// The branch it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<u32>,
    /// The region its branch is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<u32>,
    /// Its software.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software: Option<Text>,
    /// Its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Text>,
    /// The model of a device in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Text>,
    /// The family of a condition that is open now: `device`, `supply`, `comms`, `security`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Text>,
}

/// A group of terminals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRow {
    /// Its number.
    pub group_id: u32,
    /// Its name.
    #[serde(default)]
    pub group_name: Text,
    /// What it is for.
    #[serde(default)]
    pub group_description: Text,
    /// How its members are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_type: Option<GroupKind>,
    /// The rule of a dynamic group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_rule: Option<GroupRule>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRow {
    /// Its number.
    pub device_id: u32,
    /// Its model, which also says what it is.
    #[serde(default)]
    pub device_model: Text,
    /// Who makes it.
    #[serde(default)]
    pub device_manufacturer: Text,
    /// Its serial number.
    #[serde(default)]
    pub device_serial_number: Text,
}

/// A terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AtmRow {
    /// Its number.
    pub atm_id: u32,
    /// Its name, for people.
    #[serde(default)]
    pub atm_name: Text,
    /// Its network address.
    #[serde(default)]
    pub network_address: Text,
    /// Degrees north.
    #[serde(default, deserialize_with = "latitude", skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east.
    #[serde(default, deserialize_with = "longitude", skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// Its time zone; the seed writes a time here, which is then no zone and is not used.
    #[serde(default)]
    pub timezone: Text,
    /// Its network mask.
    #[serde(default)]
    pub subnet: Text,
    /// The branch it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_id: Option<u32>,
    /// The group it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<u32>,
    /// `Online`, `Offline` or `Under Maintenance`.
    #[serde(default)]
    pub status: Text,
    /// The cash in it, in whole units and hundredths; its currency is not said.
    #[serde(
        rename = "cash_level",
        default,
        deserialize_with = "cash",
        serialize_with = "as_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub cash_level: Option<Decimal>,
    /// When cash was last added.
    #[serde(rename = "last_cash_replenishment", default)]
    pub last_cash_replenishment: Text,
    /// Its software.
    #[serde(rename = "software_version", default)]
    pub software_version: Text,
    /// Seconds since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<u32>,
}

/// A device in a terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AtmDeviceRow {
    /// The terminal's number.
    pub atm_id: u32,
    /// The device's number.
    pub device_id: u32,
    /// `Operational`, `Faulty` or `Under Maintenance`.
    #[serde(default)]
    pub device_status: Text,
}

/// A line of a terminal's electronic journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalRow {
    /// Its number.
    pub ej_id: u32,
    /// The line.
    pub ej_data: Text,
    /// The terminal's number.
    pub atm_id: u32,
    /// When it was written.
    #[serde(default)]
    pub timestamp: Text,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRow {
    /// Its number.
    pub event_id: u32,
    /// What happened.
    pub event_name: Text,
    /// `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    #[serde(default)]
    pub event_level: Text,
    /// Its journal line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ej_id: Option<u32>,
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionRow {
    /// Its number.
    pub transaction_id: u32,
    /// What was done.
    pub transaction_type: Text,
    /// With which facts: `Account: 1234, Amount: $200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_detail: Option<Text>,
    /// Its journal line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ej_id: Option<u32>,
}

fn within<'de, D: Deserializer<'de>>(deserializer: D, limit: f64) -> Result<Option<f64>, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.filter(|degrees| degrees.abs() <= limit))
}

fn latitude<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    within(deserializer, 90.0)
}

fn longitude<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    within(deserializer, 180.0)
}

/// A JSON number has no fixed point: eight digits and two decimals survive the way through a double.
fn cash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    let cash = number.and_then(|number| Decimal::try_from(number).ok()).map(|cash| {
        let mut cash = cash.round_dp(2);
        cash.rescale(2);
        cash
    });
    Ok(cash.filter(|cash| cash.abs() < Decimal::from(MAX_CASH)))
}

fn as_text<S: Serializer>(cash: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
    match cash {
        Some(cash) => serializer.collect_str(cash),
        None => serializer.serialize_none(),
    }
}
