//! The ids that sources gave to events that are no more: looked for by walking the table, a piece at a time.
//!
//! No index leads from an event to its source's id: it would cost every event, so that pruning has it easier. So ids
//! outlive their events a little; a source that sends again what was pruned long ago sends something new.

use rusqlite::{Connection, OptionalExtension, params};

/// Rows looked at in one step.
const STEP: i64 = 4096;

/// A walk through the table.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The last row looked at, while one is under way.
    at: Option<(String, String)>,
    /// Events were pruned since the walk began.
    again: bool,
}

impl Walk {
    /// Events were pruned: there are ids to look for.
    pub(super) fn start(&mut self) {
        match self.at {
            None => self.at = Some((String::new(), String::new())),
            Some(_) => self.again = true,
        }
    }

    /// Whether there is something to do.
    pub(super) fn is_under_way(&self) -> bool {
        self.at.is_some()
    }

    /// Takes one step.
    pub(super) fn step(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Some((terminal, id)) = &self.at else { return Ok(()) };
        let last = connection
            .prepare_cached(
                "SELECT terminal, id FROM source_id WHERE (terminal, id) > (?1, ?2)
                 ORDER BY terminal, id LIMIT 1 OFFSET ?3",
            )?
            .query_row(params![terminal, id, STEP - 1], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        match &last {
            Some((last_terminal, last_id)) => connection
                .prepare_cached(
                    "DELETE FROM source_id WHERE (terminal, id) > (?1, ?2) AND (terminal, id) <= (?3, ?4)
                     AND seq NOT IN (SELECT seq FROM event)",
                )?
                .execute(params![terminal, id, last_terminal, last_id])?,
            None => connection
                .prepare_cached(
                    "DELETE FROM source_id WHERE (terminal, id) > (?1, ?2) AND seq NOT IN (SELECT seq FROM event)",
                )?
                .execute(params![terminal, id])?,
        };
        self.at = last;
        if self.at.is_none() && std::mem::take(&mut self.again) {
            self.start();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::open;

    #[test]
    fn every_id_without_an_event_goes_and_no_other() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        store.execute_batch("BEGIN").expect("begins");
        for seq in 1..=STEP * 2 + 100 {
            let terminal = format!("t{}", seq % 7);
            store
                .execute("INSERT INTO source_id VALUES (?1, ?2, ?3)", params![terminal, seq.to_string(), seq])
                .expect("adds");
            if seq % 3 == 0 {
                store.execute("INSERT INTO event VALUES (?1, 1, 1, 1, '{}')", [seq]).expect("adds");
            }
        }
        store.execute_batch("COMMIT").expect("commits");
        let mut walk = Walk::default();
        walk.step(&store).expect("nothing to do");
        walk.start();
        let mut steps = 0;
        while walk.is_under_way() {
            if steps == 1 {
                walk.start();
            }
            walk.step(&store).expect("steps");
            steps += 1;
        }
        assert_eq!(steps, 3 + 1, "it begins again where events were pruned meanwhile");
        let count = |sql: &str| -> i64 { store.query_row(sql, [], |row| row.get(0)).expect("counts") };
        assert_eq!(count("SELECT count(*) FROM source_id"), count("SELECT count(*) FROM event"));
        assert_eq!(count("SELECT count(*) FROM source_id WHERE seq NOT IN (SELECT seq FROM event)"), 0);
    }
}
