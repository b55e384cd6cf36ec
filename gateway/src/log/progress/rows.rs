//! Where the forwarder stands, as the store keeps it.

use rusqlite::{Connection, OptionalExtension, params};

use super::Progress;
use crate::log::place::{number, place};

impl Progress {
    /// As it was written down last.
    pub(in crate::log) fn stored(connection: &Connection) -> rusqlite::Result<Progress> {
        let row = connection
            .prepare_cached(
                "SELECT floor, ranges, forwarded, dead_lettered, discarded FROM progress WHERE consumer = 'mqtt'",
            )?
            .query_row([], |row| {
                let ranges: String = row.get(1)?;
                Ok(Progress {
                    floor: place(row.get(0)?),
                    ranges: serde_json::from_str(&ranges).unwrap_or_default(),
                    forwarded: place(row.get(2)?),
                    dead_lettered: place(row.get(3)?),
                    discarded: place(row.get(4)?),
                })
            })
            .optional()?;
        Ok(row.unwrap_or_default())
    }

    /// Writes it down.
    pub(in crate::log) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let ranges = serde_json::to_string(&self.ranges).unwrap_or_else(|_| "[]".to_owned());
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO progress (consumer, floor, ranges, forwarded, dead_lettered, discarded)
                 VALUES ('mqtt', ?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                number(self.floor),
                ranges,
                number(self.forwarded),
                number(self.dead_lettered),
                number(self.discarded)
            ])
            .map(|_| ())
    }

    /// The rows of the log, and those that the forwarder has not dealt with: counted, not computed.
    pub(in crate::log) fn count(&self, connection: &Connection) -> rusqlite::Result<(u64, u64)> {
        let all: i64 = connection.query_row("SELECT count(*) FROM event", [], |row| row.get(0))?;
        let mut select = connection.prepare_cached("SELECT count(*) FROM event WHERE seq > ?1 AND seq < ?2")?;
        let mut pending = 0;
        let mut after = self.floor;
        for (first, last) in self.ranges.iter().copied().chain([(u64::MAX, u64::MAX)]) {
            pending += select.query_row([number(after), number(first)], |row| row.get::<_, i64>(0))?;
            after = last;
        }
        Ok((place(all), place(pending)))
    }
}
