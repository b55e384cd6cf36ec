//! Configuration, supplies, fitness and sensors of a terminal.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{GS, Report, shown};
use crate::event::Device;
use crate::protocol::ndc::{digit, status};

/// Where the positions of a configuration's fitness and supplies strings stand for the receipt printer, the journal
/// printer and the first of four cassettes.
const RECEIPT: usize = 6;
const JOURNAL: usize = 7;
const CASSETTES: std::ops::Range<usize> = 15..19;
/// Characters of the sensors where the tamper indicators stand apart: the rest of the full image.
const SENSORS_ALONE: usize = 5;

/// Configuration information; raw strings have one position a device, in the order of the device identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// Configuration id; empty where none was loaded.
    pub config_id: String,
    /// Fitness (error severity).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fitness_raw: Option<String>,
    /// Hardware configuration, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hw_config_raw: Option<String>,
    /// Supplies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supplies_raw: Option<String>,
    /// Sensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensors_raw: Option<String>,
    /// Software release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Software id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// Fitness of the devices that have an error, by device.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub device_fitness: BTreeMap<Device, u8>,
    /// Supplies of the devices that have any, by device; of the cash handler the reject bin.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub device_supplies: BTreeMap<Device, u8>,
    /// The sensors by name: whether each is active (a bin: whether it is in its place).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_bits: Option<BTreeMap<&'static str, bool>>,
    /// Fitness of the four cassettes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cassette_fitness: Option<Vec<u8>>,
    /// Supplies of the four cassettes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cassette_supplies: Option<Vec<u8>>,
    /// Receipt paper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_paper: Option<u8>,
    /// Journal paper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_paper: Option<u8>,
}

/// Decodes the report of the configuration.
pub(super) fn decode(config_id: &str, fields: &[&str]) -> Configuration {
    let field = |index: usize| fields.get(index).map(|field| (*field).to_owned());
    let digits = |index: usize| fields.get(index).and_then(|field| digit::all(field)).unwrap_or_default();
    let (fitness, supplies) = (digits(0), digits(2));
    Configuration {
        config_id: shown(config_id),
        fitness_raw: field(0),
        hw_config_raw: field(1),
        supplies_raw: field(2),
        sensors_raw: field(3),
        release: field(4).map(|release| shown(&release)),
        software_id: field(5).map(|software| shown(&software)),
        device_fitness: of_devices(&fitness),
        device_supplies: of_devices(&supplies),
        sensor_bits: fields.get(3).and_then(|sensors| status::sensor_bits(sensors)),
        cassette_fitness: fitness.get(CASSETTES).map(<[u8]>::to_vec),
        cassette_supplies: supplies.get(CASSETTES).map(<[u8]>::to_vec),
        receipt_paper: supplies.get(RECEIPT).copied(),
        journal_paper: supplies.get(JOURNAL).copied(),
    }
}

/// The digits that are not 0, by the device at their position: the order of the device identifiers, `A` first. The
/// cassettes stand where four identifiers are free.
fn of_devices(digits: &[u8]) -> BTreeMap<Device, u8> {
    let device = |(graphic, (position, digit)): (u8, (usize, &u8))| {
        let device = Device::from_dig(graphic);
        let known = !CASSETTES.contains(&position) && !matches!(device, Device::Other(_));
        (known && *digit > 0).then_some((device, *digit))
    };
    (b'A'..=b'~').zip(digits.iter().enumerate()).filter_map(device).collect()
}

/// Decodes the report of the sensors and, apart from them, the tamper indicators.
pub(super) fn sensors(sensors: &str, tamper: Option<String>) -> Report {
    let whole = match &tamper {
        Some(tamper) if sensors.len() == SENSORS_ALONE => format!("{sensors}{tamper}"),
        _ => String::new(),
    };
    Report::Sensors { sensors_raw: sensors.to_owned(), tamper_raw: tamper, sensor_bits: status::sensor_bits(&whole) }
}

/// Groups of a device identifier and its digits.
pub(super) fn by_device(text: &str) -> BTreeMap<String, Vec<u8>> {
    let group = |group: &str| {
        let dig = group.chars().next()?;
        Some((dig.to_string(), digit::all(&group[dig.len_utf8()..])?))
    };
    text.split(GS).filter_map(group).collect()
}

/// Definitions of eleven characters each; the letter A of the first field may stand before them.
pub(super) fn deposit_definitions(text: &str) -> Vec<String> {
    const WIDTH: usize = 11;
    let text: String = text.chars().filter(|char| *char != GS).collect();
    let chars: Vec<char> = text.chars().collect();
    let chars = if chars.len() % WIDTH == 1 { &chars[1..] } else { &chars[..] };
    chars.chunks(WIDTH).map(|definition| shown(&definition.iter().collect::<String>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_stand_for_devices() {
        let report = decode("8300", &["0003004000000001234004", "", "0001301", "000001011110", "", ""]);
        let json = serde_json::to_value(&report).expect("serialises");
        assert_eq!(
            json["device_fitness"],
            serde_json::json!({"card_reader": 3, "receipt_printer": 4, "statement_printer": 4}),
        );
        assert_eq!(
            json["device_supplies"],
            serde_json::json!({"card_reader": 1, "cash_handler": 3, "receipt_printer": 1})
        );
        assert_eq!(
            (&json["cassette_fitness"], &json["sensor_bits"]["cassette_4"]),
            (&serde_json::json!([1, 2, 3, 4]), &false.into())
        );
    }

    #[test]
    fn a_configuration_with_short_strings() {
        let report = serde_json::to_value(decode("8300", &["000", "", "0001", ""])).expect("serialises");
        assert_eq!(report["config_id"], "8300");
        assert_eq!(report.get("receipt_paper"), None);
        assert_eq!(report.get("sensor_bits"), None);
    }

    #[test]
    fn sensors_and_tamper_indicators() {
        let json = serde_json::to_value(sensors("00001", Some("0111110000000".to_owned()))).expect("serialises");
        let bits = &json["sensor_bits"];
        assert_eq!(
            (&bits["electronics_enclosure"], &bits["deposit_bin"], &bits["cassette_3"]),
            (&true.into(), &false.into(), &true.into())
        );
        assert_eq!((&bits["cassette_4"], &bits["door"]), (&false.into(), &false.into()));
    }
}
