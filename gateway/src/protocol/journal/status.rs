//! A status line: the device status of the NDC line, printed.

use std::borrow::Cow;

use regex::bytes::Captures;
use serde_json::{Map, Value};

use super::rule::text;
use crate::event::Device;
use crate::mask;
use crate::protocol::ndc::status::{self, DeviceStatus};

/// A decoded status line.
pub(super) struct Decoded {
    /// Device graphic and status: `P21`.
    pub(super) code: String,
    /// What the NDC decoder makes of it.
    pub(super) status: DeviceStatus,
    /// An operator key was pressed.
    pub(super) is_key: bool,
    /// The fields under neutral names.
    pub(super) fields: Map<String, Value>,
}

/// Decodes the groups of a status line.
pub(super) fn decode(captures: &Captures<'_>) -> Result<Decoded, String> {
    let dig = text(captures, "dig").unwrap_or_default();
    let own = text(captures, "status").unwrap_or_default();
    // Counts and sensors are long runs of digits by right, nothing else is.
    let own = if matches!(dig, "E" | "P" | "Y" | "d" | "e") { Cow::Borrowed(own) } else { mask::text(own) };
    let diagnostic = text(captures, "diagnostic");
    let supplies = text(captures, "supplies");
    let code = format!("{dig}{own}");
    let decoded = status::parse(&code, None, diagnostic, supplies)?;

    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    if let Some(tsn) = text(captures, "tsn") {
        put("tsn", tsn.into());
    }
    put("solicited", (text(captures, "reply") == Some("2")).into());
    put("dig", dig.into());
    if let Some(byte) = dig.bytes().next() {
        put("device", Device::from_dig(byte).to_string().into());
    }
    match dig {
        "P" => put("p_code", (*own).into()),
        "B" => put("config_id", (*own).into()),
        "R" => put("operator_menu_keys", (*own).into()),
        _ => put("t_code", own.chars().take(1).collect::<String>().into()),
    };
    if let Some(notes) = &decoded.notes_dispensed {
        put("notes_dispensed", notes.clone().into());
    }
    if let Some(diagnostic) = diagnostic {
        let (m_status, m_data) = diagnostic.split_at_checked(2).unwrap_or((diagnostic, ""));
        put("m_status", m_status.into());
        if !m_data.is_empty() {
            put("m_data", m_data.into());
        }
    }
    if let Some(supplies) = supplies {
        put("supplies", supplies.bytes().map(|digit| u64::from(digit.saturating_sub(b'0'))).collect());
    }
    Ok(Decoded { is_key: dig == "R", code, status: decoded, fields })
}
