//! What a row is, by its form alone: the tables' names are not needed for it.

use crate::log::pages::{Row, Value};
use crate::log::place::place;
use crate::log::{Progress, Salvaged};

/// An event, and its place.
pub(super) fn as_event(row: &Row) -> Option<(u64, Salvaged)> {
    let seq = place(row.rowid.filter(|rowid| *rowid > 0)?);
    row.values.iter().find_map(|value| match value {
        Value::Text(text) if text.starts_with(r#"{"seq":"#) => Some((seq, Salvaged::read(text).ok()?)),
        _ => None,
    })
}

/// A row of `progress`: consumer, floor, ranges, forwarded, dead_lettered, discarded.
pub(super) fn as_progress(row: &Row) -> Option<Progress> {
    let [Value::Text(consumer), Value::Number(floor), Value::Text(ranges), counts @ ..] = row.values.as_slice() else {
        return None;
    };
    let [Value::Number(forwarded), Value::Number(dead_lettered), Value::Number(discarded), ..] = counts else {
        return None;
    };
    if row.rowid.is_some() || consumer != "mqtt" {
        return None;
    }
    Some(Progress {
        floor: place(*floor),
        ranges: serde_json::from_str(ranges).ok()?,
        forwarded: place(*forwarded),
        dead_lettered: place(*dead_lettered),
        discarded: place(*discarded),
    })
}

/// A row of `dead_letter`: its rowid is the place, then reason and instant.
pub(super) fn as_dead_letter(row: &Row) -> Option<u64> {
    let seq = row.rowid.filter(|rowid| *rowid > 0)?;
    match row.values.as_slice() {
        [Value::Null, Value::Text(_), Value::Text(at)] if at.parse::<jiff::Timestamp>().is_ok() => Some(place(seq)),
        _ => None,
    }
}

/// A row of the table of contents that names the table of events: the page on which that begins.
pub(super) fn as_root(row: &Row) -> Option<u32> {
    match row.values.as_slice() {
        [Value::Text(kind), Value::Text(name), _, Value::Number(root), _] if kind == "table" && name == "event" => {
            u32::try_from(*root).ok()
        }
        _ => None,
    }
}

/// A row of `terminal`: its name, and how many events it had.
pub(super) fn as_terminal(row: &Row) -> Option<(&str, u64)> {
    match row.values.as_slice() {
        [Value::Text(name), Value::Number(count), Value::Text(_)] if row.rowid.is_none() => Some((name, place(*count))),
        _ => None,
    }
}

/// A row of `source_id`: terminal, id, and the place that it got.
pub(super) fn as_source_id(row: &Row) -> Option<(&str, &str, u64)> {
    match row.values.as_slice() {
        [Value::Text(terminal), Value::Text(id), Value::Number(seq)] if row.rowid.is_none() => {
            Some((terminal, id, place(*seq)))
        }
        _ => None,
    }
}
