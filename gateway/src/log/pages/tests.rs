//! Rows of files that SQLite wrote, and of garbage.

use rusqlite::{Connection, params};

use super::*;

fn all(pages: &Pages) -> Vec<Row> {
    let mut rows = Vec::new();
    for number in 1..=pages.count() {
        let Some(page) = pages.page(number) else { continue };
        rows.extend((0..pages.rows(number, &page)).filter_map(|index| pages.row(number, &page, index)));
    }
    rows
}

#[test]
fn every_row_is_read_from_the_file_and_from_its_write_ahead_log() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a.db");
    let connection = Connection::open(&path).expect("opens");
    connection.pragma_update(None, "journal_mode", "WAL").expect("is set");
    connection
        .execute_batch(
            "CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER, t TEXT);
             CREATE TABLE b (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID;",
        )
        .expect("makes tables");
    let numbers = [0, 1, -1, 127, 128, -32_768, 8_388_607, -2_147_483_648, 1 << 40, i64::MAX, i64::MIN];
    let text = |length: usize| "ü".repeat(length / 2);
    for (id, length) in (1_i64..).zip([0, 10, 4000, 4062, 5000, 100_000, 30]) {
        for (at, number) in (0_i64..).zip(numbers) {
            let id = id * 100 + at;
            connection.execute("INSERT INTO a VALUES (?1, ?2, ?3)", params![id, number, text(length)]).expect("a row");
            connection.execute("INSERT INTO b VALUES (?1, ?2)", params![id.to_string(), text(length)]).expect("a row");
        }
        if id == 4 {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("writes back");
        }
    }
    // An open transaction is no part of it.
    let open = Connection::open(&path).expect("opens");
    open.execute_batch("PRAGMA cache_size = 1; BEGIN IMMEDIATE").expect("begins");
    for id in 0..500 {
        open.execute("INSERT INTO a VALUES (?1, 5, ?2)", params![90_000 + id, text(2000)]).expect("a row");
    }

    let rows = all(&Pages::open(&path).expect("opens"));
    for (id, length) in (1_i64..).zip([0, 10, 4000, 4062, 5000, 100_000, 30]) {
        for (at, number) in (0_i64..).zip(numbers) {
            let id = id * 100 + at;
            let expected = [Value::Null, Value::Number(number), Value::Text(text(length))];
            assert!(rows.iter().any(|row| row.rowid == Some(id) && row.values == expected), "{id}");
            let expected = [Value::Text(id.to_string()), Value::Text(text(length))];
            assert!(rows.iter().any(|row| row.rowid.is_none() && row.values == expected), "{id}");
        }
    }
    assert!(!rows.iter().any(|row| row.rowid >= Some(90_000)));
}

#[test]
fn garbage_is_no_row_and_nothing_panics() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("a.db");
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()
    };
    for round in 0..40_usize {
        let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(4096).flatten().collect();
        for page in bytes.chunks_mut(4096) {
            page[0] = [0x0d, 0x0a, 0x02][round % 3];
            page[3] = 0;
        }
        if round % 2 == 0 {
            bytes[..16].copy_from_slice(MAGIC);
            bytes[16..18].copy_from_slice(&[16, 0]);
            bytes[FILE_HEADER] = 0x0d;
        }
        std::fs::write(&path, &bytes[..bytes.len() - round * 13]).expect("writes");
        std::fs::write(dir.path().join("a.db-wal"), &bytes).expect("writes");
        all(&Pages::open(&path).expect("opens"));
    }
    std::fs::write(&path, b"").expect("writes");
    std::fs::remove_file(dir.path().join("a.db-wal")).expect("is there");
    assert_eq!(Pages::open(&path).expect("opens").count(), 0);
}
