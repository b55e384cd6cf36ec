//! What is open at each terminal, taken over from a store that was set aside: an alarm does not end because a disk went bad.
//!
//! The row of a terminal is written in the transaction of the event that changed it, so the newest that can be read is as new
//! as the newest event. A terminal whose row cannot be read starts with nothing open.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use crate::log::pages::{Pages, Row, Value};

/// Takes over what the store set aside here knows of its terminals, where this one knows nothing; how many there were. Each
/// terminal's events count anew.
pub(super) fn take_over(connection: &Connection, aside: &Path) -> rusqlite::Result<u64> {
    let pages = match Pages::open(aside) {
        Ok(pages) => pages,
        Err(error) => {
            tracing::error!(%error, "What was open at the terminals cannot be read from {}.", aside.display());
            return Ok(0);
        }
    };
    let mut newest: BTreeMap<String, (i64, String)> = BTreeMap::new();
    for number in 1..=pages.count() {
        let Some(page) = pages.page(number) else { continue };
        let rows = (0..pages.rows(number, &page)).filter_map(|index| pages.row(number, &page, index));
        for (name, place, state) in rows.filter_map(as_terminal) {
            // A page that is not in use any more may have what was before.
            if newest.get(&name).is_none_or(|(known, _)| *known < place) {
                newest.insert(name, (place, state));
            }
        }
    }
    let transaction = connection.unchecked_transaction()?;
    let mut taken = 0;
    for (name, (_, state)) in newest {
        let added = transaction.execute(
            "INSERT INTO terminal (name, terminal_seq, state) VALUES (?1, 0, ?2) ON CONFLICT DO NOTHING",
            [name, state],
        )?;
        taken += u64::try_from(added).unwrap_or(0);
    }
    transaction.commit()?;
    Ok(taken)
}

/// A row of `terminal`: name, the last place of its events, state.
fn as_terminal(row: Row) -> Option<(String, i64, String)> {
    let Row { rowid: None, values } = row else { return None };
    let [Value::Text(name), Value::Number(place), Value::Text(state)] = <[Value; 3]>::try_from(values).ok()? else {
        return None;
    };
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&state);
    (place > 0 && object.is_ok()).then_some((name, place, state))
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use crate::log::{FILE, life};

    #[test]
    fn what_is_open_at_a_terminal_stays_so_in_the_store_that_is_begun_anew() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open(dir.path()).expect("opens");
        let insert = |name: &str, place: i64, state: &str| {
            let row = (name, place, state);
            store.connection.execute("INSERT OR REPLACE INTO terminal VALUES (?1, ?2, ?3)", row).expect("inserts");
        };
        insert("atm-01", 3, r#"{"in_service":true}"#);
        insert("atm-01", 7, r#"{"in_service":false}"#);
        insert("atm-02", 2, "");
        let path = dir.path().join(FILE);
        life::close(&store.connection, &path).expect("writes back");
        drop(store);
        // A header of something else: SQLite does not read a page of it.
        let mut bytes = std::fs::read(&path).expect("reads");
        bytes[..40].fill(b'x');
        std::fs::write(&path, bytes).expect("writes");
        let store = open(dir.path()).expect("opens anew");
        assert!(store.set_aside.is_some());
        assert_eq!(store.taken_over, 1);
        let row = "SELECT name, terminal_seq, state FROM terminal";
        let row = store.connection.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let (name, place, state): (String, i64, String) = row.expect("one");
        assert_eq!((name.as_str(), place, state.as_str()), ("atm-01", 0, r#"{"in_service":false}"#));
    }
}
