//! A gateway without terminals and rules, and a store as each earlier version of the gateway left it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use super::STARTS_WITHIN;
use super::gateway::request;
use super::process::{LOOK, Process, free_ports, until_every};

/// The older store's epoch, and its events.
const EPOCH: &str = "0badcafe";
const EVENTS: i64 = 500;
/// Rows that stand in the tables of later versions, each with `older` in one column: the table, that column, from which
/// version on they are there, how many, and how they are written.
const ROWS: [(&str, &str, usize, usize, &str); 4] = [
    (
        "journal",
        "text",
        2,
        2,
        "INSERT INTO journal_terminal VALUES (1, 'older');
         INSERT INTO journal VALUES (1, 1, 20300115, 'journal', 1894700000000, '10:00:00', 'older'),
                                    (2, 1, 20300115, 'journal', 1894700001000, NULL, 'older')",
    ),
    ("register", "body", 3, 1, r#"INSERT INTO register VALUES ('branch', '7', '{"name":"older"}')"#),
    ("dead_letter", "reason", 4, 1, "INSERT INTO dead_letter VALUES (3, 'older', '2030-01-15T10:00:00Z')"),
    ("command", "id", 5, 1, "INSERT INTO command VALUES (1, 'http', 'older', 'older', 'done', 0, '{}')"),
];

/// What a gateway finds where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No store: it is the first start.
    Nothing,
    /// A store whose schema is of this version, which is not the newest.
    Older(usize),
}

impl Found {
    /// Nothing, and each version but the newest.
    pub(crate) fn all() -> Vec<Found> {
        std::iter::once(Found::Nothing).chain((1..schemas().len()).map(Found::Older)).collect()
    }

    /// Puts it into this folder.
    pub(crate) fn put(self, folder: &Path) {
        if let Found::Older(version) = self {
            std::fs::create_dir_all(folder).unwrap();
            make(&folder.join("events.db"), version);
        }
    }

    /// Asserts that the store in this folder is whole, of the newest schema, was never set aside, and has what was found.
    pub(crate) fn assert_whole(self, folder: &Path) {
        let names = std::fs::read_dir(folder).unwrap().map(|name| name.unwrap().file_name().into_string().unwrap());
        let aside: Vec<String> = names.filter(|name| name.contains("corrupt")).collect();
        assert!(aside.is_empty(), "nothing was damaged: {aside:?}");
        let store = Connection::open(folder.join("events.db")).unwrap();
        assert_eq!(text(&store, "PRAGMA integrity_check"), "ok");
        let newest = Connection::open_in_memory().unwrap();
        schemas().iter().for_each(|schema| newest.execute_batch(schema).unwrap());
        assert_eq!(text(&store, "SELECT user_version || '' FROM pragma_user_version"), schemas().len().to_string());
        let tables = "SELECT group_concat(sql, char(10)) FROM (SELECT sql FROM sqlite_schema ORDER BY type, name)";
        assert_eq!(text(&store, tables), text(&newest, tables), "{self:?} does not become what a new store is");
        let version = match self {
            Found::Nothing => 0,
            Found::Older(version) => version,
        };
        let events = text(&store, "SELECT count(*) || '' FROM event WHERE json LIKE '%\"older\"%'");
        assert_eq!(events, if version > 0 { EVENTS } else { 0 }.to_string(), "{self:?}");
        for (table, column, since, rows, _) in ROWS {
            let count = format!("SELECT count(*) || '' FROM {table} WHERE {column} LIKE '%older%'");
            assert_eq!(
                text(&store, &count),
                if version >= since { rows } else { 0 }.to_string(),
                "{table} of {self:?}"
            );
        }
        let epoch = text(&store, "SELECT value FROM store WHERE key = 'epoch'");
        assert_eq!(epoch == EPOCH, version > 0, "{epoch}");
    }
}

/// The schema's versions, in order, as the gateway's own folder has them.
fn schemas() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/log/open/schema");
    let all: Vec<String> =
        (1..).map_while(|version| std::fs::read_to_string(folder.join(format!("{version}.sql"))).ok()).collect();
    assert!(all.len() >= 6, "{} versions", all.len());
    all
}

fn text(store: &Connection, sql: &str) -> String {
    store.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The gateway; it runs where it was started, until it is ended.
pub(crate) struct Alone {
    dir: PathBuf,
    http: SocketAddr,
    process: Option<Process>,
}

impl Alone {
    pub(crate) fn new(dir: &Path, data: &Path) -> Alone {
        let [http] = free_ports();
        let config = format!("log.dir = {data:?}\nhttp.listen = \"{http}\"\nrules.bundled = []\n");
        std::fs::write(dir.join("vestibule.toml"), config).unwrap();
        Alone { dir: dir.to_owned(), http, process: None }
    }

    pub(crate) fn start(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.arg("run").arg("--config").arg(self.dir.join("vestibule.toml"));
        self.process = Some(Process::start("gateway", command, &self.dir));
    }

    /// Kill -9, even if it has ended by itself.
    pub(crate) fn end(&mut self) {
        self.process.take().expect("it was started").end();
    }

    pub(crate) async fn is_ready(&self) -> bool {
        request(self.http, "GET", "/readyz", "").await.is_some_and(|(status, _)| status == 200)
    }

    /// Waits until it takes events.
    pub(crate) async fn ready(&mut self) {
        self.ready_every(LOOK).await;
    }

    /// The same, looking so often.
    pub(crate) async fn ready_every(&mut self, look: Duration) {
        until_every(
            look,
            STARTS_WITHIN,
            || "the gateway is not ready".into(),
            async || {
                self.process.as_mut().expect("it was started").assert_alive();
                self.is_ready().await.then_some(())
            },
        )
        .await;
    }
}

/// Makes a store as this version left it.
fn make(store: &Path, version: usize) {
    let mut connection = Connection::open(store).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    schemas().iter().take(version).for_each(|schema| connection.execute_batch(schema).unwrap());
    let transaction = connection.transaction().unwrap();
    let epoch = format!("INSERT INTO store VALUES ('epoch', '{EPOCH}'); PRAGMA user_version = {version};");
    transaction.execute_batch(&epoch).unwrap();
    for seq in 1..=EVENTS {
        let event = json!({
            "seq": seq, "id": format!("vestibule-{EPOCH}-{seq}"), "terminal_seq": seq, "terminal": "older",
            "kind": "card.taken", "severity": "info", "time_synced": true, "detail": "older",
        });
        transaction.execute("INSERT INTO event VALUES (?1, ?1, 1, 1, ?2)", (seq, event.to_string())).unwrap();
    }
    transaction.execute("INSERT INTO terminal VALUES ('older', ?1, '{}')", [EVENTS]).unwrap();
    for (_, _, _, _, rows) in ROWS.iter().filter(|(_, _, since, ..)| *since <= version) {
        transaction.execute_batch(rows).unwrap();
    }
    transaction.commit().unwrap();
}
