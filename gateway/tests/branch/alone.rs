//! A gateway without terminals and rules, and a store as the first version of the gateway left it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use serde_json::json;

use super::STARTS_WITHIN;
use super::gateway::request;
use super::process::{Process, free_ports, until};

/// The older store's epoch, and its events.
const EPOCH: &str = "0badcafe";
const EVENTS: i64 = 500;
/// The first schema there was.
const FIRST_SCHEMA: &str = include_str!("../../src/log/open/schema/1.sql");

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
        until(
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

/// Makes a store as the first version left it.
pub(crate) fn make_older(store: &Path) {
    let mut connection = Connection::open(store).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch(FIRST_SCHEMA).unwrap();
    let transaction = connection.transaction().unwrap();
    let epoch = format!("INSERT INTO store VALUES ('epoch', '{EPOCH}'); PRAGMA user_version = 1;");
    transaction.execute_batch(&epoch).unwrap();
    for seq in 1..=EVENTS {
        let event = json!({
            "seq": seq, "id": format!("vestibule-{EPOCH}-{seq}"), "terminal_seq": seq, "terminal": "older",
            "kind": "card.taken", "severity": "info", "time_synced": true, "detail": "older",
        });
        transaction.execute("INSERT INTO event VALUES (?1, ?1, 1, 1, ?2)", (seq, event.to_string())).unwrap();
    }
    transaction.execute("INSERT INTO terminal VALUES ('older', ?1, '{}')", [EVENTS]).unwrap();
    transaction.commit().unwrap();
}

/// Asserts that the store in this folder is whole, up to date, was never set aside, and has what the older one had.
pub(crate) fn assert_whole(folder: &Path, was_older: bool) {
    let names = std::fs::read_dir(folder).unwrap().map(|name| name.unwrap().file_name().to_string_lossy().into_owned());
    let aside: Vec<String> = names.filter(|name| name.contains("corrupt")).collect();
    assert!(aside.is_empty(), "nothing was damaged: {aside:?}");
    let store = Connection::open(folder.join("events.db")).unwrap();
    let text = |sql: &str| store.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    assert_ne!(text("SELECT user_version || '' FROM pragma_user_version"), "1", "it was not brought up to date");
    let older = text("SELECT count(*) || '' FROM event WHERE json LIKE '%\"older\"%'");
    assert_eq!(older, if was_older { EVENTS } else { 0 }.to_string());
    let epoch = text("SELECT value FROM store WHERE key = 'epoch'");
    assert_eq!(epoch == EPOCH, was_older, "{epoch}");
}
