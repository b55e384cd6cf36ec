//! When the events happened that were read while the clock was wrong.
//!
//! The log is append-only, and what was written stays as it is: `time_synced: false`, with the boot and the milliseconds
//! since then. Once the clock is right, the boot's row gets the instant of that boot, and every reader dates such events by
//! it on the way out, marked `time_corrected`. That is one row for however many events, it holds for events that were read
//! by a process before, and whoever reads the bytes in SQLite still sees what the clock said then.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use rusqlite::{Connection, Row, params};
use serde::Deserialize;

use super::front::Front;
use super::journal::day_number;
use super::place::place;
use super::{Stored, Undated, foreign};
use crate::event::Event;
use crate::local_time::{self, LocalTime};

/// The columns that [`Dating::stored`] reads.
pub(super) const COLUMNS: &str = "seq, terminal_seq, boot, boot_ms, json";
/// Rows looked back at for the newest time that is known to have been right.
const LOOK_BACK: i64 = 10_000;

/// The boots that the store knows, shared by its writer and its readers.
#[derive(Debug)]
pub(super) struct Dating {
    /// The boot that goes on now.
    present: i64,
    /// When each of them was, in milliseconds since 1970, as far as that is known.
    origins: RwLock<HashMap<i64, i64>>,
}

impl Dating {
    /// Reads what the store knows. `present` is the boot that goes on now.
    pub(super) fn load(connection: &Connection, present: i64) -> rusqlite::Result<Dating> {
        let mut select = connection.prepare("SELECT id, origin_ms FROM boot WHERE origin_ms IS NOT NULL")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Dating { present, origins: RwLock::new(rows.collect::<rusqlite::Result<_>>()?) })
    }

    /// Takes over when the present boot was; the transaction that says so is committed.
    pub(super) fn set(&self, origin: Timestamp) {
        let mut origins = self.origins.write().unwrap_or_else(PoisonError::into_inner);
        origins.insert(self.present, origin.as_millisecond());
    }

    /// A row of [`COLUMNS`], dated.
    pub(super) fn stored(&self, row: &Row<'_>) -> rusqlite::Result<Arc<Stored>> {
        let (boot, boot_ms): (i64, i64) = (row.get(2)?, row.get(3)?);
        let json: String = row.get(4)?;
        let event = foreign::read(&json).map_err(|error| unreadable(error.into()))?;
        let here = (boot == self.present).then_some(boot_ms);
        let stored = Stored {
            seq: place(row.get(0)?),
            terminal_seq: place(row.get(1)?),
            boot_ms: here,
            event,
            json: json.into_boxed_str(),
        };
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        let Some(origin) =
            origins.get(&boot).filter(|_| stored.event.time_synced == Some(false) && !stored.is_foreign())
        else {
            return Ok(Arc::new(stored));
        };
        corrected(stored, *origin, boot_ms).map(Arc::new)
    }
}

/// What stands in front of an event's own fields.
#[derive(Deserialize)]
struct Head<'a> {
    id: &'a str,
    #[serde(default)]
    boot: Option<&'a str>,
}

fn corrected(stored: Stored, origin: i64, boot_ms: i64) -> rusqlite::Result<Stored> {
    let Stored { seq, terminal_seq, boot_ms: here, mut event, json: before } = stored;
    let head: Head<'_> = serde_json::from_str(&before).map_err(|error| unreadable(error.into()))?;
    let Ok(at) = Timestamp::from_millisecond(origin.saturating_add(boot_ms)) else {
        return Ok(Stored { seq, terminal_seq, boot_ms: here, event, json: before });
    };
    correct(&mut event, at);
    let front = Front { seq, terminal_seq, id: head.id };
    let json = front.write(&event, head.boot.map(|boot| (boot, boot_ms)));
    let json = json.map_err(|error| unreadable(error.into()))?;
    Ok(Stored { seq, terminal_seq, boot_ms: here, event, json: json.into_boxed_str() })
}

/// Dates an event by when it was read. What a rule made carries the time of its cause as `occurred_at`, which is our clock's
/// too; what a terminal says of the time stays as it is.
fn correct(event: &mut Event, at: Timestamp) {
    if let (Some(_), Some(occurred), Some(received)) = (&event.rule, event.occurred_at, event.received_at) {
        event.occurred_at = at.checked_sub(received.duration_since(occurred)).ok();
    }
    event.received_at = Some(at);
    event.time_corrected = true;
}

fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, error)
}

/// Notes that events of this boot wait for the clock.
pub(super) fn note_undated(connection: &Connection, boot: i64) -> rusqlite::Result<()> {
    connection.execute("UPDATE boot SET undated = 1 WHERE id = ?1", [boot]).map(drop)
}

/// Whether events of this boot wait for the clock.
pub(super) fn is_undated(connection: &Connection, boot: i64) -> rusqlite::Result<bool> {
    connection.query_row("SELECT undated FROM boot WHERE id = ?1", [boot], |row| row.get(0))
}

/// The newest time among the last events at which the clock was known to be right.
pub(super) fn newest_confirmed(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let mut select = connection.prepare(
        "SELECT json FROM event WHERE seq > (SELECT max(seq) FROM event) - ?1 AND instr(json, '\"time_synced\":true') > 0
         ORDER BY seq DESC LIMIT 1",
    )?;
    let mut rows = select.query([LOOK_BACK])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let json: String = row.get(0)?;
    Ok(serde_json::from_str::<Event>(&json).ok().and_then(|event| event.received_at))
}

/// Notes that the line that was written last came while the clock was wrong.
pub(super) fn note_line(connection: &Connection, boot: i64, boot_ms: i64, undated: &Undated) -> rusqlite::Result<()> {
    let zone = match undated {
        Undated::Arrival => None,
        Undated::ArrivalAndDay(zone) => Some(zone.iana_name().unwrap_or("UTC")),
    };
    connection
        .prepare_cached("INSERT INTO journal_undated (id, boot, boot_ms, zone) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![connection.last_insert_rowid(), boot, boot_ms, zone])
        .map(drop)
}

/// Writes when this boot was, and mends the journals' lines that waited for it.
pub(super) fn write(connection: &Connection, boot: i64, origin: Timestamp) -> rusqlite::Result<()> {
    let origin_ms = origin.as_millisecond();
    connection.execute("UPDATE boot SET origin_ms = ?2, undated = 0 WHERE id = ?1", params![boot, origin_ms])?;
    let mut select = connection.prepare(
        "SELECT journal.id, boot_ms, zone, printed_at, day FROM journal_undated JOIN journal USING (id) WHERE boot = ?1",
    )?;
    let mut update = connection.prepare("UPDATE journal SET received_ms = ?2, day = ?3 WHERE id = ?1")?;
    let mut rows = select.query([boot])?;
    while let Some(row) = rows.next()? {
        let received_ms = origin_ms.saturating_add(row.get(1)?);
        let (zone, printed_at): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
        let day = zone.and_then(|zone| {
            let zone = TimeZone::get(&zone).unwrap_or(TimeZone::UTC);
            let time = printed_at.and_then(|text| Time::from_str(&text).ok()).map(LocalTime::TimeOfDay);
            Some(day_number(local_time::day(time, Timestamp::from_millisecond(received_ms).ok()?, &zone)))
        });
        update.execute(params![row.get::<_, i64>(0)?, received_ms, day.map_or_else(|| row.get(4), Ok)?])?;
    }
    connection.execute("DELETE FROM journal_undated WHERE boot = ?1", [boot]).map(drop)
}
