//! The register: what is known of branches, groups, devices and terminals beside the events. Rows of JSON, upserted by id
//! in the transaction of the events that came with them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::failure::Fault;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegisterKind {
    /// A region; its number is the key.
    Region,
    /// A branch; its number is the key.
    Branch,
    /// A group of terminals; its number is the key.
    Group,
    /// A device; its number is the key.
    Device,
    /// A terminal; its name is the key.
    Terminal,
    /// A device in a terminal; `terminal/device` is the key.
    Fitted,
    /// A terminal that spoke and that nobody configured; the name it gave is the key.
    Heard,
}

impl RegisterKind {
    /// Every kind.
    pub const ALL: [RegisterKind; 7] = [
        RegisterKind::Region,
        RegisterKind::Branch,
        RegisterKind::Group,
        RegisterKind::Device,
        RegisterKind::Terminal,
        RegisterKind::Fitted,
        RegisterKind::Heard,
    ];

    /// Its name in the store.
    pub fn name(self) -> &'static str {
        match self {
            RegisterKind::Region => "region",
            RegisterKind::Branch => "branch",
            RegisterKind::Group => "group",
            RegisterKind::Device => "device",
            RegisterKind::Terminal => "terminal",
            RegisterKind::Fitted => "fitted",
            RegisterKind::Heard => "heard",
        }
    }

    /// Most rows of the kind. A submission that would make more is refused; of the terminals that were heard, the one
    /// that was silent longest makes room.
    pub fn limit(self) -> usize {
        match self {
            RegisterKind::Region | RegisterKind::Group | RegisterKind::Heard => 1_024,
            RegisterKind::Branch | RegisterKind::Terminal => 4_096,
            RegisterKind::Device | RegisterKind::Fitted => 32_768,
        }
    }
}

/// A row to upsert, or to take out.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterRow {
    /// What it is about.
    pub kind: RegisterKind,
    /// Its id.
    pub key: String,
    /// What is known: keys that are absent stay as they were. `None` takes the row out.
    pub body: Option<Map<String, Value>>,
}

/// The rows, in memory for whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Register(BTreeMap<(RegisterKind, String), Map<String, Value>>);

impl Register {
    /// The row with this id.
    pub fn get(&self, kind: RegisterKind, key: &str) -> Option<&Map<String, Value>> {
        self.0.get(&(kind, key.to_owned()))
    }

    /// The rows of a kind, by id as text.
    pub fn of(&self, kind: RegisterKind) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        let rows = self.0.range((kind, String::new())..);
        rows.take_while(move |((of, _), _)| *of == kind).map(|((_, key), body)| (key.as_str(), body))
    }

    /// Takes over what has been committed.
    pub(super) fn apply(&mut self, changed: impl IntoIterator<Item = RegisterRow>) {
        for RegisterRow { kind, key, body } in changed {
            match body {
                Some(body) => self.0.insert((kind, key), body),
                None => self.0.remove(&(kind, key)),
            };
        }
    }
}

/// Reads all rows, at start. A row that is no JSON object is passed over.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Register> {
    let mut register = Register::default();
    let mut select = connection.prepare("SELECT key, body FROM register WHERE kind = ?1")?;
    for kind in RegisterKind::ALL {
        let mut rows = select.query([kind.name()])?;
        while let Some(row) = rows.next()? {
            let (key, body): (String, String) = (row.get(0)?, row.get(1)?);
            if let Ok(body) = serde_json::from_str(&body) {
                register.0.insert((kind, key), body);
            }
        }
    }
    Ok(register)
}

/// Writes rows inside the writer's transaction; gives them as they stand now.
pub(super) fn write(connection: &Connection, rows: Vec<RegisterRow>) -> Result<Vec<RegisterRow>, Fault> {
    let mut touched: Vec<RegisterKind> = rows.iter().map(|row| row.kind).collect();
    touched.sort_unstable();
    touched.dedup();
    let mut changed = Vec::with_capacity(rows.len());
    for RegisterRow { kind, key, body } in rows {
        let Some(body) = body else {
            delete(connection, kind, &key)?;
            changed.push(RegisterRow { kind, key, body: None });
            continue;
        };
        let before: Option<String> = connection
            .prepare_cached("SELECT body FROM register WHERE kind = ?1 AND key = ?2")?
            .query_row(params![kind.name(), key], |row| row.get(0))
            .optional()?;
        let before = before.and_then(|text| serde_json::from_str(&text).ok());
        let body = merged(kind, before, body);
        let text = serde_json::to_string(&body).map_err(|error| Fault::Refused(error.to_string()))?;
        connection
            .prepare_cached(
                "INSERT INTO register (kind, key, body) VALUES (?1, ?2, ?3)
                 ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body",
            )?
            .execute(params![kind.name(), key, text])?;
        changed.push(RegisterRow { kind, key, body: Some(body) });
    }
    for kind in touched {
        let count: i64 = connection
            .prepare_cached("SELECT count(*) FROM register WHERE kind = ?1")?
            .query_row([kind.name()], |row| row.get(0))?;
        let over = usize::try_from(count).unwrap_or(0).saturating_sub(kind.limit());
        if over > 0 && kind != RegisterKind::Heard {
            return Err(Fault::Refused(format!("there would be more than {} rows of {}", kind.limit(), kind.name())));
        }
        for key in oldest(connection, over)? {
            delete(connection, kind, &key)?;
            changed.push(RegisterRow { kind, key, body: None });
        }
    }
    Ok(changed)
}

