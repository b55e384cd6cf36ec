//! How the outbox stands: what was appended, and what became of it.

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;

use super::place::place;
use super::{LogError, Progress, Records};

/// How the outbox stands, from one moment of the store.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The name of the store's life.
    pub epoch: String,
    /// Events ever appended: the last place.
    pub appended: u64,
    /// Events that are still in the store, and the first of them.
    pub stored: u64,
    /// See `stored`; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Events that the broker has acknowledged.
    pub forwarded: u64,
    /// Events that are to be forwarded.
    pub pending: u64,
    /// Events that cannot be forwarded and were set aside.
    pub dead_lettered: u64,
    /// Events that were given up unforwarded.
    pub discarded: u64,
    /// Every event up to this place is dealt with.
    pub floor: u64,
    /// Places above the floor that are dealt with, first and last of each run.
    pub ranges: Vec<(u64, u64)>,
    /// The first event that is to be forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending: Option<Oldest>,
    /// Where each rule stands that was ever here.
    pub plugins: Vec<Position>,
    /// Size of the store's file, in bytes.
    pub store_bytes: u64,
    /// Size of its write-ahead log, in bytes.
    pub wal_bytes: u64,
}

/// The first event that waits.
#[derive(Clone, Debug, Serialize)]
pub struct Oldest {
    /// Its place.
    pub seq: u64,
    /// When the gateway read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// For how many seconds it has waited, by the clock of whoever asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_s: Option<i64>,
}

/// A rule's durable position.
#[derive(Clone, Debug, Serialize)]
pub struct Position {
    /// The plugin's id.
    pub plugin: String,
    /// The last event that it has dealt with.
    pub cursor: u64,
    /// Events after it.
    pub behind: u64,
}

impl Status {
    /// Whether every event is accounted for.
    pub fn adds_up(&self) -> bool {
        self.appended == self.forwarded + self.pending + self.dead_lettered + self.discarded
    }
}

impl Records {
    /// How the outbox stands now.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn status(&self) -> Result<Status, LogError> {
        // One transaction, so that the sums are of one moment.
        let _transaction = self.ask(Connection::unchecked_transaction)?;
        self.status_in()
    }

    /// The same within the transaction that there is.
    pub(super) fn status_in(&self) -> Result<Status, LogError> {
        let (head, progress) = (self.head()?, self.progress()?);
        let (stored, _) = self.ask(|connection| Progress::default().count(connection))?;
        let first = self.ask(|connection| {
            connection.query_row("SELECT min(seq) FROM event", [], |row| row.get::<_, Option<i64>>(0))
        })?;
        let plugins = self.ask(|connection| {
            let mut select = connection.prepare("SELECT id, cursor FROM plugin ORDER BY id")?;
            let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let next = progress.settled_through(progress.floor) + 1;
        let oldest = if next <= head { self.after(next - 1, 1, 1, |_| true)?.events.into_iter().next() } else { None };
        let epoch = self.epoch()?;
        let size = |suffix: &str| {
            let path = format!("{}{suffix}", self.path.display());
            std::fs::metadata(path).map_or(0, |metadata| metadata.len())
        };
        Ok(Status {
            epoch,
            appended: head,
            stored,
            first: first.map(place),
            forwarded: progress.forwarded,
            pending: progress.pending(head),
            dead_lettered: progress.dead_lettered,
            discarded: progress.discarded,
            floor: progress.floor,
            ranges: progress.ranges,
            oldest_pending: oldest.map(|stored| {
                let received_at = stored.event.received_at;
                let age_s = received_at.map(|at| Timestamp::now().duration_since(at).as_secs());
                Oldest { seq: stored.seq, received_at, age_s }
            }),
            plugins: plugins
                .into_iter()
                .map(|(plugin, cursor)| Position {
                    plugin,
                    cursor: place(cursor),
                    behind: head.saturating_sub(place(cursor)),
                })
                .collect(),
            store_bytes: size(""),
            wal_bytes: size("-wal"),
        })
    }
}
