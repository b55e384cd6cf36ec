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
    let status = device_status(fields.get(..fields.len().min(4)).unwrap_or_default(), &mut appended_group_data)?;
    let mut further = fields.get(4..).unwrap_or_default();
    let mac = match further {
        [before @ .., last] if digit::is_security_number(last) => {
            further = before;
            Some((*last).to_owned())
        }
        _ => None,
    };
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

/// The device status in up to four fields; their groups go to `groups`.
pub(super) fn device_status(fields: &[&str], groups: &mut Vec<String>) -> Result<DeviceStatus, String> {
    let mut plain = fields.iter().map(|field| ungrouped(field, groups));
    let (dig, severity, diagnostic, supplies) = (plain.next(), plain.next(), plain.next(), plain.next());
    status::parse(dig.unwrap_or_default(), severity, diagnostic, supplies)
}
