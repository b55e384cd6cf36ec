//! The inventory of an uploaded document as rows of the register. What a row does not say is left as it was.

use serde_json::{Map, Value, json};

use super::Names;
use crate::log::{RegisterKind, RegisterRow};
use crate::normalize::upload::terminal_name;
use crate::protocol::upload::{AtmRow, Document};

/// The rows, in an order that does not matter.
pub(super) fn rows(document: &Document, names: &Names) -> Vec<RegisterRow> {
    let named = |atm_id: u32| names.of(&terminal_name(atm_id)).to_owned();
    let mut rows = Vec::with_capacity(document.rows());
    let mut add = |kind: RegisterKind, key: String, body: Value| {
        rows.push(RegisterRow { kind, key, body: Some(said(body)) });
    };
    for region in &document.regions {
        add(RegisterKind::Region, region.id.to_string(), json!({ "name": region.region_name }));
    }
    for branch in &document.branches {
        let body = json!({ "name": branch.branch_name, "region": branch.region_id });
        add(RegisterKind::Branch, branch.branch_id.to_string(), body);
    }
    for group in &document.groups {
        let body = json!({
            "name": group.group_name, "description": group.group_description, "type": group.group_type,
            "rule": group.group_rule,
        });
        add(RegisterKind::Group, group.group_id.to_string(), body);
    }
    for device in &document.devices {
        let body = json!({
            "model": device.device_model, "manufacturer": device.device_manufacturer,
            "serial": device.device_serial_number,
        });
        add(RegisterKind::Device, device.device_id.to_string(), body);
    }
    for atm in &document.terminals {
        add(RegisterKind::Terminal, named(atm.atm_id), terminal(atm));
    }
    for fitted in &document.fitted {
        let terminal = named(fitted.atm_id);
        let key = format!("{terminal}/{}", fitted.device_id);
        let body = json!({ "terminal": terminal, "device": fitted.device_id, "status": fitted.device_status });
        add(RegisterKind::Fitted, key, body);
    }
    // A terminal that has been given a name is not listed under its number any more.
    let renamed =
        document.terminals.iter().map(|atm| terminal_name(atm.atm_id)).filter(|usual| names.of(usual) != usual);
    rows.extend(renamed.map(|usual| RegisterRow { kind: RegisterKind::Terminal, key: usual, body: None }));
    rows
}

fn terminal(atm: &AtmRow) -> Value {
    // The seed writes a time where the zone belongs.
    let zone = Some(atm.timezone.as_str()).filter(|zone| jiff::tz::TimeZone::get(zone).is_ok());
    json!({
        "number": atm.atm_id, "label": atm.atm_name, "branch": atm.branch_id, "group": atm.group_id,
        "latitude": atm.latitude, "longitude": atm.longitude, "time_zone": zone,
        "address": atm.network_address, "subnet": atm.subnet, "status": atm.status,
        "software": atm.software_version, "cash_level": atm.cash_level.map(|cash| cash.to_string()),
        "replenished_at": atm.last_cash_replenishment, "uptime_s": atm.uptime,
    })
}

/// The keys that say something.
fn said(body: Value) -> Map<String, Value> {
    let Value::Object(mut body) = body else { return Map::new() };
    body.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    body
}
