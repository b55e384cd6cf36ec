//! Pages of the store: how many hold something, and those that hold nothing given back to the file system.

use rusqlite::Connection;

/// Free pages that stay for what comes next: 4 MiB.
const KEPT: u64 = 1024;
/// Pages given back in one step.
const STEP: u64 = 256;

/// The pages of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pages {
    all: u64,
    free: u64,
    bytes: u64,
}

impl Pages {
    pub(super) fn count(connection: &Connection) -> rusqlite::Result<Pages> {
        let ask = |sql: &str| -> rusqlite::Result<u64> {
            let number: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            Ok(u64::try_from(number).unwrap_or(0))
        };
        Ok(Pages {
            all: ask("PRAGMA page_count")?,
            free: ask("PRAGMA freelist_count")?,
            bytes: ask("PRAGMA page_size")?,
        })
    }

    /// Bytes of those that hold something.
    pub(super) fn used_bytes(self) -> u64 {
        self.all.saturating_sub(self.free).saturating_mul(self.bytes)
    }

    /// Whether free pages are worth giving back: room is short, the file is larger than it may be, or a quarter of it is
    /// free. Otherwise what comes next takes them, and no page is moved.
    pub(super) fn are_too_many(self, tight: bool, budget: Option<u64>) -> bool {
        let over = budget.is_some_and(|budget| self.all.saturating_mul(self.bytes) > budget);
        self.free > KEPT && (tight || over || self.free > self.all / 4)
    }
}

/// Gives some free pages back.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({STEP})"))?;
    let mut rows = statement.query([])?;
    // One page a row.
    while rows.next()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::open;

    #[test]
    fn pages_that_hold_nothing_are_given_back_in_steps() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        store.execute_batch("BEGIN").expect("begins");
        for seq in 1..=6000 {
            store.execute("INSERT INTO event VALUES (?1, 1, 1, 1, ?2)", (seq, "x".repeat(4000))).expect("adds");
        }
        store.execute_batch("COMMIT").expect("commits");
        let full = Pages::count(&store).expect("counts");
        assert!(!full.are_too_many(true, Some(1)), "none is free");
        store.execute("DELETE FROM event WHERE seq <= 4000", []).expect("deletes");
        let holed = Pages::count(&store).expect("counts");
        assert_eq!(holed.all, full.all);
        assert!(holed.used_bytes() < full.used_bytes() / 2);
        assert!(holed.are_too_many(false, None), "more than a quarter is free");
        give_back(&store).expect("gives back");
        assert_eq!(Pages::count(&store).expect("counts").all, full.all - STEP);
        while Pages::count(&store).expect("counts").are_too_many(true, None) {
            give_back(&store).expect("gives back");
        }
        let after = Pages::count(&store).expect("counts");
        assert!(after.free <= KEPT && after.used_bytes() <= holed.used_bytes(), "{after:?}");
        let left: i64 = store.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).expect("counts");
        assert_eq!(left, 2000);
    }
}
