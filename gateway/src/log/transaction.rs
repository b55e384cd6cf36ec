//! One submission written inside the writer's transaction.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::board::Board;
use super::commands;
use super::dating;
use super::failure::Fault;
use super::place::{number, place};
use super::register::{self, RegisterRow};
use super::{Fold, NewEvent, PluginCommit, Progress, Receipt, Stored, Submission, journal};
use crate::clock;
use crate::event::Event;

/// Room for most events' JSON form.
const JSON_BYTES: usize = 512;

/// What the writer knows between transactions.
pub(super) struct Ledger {
    /// `{gateway}-{epoch}`.
    pub(super) id_prefix: String,
    /// Row of `boot` that is written under, and the boot's name.
    pub(super) boot: i64,
    pub(super) boot_uuid: Box<str>,
    /// Whether it is noted that events of this boot wait for the clock.
    pub(super) undated: bool,
    pub(super) max_event_bytes: usize,
    /// Last place given.
    pub(super) head: u64,
    /// Last place given to each terminal.
    pub(super) terminals: HashMap<String, u64>,
    pub(super) fold: Box<dyn Fold>,
}

/// What one submission added: nothing of it stands in the [`Ledger`] if it is rolled back.
pub(super) struct Written {
    pub(super) receipt: Receipt,
    pub(super) events: Vec<Arc<Stored>>,
    pub(super) duplicates: u64,
    pub(super) register: Vec<RegisterRow>,
    pub(super) journal_lines: u64,
    /// Whether a command has changed.
    pub(super) commands: bool,
    /// When the present boot was, where that has become known.
    pub(super) origin: Option<Timestamp>,
}

impl Ledger {
    /// Writes a submission behind a savepoint; where it fails, nothing of it is left.
    pub(super) fn write(&mut self, connection: &Connection, submission: Submission) -> Result<Written, Fault> {
        connection.prepare_cached("SAVEPOINT submission")?.execute([])?;
        let (head, undated, mut touched) = (self.head, self.undated, Vec::new());
        match self.write_all(connection, submission, &mut touched) {
            Ok(written) => {
                connection.prepare_cached("RELEASE submission")?.execute([])?;
                self.fold.keep();
                Ok(written)
            }
            Err(fault) => {
                (self.head, self.undated) = (head, undated);
                for (terminal, before) in touched.into_iter().rev() {
                    self.terminals.insert(terminal, before);
                }
                self.fold.undo();
                // Where the whole transaction has gone, so has the savepoint; the fault says why.
                if !connection.is_autocommit() {
                    connection.execute_batch("ROLLBACK TO submission; RELEASE submission")?;
                }
                Err(fault)
            }
        }
    }

    fn write_all(
        &mut self,
        connection: &Connection,
        submission: Submission,
        touched: &mut Vec<(String, u64)>,
    ) -> Result<Written, Fault> {
        let mut written = Written {
            receipt: Receipt::default(),
            events: Vec::new(),
            duplicates: 0,
            register: Vec::new(),
            journal_lines: 0,
            commands: !submission.commands.is_empty(),
            origin: submission.clock,
        };
        if let Some(origin) = submission.clock {
            dating::write(connection, self.boot, origin)?;
            self.fold.date(&self.boot_uuid, origin);
            self.undated = false;
        }
        let (mut folded, mut repeated) = (Vec::new(), Vec::new());
        for (place, NewEvent { event, source_id, reading }) in submission.events.into_iter().enumerate() {
            if let Some(id) = source_id
                && let Some(seq) = self.claim(connection, &event.terminal, &id)?
            {
                written.receipt.seqs.push(seq);
                written.duplicates += 1;
                repeated.push(place);
                continue;
            }
            written.receipt.seqs.push(self.head + 1);
            self.fold.apply(event, reading, &mut folded);
            for event in folded.drain(..) {
                written.events.push(self.append(connection, event, touched)?);
            }
        }
        for salvaged in submission.salvaged {
            written.receipt.salvaged += u64::from(self.bring_in(connection, salvaged, &mut written)?);
        }
        // What was sent again was kept the first time.
        let repeats = |event: usize| repeated.binary_search(&event).is_ok();
        for line in submission.journal.iter().filter(|line| !line.event.map_or(!repeated.is_empty(), repeats)) {
            journal::write(connection, line)?;
            if let Some(undated) = &line.undated {
                dating::note_line(connection, self.boot, boot_ms(), undated)?;
            }
            written.journal_lines += 1;
        }
        if let Some(commit) = submission.plugin {
            write_plugin(connection, &commit)?;
        }
        for change in &submission.commands {
            commands::write(connection, change)?;
        }
        if !submission.register.is_empty() {
            written.register = register::write(connection, submission.register)?;
        }
        Ok(written)
    }

