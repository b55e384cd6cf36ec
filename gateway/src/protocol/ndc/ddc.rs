//! Diebold 911/912 (DDC): framed like NDC, but devices have names of four characters where NDC has one.
//!
//! Their status bytes are not documented in public, so such a status is recognised and kept as it came, card numbers
//! masked; nothing more is claimed.

use serde::Serialize;

use super::{GS, digit, shown};

/// Families of devices that open sources name: bill dispenser, presenter, depository, card reader, receipt and journal
/// printer, statement printer, passbook, envelope dispenser, coin dispenser.
const FAMILIES: [&str; 9] = ["DI", "DR", "DP", "CR", "PR", "SP", "PB", "SD", "CN"];

/// Bytes of a status kept at most; what a terminal reports of one device is far shorter.
const RAW_BYTES: usize = 512;

/// A status of a Diebold terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DieboldStatus {
    /// `12` or `22`.
    pub class: &'static str,
    /// Always `ddc_status`.
    pub kind: &'static str,
    /// Logical unit number.
    pub luno: String,
    /// The device: `DI01`.
    pub device_id: String,
    /// What it says, field by field.
    pub raw_status: Vec<String>,
}

/// A Diebold status, where these fields behind the LUNO are one.
pub(super) fn decode(class: &'static str, luno: &str, fields: &[&str]) -> Option<DieboldStatus> {
    let time_variant = |field: &str| class == "22" && digit::is_security_number(field);
    let at = fields.iter().position(|field| !field.is_empty() && !time_variant(field))?;
    let at = match (class, fields.get(at..)?) {
        ("12", [status, ..]) if is_device(status) => at,
        // Behind the descriptor of a device fault, or where NDC has the descriptor: there a reject code may look alike.
        ("22", ["8", status, ..]) if is_device(status) => at + 1,
        ("22", [status, ..]) if is_device(status) && FAMILIES.iter().any(|family| status.starts_with(family)) => at,
        _ => return None,
    };
    let (device_id, status) = fields.get(at)?.split_at_checked(4)?;
    let raw_status = std::iter::once(status)
        .chain(fields.get(at + 1..)?.iter().copied())
        .flat_map(|field| field.split(GS))
        .map(|field| shown(field).chars().take(RAW_BYTES).collect())
        .collect();
    Some(DieboldStatus {
        class,
        kind: "ddc_status",
        luno: luno.to_owned(),
        device_id: device_id.to_owned(),
        raw_status,
    })
}

/// Two capitals and two digits. Behind an NDC `B` stands a configuration id, which may have a letter.
fn is_device(field: &str) -> bool {
    matches!(field.as_bytes(), [b'A' | b'C'..=b'Z', b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_four_characters_is_told_from_ndc() {
        let status = decode("12", "001", &["", "DI01;4123456789011234", "x\x1dy"]).expect("a status");
        assert_eq!(status.device_id, "DI01");
        assert_eq!(status.raw_status, [";412345******1234", "x", "y"]);
        assert!(decode("22", "001", &["", "01A2E166", "8", "CR01"]).is_some());
        assert!(decode("22", "001", &["", "8", "XY99", "1"]).is_some());
        assert!(decode("22", "001", &["", "PR02a"]).is_some());
        for (class, fields) in [
            ("12", ["", "B8300"]),
            ("12", ["", "BA123"]),
            ("12", ["", "P21"]),
            ("12", ["", "D0"]),
            ("12", ["", ""]),
            ("22", ["", "CA01"]),
            ("22", ["F", "LA0102"]),
            ("22", ["F", "HA0022"]),
        ] {
            assert_eq!(decode(class, "001", &fields), None, "{class} {fields:?}");
        }
    }
}