fn delete(connection: &Connection, kind: RegisterKind, key: &str) -> rusqlite::Result<usize> {
    connection.prepare_cached("DELETE FROM register WHERE kind = ?1 AND key = ?2")?.execute(params![kind.name(), key])
}

/// The terminals that were heard longest ago.
fn oldest(connection: &Connection, count: usize) -> rusqlite::Result<Vec<String>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut select = connection.prepare_cached(
        "SELECT key FROM register WHERE kind = 'heard' ORDER BY json_extract(body, '$.last_seen'), key LIMIT ?1",
    )?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    select.query_map([count], |row| row.get(0))?.collect()
}

/// A row after an upsert: new keys go before old ones. When a terminal was first heard stays, and how often is counted.
fn merged(kind: RegisterKind, before: Option<Map<String, Value>>, body: Map<String, Value>) -> Map<String, Value> {
    let Some(mut row) = before else { return body };
    let first = row.get("first_seen").cloned();
    let times = row.get("times").and_then(Value::as_u64).unwrap_or(0);
    row.extend(body);
    if kind == RegisterKind::Heard {
        row.extend(first.map(|first| ("first_seen".to_owned(), first)));
        row.insert("times".to_owned(), times.saturating_add(1).into());
    }
    row
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn store() -> Connection {
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch(include_str!("open/schema/3.sql")).expect("is made");
        connection
    }

    fn row(kind: RegisterKind, key: &str, body: Value) -> RegisterRow {
        RegisterRow { kind, key: key.to_owned(), body: body.as_object().cloned() }
    }

    #[test]
    fn rows_are_merged_by_id_taken_out_and_read_back() {
        use RegisterKind::{Branch, Region};
        let store = store();
        let mut register = Register::default();
        let mut upsert = |rows| register.apply(write(&store, rows).expect("writes"));
        upsert(vec![
            row(Branch, "1", json!({"name": "Harbour", "region": 1})),
            row(Branch, "2", json!({})),
            row(Region, "1", json!({"name": "North"})),
        ]);
        upsert(vec![row(Branch, "1", json!({"name": "Port"})), row(Branch, "2", Value::Null)]);
        for register in [register, load(&store).expect("reads")] {
            let branches: Vec<_> = register.of(Branch).collect();
            assert_eq!(branches.len(), 1);
            assert_eq!(Value::from(branches[0].1.clone()), json!({"name": "Port", "region": 1}));
            assert!(register.get(Region, "1").is_some());
        }
    }

    #[test]
    fn who_was_silent_longest_makes_room_and_other_kinds_are_refused() {
        use RegisterKind::{Group, Heard};
        let store = store();
        let heard = |at: usize| row(Heard, &format!("t{at}"), json!({"first_seen": at, "last_seen": at, "times": 1}));
        write(&store, (0..Heard.limit()).map(heard).collect()).expect("writes");
        let mut again = heard(0);
        again.body = json!({"first_seen": 9999, "last_seen": 9999}).as_object().cloned();
        let changed = write(&store, vec![again, heard(5000)]).expect("writes");
        let gone: Vec<&str> = changed.iter().filter(|row| row.body.is_none()).map(|row| row.key.as_str()).collect();
        assert_eq!(gone, ["t1"]);
        let register = load(&store).expect("reads");
        assert_eq!(
            register.get(Heard, "t0").cloned().map(Value::from),
            Some(json!({"first_seen": 0, "last_seen": 9999, "times": 2}))
        );
        let groups = (0..=Group.limit()).map(|at| row(Group, &at.to_string(), json!({}))).collect();
        assert!(matches!(write(&store, groups), Err(Fault::Refused(_))));
    }
}
