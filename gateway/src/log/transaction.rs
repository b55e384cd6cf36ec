//! One submission written inside the writer's transaction.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::board::Board;
use super::commands;
use super::dating;
use super::failure::Fault;
use super::front::Front;
use super::place::{number, place};
use super::register::{self, RegisterRow};
use super::relics::Relic;
use super::{Fold, NewEvent, Receipt, Stored, Submission, journal, plugin, relics};
use crate::clock;
use crate::event::Event;

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
        for relic in submission.relics {
            written.commands |= matches!(relic, Relic::Command { .. });
            written.journal_lines += u64::from(matches!(relic, Relic::Line(_)));
            relics::write(connection, relic, self.head)?;
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
            plugin::write(connection, &commit)?;
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
        let json = Front { seq, terminal_seq, id: &id }.write(&event, boot).map_err(refused)?;
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

fn refused(error: impl std::fmt::Display) -> Fault {
    Fault::Refused(error.to_string())
}

/// Milliseconds since the machine's boot, sleep included.
fn boot_ms() -> i64 {
    i64::try_from(clock::since_boot().as_millis()).unwrap_or(i64::MAX)
}