    /// Ties a source's id to the next place; the place that it has already, if it is not new.
    fn claim(&self, connection: &Connection, terminal: &str, id: &str) -> Result<Option<u64>, Fault> {
        let added = connection
            .prepare_cached("INSERT INTO source_id (terminal, id, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute(params![terminal, id, number(self.head + 1)])?;
        if added == 1 {
            return Ok(None);
        }
        let seq: i64 = connection
            .prepare_cached("SELECT seq FROM source_id WHERE terminal = ?1 AND id = ?2")?
            .query_row(params![terminal, id], |row| row.get(0))?;
        Ok(Some(place(seq)))
    }

    fn append(
        &mut self,
        connection: &Connection,
        event: Event,
        touched: &mut Vec<(String, u64)>,
    ) -> Result<Arc<Stored>, Fault> {
        let seq = self.head + 1;
        let before = self.terminals.get(&event.terminal).copied().unwrap_or(0);
        let terminal_seq = before + 1;
        let (id, boot_ms) = (format!("{}-{seq}", self.id_prefix), boot_ms());
        let waits = event.time_synced == Some(false);
        if waits && !self.undated {
            dating::note_undated(connection, self.boot)?;
            self.undated = true;
        }
        let boot = waits.then_some((&*self.boot_uuid, boot_ms));
        let json = json(&event, &Front { seq, terminal_seq, id: &id, boot }).map_err(refused)?;
        if json.len() > self.max_event_bytes {
            return Err(Fault::Refused(format!(
                "the event has {} bytes; at most {} are accepted",
                json.len(),
                self.max_event_bytes
            )));
        }
        connection
            .prepare_cached("INSERT INTO event (seq, terminal_seq, boot, boot_ms, json) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![number(seq), number(terminal_seq), self.boot, boot_ms, json])?;
        touched.push((event.terminal.clone(), before));
        self.terminals.insert(event.terminal.clone(), terminal_seq);
        self.head = seq;
        Ok(Arc::new(Stored { seq, terminal_seq, boot_ms: Some(boot_ms), event, json: json.into_boxed_str() }))
    }

    /// Forgets what was written in a transaction that was rolled back: everything stands as it was committed before.
    pub(super) fn take_back(&mut self, head: u64, events: &[Arc<Stored>], board: &Board) {
        self.head = head;
        // Noted once more, rather than never.
        self.undated = false;
        self.fold.changed(&mut |_, _| {});
        board.terminals(|standings| {
            for stored in events {
                let name = stored.event.terminal.as_str();
                match standings.get(name) {
                    Some(standing) => {
                        self.terminals.insert(name.to_owned(), standing.terminal_seq);
                        self.fold.load(name, &standing.state);
                    }
                    None => {
                        self.terminals.remove(name);
                        self.fold.load(name, "");
                    }
                }
            }
        });
    }

    /// Stores the terminals' projections that changed in this transaction, and gives the states among them.
    pub(super) fn write_terminals(
        &mut self,
        connection: &Connection,
        events: &[Arc<Stored>],
    ) -> rusqlite::Result<Vec<(String, String)>> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO terminal (name, terminal_seq, state) VALUES (?1, ?2, '')
             ON CONFLICT (name) DO UPDATE SET terminal_seq = excluded.terminal_seq",
        )?;
        let own = events.iter().filter(|stored| !stored.is_salvaged());
        let newest: HashMap<&str, u64> =
            own.map(|stored| (stored.event.terminal.as_str(), stored.terminal_seq)).collect();
        for (terminal, terminal_seq) in newest {
            insert.execute(params![terminal, number(terminal_seq)])?;
        }
        let mut update = connection.prepare_cached("UPDATE terminal SET state = ?2 WHERE name = ?1")?;
        let mut changed = Vec::new();
        self.fold.changed(&mut |terminal, state| changed.push((terminal.to_owned(), state)));
        for (terminal, state) in &changed {
            update.execute(params![terminal, state])?;
        }
        Ok(changed)
    }
}

