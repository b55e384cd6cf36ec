//! Unsolicited status (class 12): a device says something of its own accord.

use serde::Serialize;

use super::status::{self, DeviceStatus};
use super::{digit, shown, ungrouped};

/// An unsolicited status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsolicited {
    /// Always `12`.
    pub class: &'static str,
    /// Always `unsolicited_status`.
    pub kind: &'static str,
    /// Logical unit number.
    pub luno: String,
    /// What the device says.
    #[serde(flatten)]
    pub status: Box<DeviceStatus>,
    /// Groups behind a field, such as completion data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub appended_group_data: Vec<String>,
    /// Fields beyond the known ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub further_fields: Vec<String>,
    /// Message authentication code; there is no key here to check it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// Decodes the fields behind the LUNO.
pub(super) fn decode(luno: String, fields: &[&str]) -> Result<Unsolicited, String> {
    // One empty field stands before the status; some senders have two, or none.
    let fields = &fields[fields.iter().take_while(|field| field.is_empty()).count()..];
    let mut appended_group_data = Vec::new();
    let (fields, mac) = match fields {
        // Behind the known fields, or where fields are missing and it cannot be what they would say.
        [before @ .., last] if digit::is_security_number(last) && !says(before, last) => {
            (before, Some((*last).to_owned()))
        }
        _ => (fields, None),
    };
    let status = device_status(fields.get(..fields.len().min(4)).unwrap_or_default(), &mut appended_group_data)?;
    let further = fields.get(4..).unwrap_or_default();
    Ok(Unsolicited {
        class: "12",
        kind: "unsolicited_status",
        luno,
        status: Box::new(status),
        appended_group_data,
        further_fields: further.iter().map(|field| shown(field)).collect(),
        mac,
    })
}

/// Whether eight hexadecimal digits can be what stands behind these fields. Eight severities or supplies are those of
/// cassettes, digits up to 4; a diagnostic status begins with a decimal number, and none that is known is large.
fn says(before: &[&str], field: &str) -> bool {
    let levels = field.bytes().all(|byte| matches!(byte, b'0'..=b'4'));
    match before {
        [] => true,
        [status] => levels && status.starts_with(['E', 'w']),
        [_, _] => field.get(..2).and_then(|number| number.parse::<u8>().ok()).is_some_and(|number| number < LARGE),
        [_, _, _] => levels,
        _ => false,
    }
}

/// M-statuses are two decimal digits; those of the samples and journals end at 30.
const LARGE: u8 = 64;

/// The device status in up to four fields; their groups go to `groups`.
pub(super) fn device_status(fields: &[&str], groups: &mut Vec<String>) -> Result<DeviceStatus, String> {
    let mut plain = fields.iter().map(|field| ungrouped(field, groups));
    let (dig, severity, diagnostic, supplies) = (plain.next(), plain.next(), plain.next(), plain.next());
    status::parse(dig.unwrap_or_default(), severity, diagnostic, supplies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_behind_missing_fields_is_no_severity() {
        for (fields, severity, mac) in [
            (&["P21", "857D63E9"][..], 0, Some("857D63E9")),
            (&["B0022", "44444444"], 0, Some("44444444")),
            (&["D1", "0", "857D63E9"], 1, Some("857D63E9")),
            (&["E000000000", "00000000"], 8, None),
            (&["E000000000", "00000000", "00", "11111111"], 8, None),
            (&["E000000000", "00000", "00", "857D63E9"], 5, Some("857D63E9")),
            (&["D1", "0", "06000000", "1", "01020304"], 1, Some("01020304")),
            (&["D1", "0", "06000000"], 1, None),
        ] {
            let decoded = decode("001".to_owned(), fields).expect("decodes");
            let said = serde_json::to_value(&decoded).expect("serialises");
            assert_eq!(decoded.mac.as_deref(), mac, "{fields:?}");
            let read = said["severity"].as_array().map_or(0, Vec::len);
            assert_eq!(read, severity, "{fields:?}: {said}");
        }
    }
}
