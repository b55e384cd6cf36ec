//! Events of another store's life, brought in so that they are forwarded: with the id, the place and the bytes that they
//! had, at a place of this log. They change no terminal's state, and no rule answers them again.

use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Fault;
use super::front::Front;
use super::place::number;
use super::transaction::{Ledger, Written};
use super::{Stored, foreign};
use crate::event::Event;

/// The ids of what was brought in stand among those that sources gave, for a terminal that has no name.
const NOBODY: &str = "";

/// The boot of what was brought in: none that is known here, so that no clock of this machine dates it.
const NO_BOOT: i64 = 0;

/// An event of another store's life.
#[derive(Debug)]
pub struct Salvaged {
    event: Event,
    json: Box<str>,
}

impl Salvaged {
    /// Takes the JSON form of a stored event.
    ///
    /// # Errors
    /// A sentence, where it is not whole.
    pub fn read(json: &str) -> Result<Salvaged, String> {
        let front = Front::read(json).ok_or("it does not begin with `seq`, `id` and `terminal_seq`")?;
        if !front.is_sound() {
            return Err(format!("its id {} is not of its place {}", front.id, front.seq));
        }
        let event = foreign::read(json).map_err(|error| error.to_string())?;
        Ok(Salvaged { event, json: json.into() })
    }

    /// Its JSON form.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// `{gateway}-{epoch}`: the life of the store that it was appended to.
    pub fn life(&self) -> &str {
        Front::read(&self.json).map_or("", |front| front.life())
    }
}

impl Ledger {
    /// Brings one in; false where it is here already, or was.
    pub(super) fn bring_in(
        &mut self,
        connection: &Connection,
        salvaged: Salvaged,
        written: &mut Written,
    ) -> Result<bool, Fault> {
        let Salvaged { event, json } = salvaged;
        let front = Front::read(&json).ok_or_else(|| Fault::Refused("a salvaged event has no front".to_owned()))?;
        if front.life() == self.id_prefix {
            return Err(Fault::Refused(format!("{} is an event of this store's own life", front.id)));
        }
        // A restored store has the events of the life before at their old places.
        let here: Option<String> = connection
            .prepare_cached("SELECT json FROM event WHERE seq = ?1")?
            .query_row([number(front.seq)], |row| row.get(0))
            .optional()?;
        if here.is_some_and(|here| Front::read(&here).is_some_and(|here| here.id == front.id)) {
            return Ok(false);
        }
        let seq = self.head + 1;
        let added = connection
            .prepare_cached("INSERT INTO source_id (terminal, id, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute(params![NOBODY, front.id, number(seq)])?;
        if added == 0 {
            return Ok(false);
        }
        let terminal_seq = front.terminal_seq;
        connection
            .prepare_cached("INSERT INTO event (seq, terminal_seq, boot, boot_ms, json) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![number(seq), number(terminal_seq), NO_BOOT, 0, json])?;
        self.head = seq;
        written.events.push(std::sync::Arc::new(Stored { seq, terminal_seq, boot_ms: None, event, json }));
        Ok(true)
    }
}