/// Moves a plugin's position and writes the state keys it changed.
fn write_plugin(connection: &Connection, commit: &PluginCommit) -> Result<(), Fault> {
    write_cursor(connection, &commit.plugin, commit.cursor)?;
    for (key, value) in &commit.state {
        match value {
            Some(value) => connection
                .prepare_cached(
                    "INSERT INTO plugin_state (plugin, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![commit.plugin, key, value])?,
            None => connection
                .prepare_cached("DELETE FROM plugin_state WHERE plugin = ?1 AND key = ?2")?
                .execute(params![commit.plugin, key])?,
        };
    }
    Ok(())
}

/// Moves a plugin's position, never back.
pub(super) fn write_cursor(connection: &Connection, plugin: &str, cursor: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO plugin (id, cursor) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET cursor = max(cursor, excluded.cursor)",
        )?
        .execute(params![plugin, number(cursor)])
        .map(|_| ())
}

/// Stores where the forwarder stands.
pub(super) fn write_progress(connection: &Connection, progress: &Progress) -> rusqlite::Result<()> {
    let ranges = serde_json::to_string(&progress.ranges).unwrap_or_else(|_| "[]".to_owned());
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO progress (consumer, floor, ranges, forwarded, dead_lettered, discarded)
             VALUES ('mqtt', ?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            number(progress.floor),
            ranges,
            number(progress.forwarded),
            number(progress.dead_lettered),
            number(progress.discarded)
        ])
        .map(|_| ())
}

/// Where the forwarder stood when it last saved.
pub(super) fn read_progress(connection: &Connection) -> rusqlite::Result<Progress> {
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

/// The rows of the log, and those that the forwarder has not dealt with: counted, not computed.
pub(super) fn count(connection: &Connection, progress: &Progress) -> rusqlite::Result<(u64, u64)> {
    let all: i64 = connection.query_row("SELECT count(*) FROM event", [], |row| row.get(0))?;
    let mut select = connection.prepare_cached("SELECT count(*) FROM event WHERE seq > ?1 AND seq < ?2")?;
    let mut pending = 0;
    let mut after = progress.floor;
    for (first, last) in progress.ranges.iter().copied().chain([(u64::MAX, u64::MAX)]) {
        pending += select.query_row([number(after), number(first)], |row| row.get::<_, i64>(0))?;
        after = last;
    }
    Ok((place(all), place(pending)))
}

/// What stands in front of an event's own fields in its JSON form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front<'a> {
    pub(super) seq: u64,
    pub(super) terminal_seq: u64,
    pub(super) id: &'a str,
    /// The machine's boot and the milliseconds since then, where the clock was wrong.
    pub(super) boot: Option<(&'a str, i64)>,
}

/// The JSON form of an event.
pub(super) fn json(event: &Event, front: &Front<'_>) -> serde_json::Result<String> {
    let mut json = Vec::with_capacity(JSON_BYTES);
    let Front { seq, terminal_seq, id, boot } = front;
    write!(json, r#"{{"seq":{seq},"id":"{id}","terminal_seq":{terminal_seq}"#).map_err(serde_json::Error::io)?;
    if let Some((boot, boot_ms)) = boot {
        write!(json, r#","boot":"{boot}","boot_ms":{boot_ms}"#).map_err(serde_json::Error::io)?;
    }
    let body = json.len();
    serde_json::to_writer(&mut json, event)?;
    // The event's own fields go on where these end.
    if let Some(brace) = json.get_mut(body) {
        *brace = b',';
    }
    String::from_utf8(json).map_err(serde::ser::Error::custom)
}

fn refused(error: impl std::fmt::Display) -> Fault {
    Fault::Refused(error.to_string())
}

/// Milliseconds since the machine's boot, sleep included.
fn boot_ms() -> i64 {
    i64::try_from(clock::since_boot().as_millis()).unwrap_or(i64::MAX)
}
