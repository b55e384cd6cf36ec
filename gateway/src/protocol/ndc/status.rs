//! A device status: what unsolicited status (12), device faults (22, descriptor 8) and printed journals have in common.
//!
//! Four fields: device identifier with its status, error severity, diagnostic status, supplies; all but the first may be
//! missing. Nothing here is refused but an empty device identifier: a field that is not what it should be is kept as text.

use std::collections::BTreeMap;

use serde::Serialize;

use super::digit;
use crate::event::Device;
use crate::mask;

/// The sensors of a full image, in the order of the message.
const SENSORS: [&str; 12] = [
    "supervisor_mode",
    "vibration_heat",
    "door",
    "silent_signal",
    "electronics_enclosure",
    "deposit_bin",
    "card_bin",
    "reject_bin",
    "cassette_1",
    "cassette_2",
    "cassette_3",
    "cassette_4",
];

/// What follows the sensors of a full image on terminals that have these.
const FURTHER_SENSORS: [&str; 8] = [
    "coin_dispenser",
    "hopper_1",
    "hopper_2",
    "hopper_3",
    "hopper_4",
    "cheque_pocket_1",
    "cheque_pocket_2",
    "cheque_pocket_3",
];

/// The status of one device. Absent fields were not in the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// The device identifier graphic.
    pub dig: char,
    /// The device it stands for.
    pub device: Device,
    /// Transaction status (T-code): how the last operation ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_status: Option<char>,
    /// Notes or coins given out in the last operation, by cassette type or hopper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes_dispensed: Option<Vec<u32>>,
    /// What follows the transaction status and has no meaning here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_data: Option<String>,
    /// Error severity: one digit for the device, then one for each part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Vec<u8>>,
    /// A severity field that is not made of digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity_raw: Option<String>,
    /// The diagnostic field as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostic_raw: Option<String>,
    /// Main error status: its meaning belongs to the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub m_status: Option<String>,
    /// Diagnostic data: its meaning belongs to the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub m_data: Option<String>,
    /// Supplies status, one digit for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supplies: Option<Vec<u8>>,
    /// A supplies field that is not made of digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supplies_raw: Option<String>,
    /// Configuration id, after power-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_id: Option<String>,
    /// Keys pressed in the supervisor menu.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_menu_keys: Option<String>,
    /// What changed at the sensors: 1 tamper indication, 2 mode, 3 alarms, 5 both in full, 6 both, flexible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_change: Option<char>,
    /// Whether supervisor mode was entered or left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supervisor_mode: Option<bool>,
    /// The sensors of a full image: whether each is active (a bin: whether it is in its place).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_bits: Option<BTreeMap<&'static str, bool>>,
    /// Sensors beyond the fourth cassette.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further_sensor_bits: Option<BTreeMap<&'static str, bool>>,
}

impl DeviceStatus {
    /// A status of this device that says nothing yet.
    fn of(dig: char) -> DeviceStatus {
        let graphic = u8::try_from(u32::from(dig)).unwrap_or(b'?');
        DeviceStatus {
            dig,
            device: Device::from_dig(graphic),
            transaction_status: None,
            notes_dispensed: None,
            status_data: None,
            severity: None,
            severity_raw: None,
            diagnostic_raw: None,
            m_status: None,
            m_data: None,
            supplies: None,
            supplies_raw: None,
            config_id: None,
            operator_menu_keys: None,
            sensor_change: None,
            supervisor_mode: None,
            sensor_bits: None,
            further_sensor_bits: None,
        }
    }

    /// The worst digit of the severity field, 0 where there is none.
    pub fn worst_severity(&self) -> u8 {
        // A digit above 4 has no meaning: it must not hide one that has.
        self.severity.iter().flatten().copied().filter(|digit| *digit <= 4).max().unwrap_or(0)
    }

    /// Whether this sensor is reported active.
    pub fn sensor(&self, name: &str) -> bool {
        self.sensor_bits.as_ref().and_then(|bits| bits.get(name)).copied().unwrap_or(false)
    }
}

/// Reads a device status from its four fields, or from as many of them as the message has.
///
/// # Errors
/// Where the first field is empty: then nobody knows which device speaks.
pub fn parse(
    dig_and_status: &str,
    severity: Option<&str>,
    diagnostic: Option<&str>,
    supplies: Option<&str>,
) -> Result<DeviceStatus, String> {
    let mut chars = dig_and_status.chars();
    let dig = chars.next().ok_or("no device identifier")?;
    let mut status = DeviceStatus::of(dig);
    own_fields(&mut status, chars.as_str());
    if let Some(field) = severity.filter(|field| !field.is_empty()) {
        match digit::all(field) {
            Some(digits) => status.severity = Some(digits),
            None => status.severity_raw = Some(mask::text(field).into_owned()),
        }
    }
    if let Some(field) = diagnostic {
        status.diagnostic_raw = Some(field.to_owned());
        if let Some((m_status, m_data)) = split_at_char(field, 2) {
            status.m_status = Some(m_status.to_owned());
            status.m_data = Some(m_data.to_owned());
        }
    }
    if let Some(field) = supplies.filter(|field| !field.is_empty()) {
        match digit::all(field) {
            Some(digits) => status.supplies = Some(digits),
            None => status.supplies_raw = Some(mask::text(field).into_owned()),
        }
    }
    Ok(status)
}

/// What follows the device identifier in the same field; each device has its own form.
fn own_fields(status: &mut DeviceStatus, rest: &str) {
    match status.device {
        Device::Power => status.config_id = Some(rest.to_owned()),
        Device::OperatorKeys => status.operator_menu_keys = Some(rest.to_owned()),
        Device::Sensors => sensors(status, rest),
        _ => transaction_status(status, rest),
    }
}

fn transaction_status(status: &mut DeviceStatus, rest: &str) {
    let mut chars = rest.chars();
    status.transaction_status = chars.next();
    let data = chars.as_str();
    if data.is_empty() {
        return;
    }
    let counts = matches!(
        status.device,
        Device::CashHandler | Device::CashHandler0 | Device::CashHandler1 | Device::CoinDispenser
    );
    status.notes_dispensed = if counts { digit::numbers(data, 2) } else { None };
    if status.notes_dispensed.is_none() {
        // A cheque processor may put an account number here; counts of notes that are no pairs are counts all the same.
        status.status_data = Some(if counts { mask::number(data) } else { mask::text(data) }.into_owned());
    }
}

fn sensors(status: &mut DeviceStatus, rest: &str) {
    let mut chars = rest.chars();
    status.sensor_change = chars.next();
    let data = chars.as_str();
    match (status.sensor_change, bits(data)) {
        (Some('2'), Some(bits)) if bits.len() == 1 => status.supervisor_mode = bits.first().copied(),
        (Some('1' | '5'), Some(bits)) if !bits.is_empty() => {
            let further = bits.get(SENSORS.len()..).unwrap_or_default();
            if !further.is_empty() {
                status.further_sensor_bits =
                    Some(FURTHER_SENSORS.iter().copied().zip(further.iter().copied()).collect());
            }
            status.sensor_bits = Some(SENSORS.iter().copied().zip(bits).collect());
        }
        _ if data.is_empty() => {}
        _ => status.status_data = Some(data.to_owned()),
    }
}

fn bits(text: &str) -> Option<Vec<bool>> {
    text.chars()
        .map(|bit| match bit {
            '0' => Some(false),
            '1' => Some(true),
            _ => None,
        })
        .collect()
}

/// The sensors of a full image by name; nothing where the text is no image.
pub(super) fn sensor_bits(image: &str) -> Option<BTreeMap<&'static str, bool>> {
    let names = SENSORS.iter().chain(&FURTHER_SENSORS).copied();
    bits(image).filter(|bits| !bits.is_empty()).map(|bits| names.zip(bits).collect())
}

/// A text cut after `count` characters, or nothing where it is shorter.
fn split_at_char(text: &str, count: usize) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    let at = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    (text.chars().count() >= count).then(|| text.split_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fields_stay_absent() {
        let status = parse("E001020100", None, Some("00"), Some("11120")).expect("a status");
        assert_eq!(
            serde_json::to_value(&status).expect("serialises"),
            serde_json::json!({
                "dig": "E", "device": "cash_handler", "transaction_status": "0", "notes_dispensed": [1, 2, 1, 0],
                "diagnostic_raw": "00", "m_status": "00", "m_data": "", "supplies": [1, 1, 1, 2, 0],
            })
        );
        let bare = parse("E", None, None, None).expect("a status");
        assert_eq!(
            serde_json::to_value(&bare).expect("serialises"),
            serde_json::json!({"dig": "E", "device": "cash_handler"})
        );
        assert!(parse("", None, None, None).is_err());
    }

    #[test]
    fn nothing_makes_it_fail() {
        for field in ["é", "é9é", "E1é2", "P", "P1", "P2", "P2x", "P5012", "B", "R", "w?4123456789011234", "D\u{ff}"]
        {
            for other in ["", "0", "é", "éé0", "4:000000", "x"] {
                parse(field, Some(other), Some(other), Some(other)).expect("always a status");
            }
        }
        let status = parse("w?4123456789011234", None, None, None).expect("a status");
        assert_eq!(status.status_data.as_deref(), Some("412345******1234"));
    }

    #[test]
    fn a_full_image_of_the_sensors() {
        let status = parse("P1010000000000110000", None, None, None).expect("a status");
        assert!(status.sensor("vibration_heat"));
        assert!(!status.sensor("door"));
        assert_eq!(status.sensor_bits.as_ref().map(BTreeMap::len), Some(12));
        assert_eq!(status.further_sensor_bits.as_ref().and_then(|bits| bits.get("coin_dispenser")), Some(&true));
    }
}
