//! What a wreck holds beside its events, found by the form of its rows, and brought in before them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use super::{BroughtIn, SLICE, Wreck};
use crate::clock;
use crate::command::{Command, Happening, State};
use crate::log::pages::{Row, Value};
use crate::log::place::place;
use crate::log::relics::OldLine;
use crate::log::{Log, LogError, RegisterKind, RegisterRow, Relic, Submission};

/// In front of the life of a store whose lines are here: the last of them follows.
const LINES_OF: &str = "lines_of:";

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    page: u32,
    row: u16,
}

/// Where everything is.
#[derive(Debug, Default)]
pub(super) struct Relics {
    epoch: Option<String>,
    /// Which other stores' lines came into this one.
    lines_of: BTreeMap<String, i64>,
    source_ids: Vec<Spot>,
    /// By source and id: how far it had come, and where it is.
    commands: BTreeMap<(String, String), (u8, Spot)>,
    terminals: HashMap<i64, String>,
    /// By their numbers.
    lines: BTreeMap<i64, Spot>,
    undated: BTreeSet<i64>,
    register: BTreeMap<(&'static str, String), Spot>,
}

impl Relics {
    /// Notes a row if it is of those.
    pub(super) fn note(&mut self, page: u32, row: u16, found: &Row) {
        let spot = Spot { page, row };
        match (found.rowid, found.values.as_slice()) {
            (None, [Value::Text(key), Value::Text(value)]) if key == "epoch" => self.epoch = Some(value.clone()),
            (None, [Value::Text(key), Value::Text(value)]) => {
                if let (Some(life), Ok(last)) = (key.strip_prefix(LINES_OF), value.parse()) {
                    self.lines_of.insert(life.to_owned(), last);
                }
            }
            (None, [Value::Text(_), Value::Text(_), Value::Number(_)]) => self.source_ids.push(spot),
            (None, [Value::Text(kind), Value::Text(key), Value::Text(_)]) => {
                if let Some(kind) = RegisterKind::ALL.iter().find(|known| known.name() == kind) {
                    self.register.entry((kind.name(), key.clone())).or_insert(spot);
                }
            }
            // A boot's row has the same form where it is of an older gateway.
            (Some(id), [Value::Null, Value::Text(name)]) if !is_boot(name) => {
                self.terminals.insert(id, name.clone());
            }
            (Some(id), [Value::Null, Value::Number(_), Value::Number(_), Value::Null | Value::Text(_)]) => {
                self.undated.insert(id);
            }
            (Some(_), [Value::Null, Value::Text(_), Value::Text(_), ..]) => {
                if let Some((command, _)) = as_command(found) {
                    // A stale page may have it as it was before.
                    let stage = match command.state {
                        State::Requested => 0,
                        State::Sent => 1,
                        _ => 2,
                    };
                    let known =
                        self.commands.entry((command.source.name().to_owned(), command.id)).or_insert((stage, spot));
                    if known.0 < stage {
                        *known = (stage, spot);
                    }
                }
            }
            (
                Some(id),
                [Value::Null, Value::Number(_), Value::Number(_), Value::Text(_), Value::Number(_), _, Value::Text(_)],
            ) => {
                self.lines.insert(id, spot);
            }
            _ => {}
        }
    }
}

impl Log {
    /// Brings in what a wreck holds beside its events.
    pub(super) fn bring_relics(&self, wreck: &Wreck, brought: &mut BroughtIn) -> Result<(), LogError> {
        self.bring_source_ids(wreck)?;
        self.bring_kept(wreck, brought)
    }

    /// The same without what sources are known by: that is right only where the events come in, too.
    pub(super) fn bring_kept(&self, wreck: &Wreck, brought: &mut BroughtIn) -> Result<(), LogError> {
        self.bring_commands(wreck, brought)?;
        self.bring_register(wreck)?;
        self.bring_lines(wreck, brought)
    }

    /// Ids of what was forwarded, or comes in itself. What is lost may be sent again by its source: that is how it comes back.
    fn bring_source_ids(&self, wreck: &Wreck) -> Result<(), LogError> {
        let wanted = |spot: &Spot| {
            let row = wreck.row(spot.page, spot.row)?;
            let [Value::Text(terminal), Value::Text(id), Value::Number(seq)] = row.values.as_slice() else {
                return None;
            };
            let seq = place(*seq);
            // The index of the commands has rows of the same form.
            let is_command = wreck.relics.commands.contains_key(&(terminal.clone(), id.clone()));
            let is_here = !terminal.is_empty() && wreck.holds(seq);
            let is_wanted = !is_command && (!wreck.stand.is_pending(seq) || is_here);
            is_wanted.then(|| Relic::SourceId { terminal: terminal.clone(), id: id.clone() })
        };
        self.submit_relics(wreck.relics.source_ids.iter().filter_map(wanted))
    }

    /// Those that had not ended end here: whether they were carried out, nobody knows.
    fn bring_commands(&self, wreck: &Wreck, brought: &mut BroughtIn) -> Result<(), LogError> {
        for (_, spot) in wreck.relics.commands.values() {
            let Some((command, untold)) = wreck.row(spot.page, spot.row).as_ref().and_then(as_command) else {
                continue;
            };
            if self.command(command.source, &command.id)?.is_some() {
                continue;
            }
            let (now, synced) = clock::now();
            let (command, untold, event) = match ended(&command, now) {
                Some(end) => {
                    let event = end.event(synced);
                    (end, command.source == crate::command::Source::Mqtt, Some(event))
                }
                None => (command, untold, None),
            };
            let relics = vec![Relic::Command { command: Box::new(command), untold }];
            let events = event.into_iter().map(Into::into).collect();
            self.submit_blocking(Submission { events, relics, ..Submission::default() })?;
            brought.commands += 1;
        }
        Ok(())
    }

    /// Rows that are not here.
    fn bring_register(&self, wreck: &Wreck) -> Result<(), LogError> {
        let mut rows = Vec::new();
        for ((_, key), spot) in &wreck.relics.register {
            let Some(row) = wreck.row(spot.page, spot.row) else { continue };
            let [Value::Text(kind), _, Value::Text(body)] = row.values.as_slice() else { continue };
            let kind = RegisterKind::ALL.into_iter().find(|known| known.name() == kind);
            if let (Some(kind), Ok(body)) = (kind, serde_json::from_str(body))
                && self.register(|register| register.get(kind, key).is_none())
            {
                rows.push(RegisterRow { kind, key: key.clone(), body: Some(body) });
            }
        }
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(SLICE));
            let register = std::mem::replace(&mut rows, rest);
            match self.submit_blocking(Submission { register, ..Submission::default() }) {
                Err(LogError::Refused(why)) => {
                    tracing::warn!(why, "A part of the register is not brought in.");
                    return Ok(());
                }
                answer => answer.map(drop)?,
            }
        }
        Ok(())
    }

    /// Lines of journals, before those that are here. Of a store without a name it cannot be told whether they are here already.
    fn bring_lines(&self, wreck: &Wreck, brought: &mut BroughtIn) -> Result<(), LogError> {
        let Some(epoch) = &wreck.relics.epoch else { return Ok(()) };
        let records = self.records()?;
        let known = |life: &str| -> Result<i64, LogError> {
            records.ask(|connection| {
                let key = format!("{LINES_OF}{life}");
                let found: Option<String> = connection
                    .query_row("SELECT value FROM store WHERE key = ?1", [key], |row| row.get(0))
                    .optional()?;
                Ok(found.and_then(|text| i64::from_str(&text).ok()).unwrap_or(0))
            })
        };
        let after = known(epoch)?;
        // What had come into that store from a third one is among its lines.
        for (life, last) in &wreck.relics.lines_of {
            if *life != *epoch && known(life)? < *last {
                self.submit_relics(std::iter::once(fact(life, *last)))?;
            }
        }
        let lines: Vec<(i64, Spot)> = wreck.relics.lines.iter().map(|(id, spot)| (*id, *spot)).collect();
        // Those that had come from a third store stand below 1: all of them, or none, are here.
        let lines: Vec<(i64, Spot)> =
            lines.into_iter().filter(|(id, _)| *id > after || (after == 0 && *id < 1)).collect();
        let first: i64 = records
            .ask(|connection| connection.query_row("SELECT coalesce(min(id), 1) FROM journal", [], |row| row.get(0)))?;
        let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let mut id = first.min(1).saturating_sub(count);
        for slice in lines.chunks(SLICE) {
            let mut relics = Vec::with_capacity(slice.len() + 1);
            for (number, spot) in slice {
                let line = wreck.row(spot.page, spot.row).and_then(|row| wreck.relics.line(*number, &row, id));
                relics.extend(line.map(|line| Relic::Line(Box::new(line))));
                id += 1;
            }
            brought.lines += u64::try_from(relics.len()).unwrap_or(u64::MAX);
            relics.extend(slice.last().map(|(last, _)| fact(epoch, *last)));
            self.submit_blocking(Submission { relics, ..Submission::default() })?;
        }
        Ok(())
    }

    fn submit_relics(&self, relics: impl Iterator<Item = Relic>) -> Result<(), LogError> {
        let mut relics = relics.peekable();
        while relics.peek().is_some() {
            let slice = relics.by_ref().take(SLICE).collect();
            self.submit_blocking(Submission { relics: slice, ..Submission::default() })?;
        }
        Ok(())
    }
}

impl Relics {
    fn line(&self, number: i64, row: &Row, id: i64) -> Option<OldLine> {
        let [
            _,
            Value::Number(terminal),
            Value::Number(day),
            Value::Text(link),
            Value::Number(at),
            printed,
            Value::Text(text),
        ] = row.values.as_slice()
        else {
            return None;
        };
        Some(OldLine {
            id,
            terminal: self.terminals.get(terminal)?.clone(),
            link: link.clone(),
            received_ms: *at,
            day: *day,
            printed_at: if let Value::Text(printed) = printed { Some(printed.clone()) } else { None },
            text: text.clone(),
            undated: self.undated.contains(&number),
        })
    }
}

fn fact(life: &str, last: i64) -> Relic {
    Relic::Fact { key: format!("{LINES_OF}{life}"), value: last.to_string() }
}

/// A row of `command`, and whether its asker is to be told.
fn as_command(row: &Row) -> Option<(Command, bool)> {
    let [_, _, Value::Text(id), _, _, Value::Number(untold), Value::Text(body)] = row.values.as_slice() else {
        return None;
    };
    let command: Command = serde_json::from_str(body).ok()?;
    (command.id == *id).then_some((command, *untold != 0))
}

/// How one that had not ended ends.
fn ended(command: &Command, now: Timestamp) -> Option<Command> {
    let sent = command.after(Happening::Sending, now);
    let lost = sent.as_ref().unwrap_or(command).after(Happening::Lost, now)?;
    Some(lost.because("interrupted", "the store that held it was damaged"))
}

/// The kernel's name of a boot.
fn is_boot(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    let is = |(at, byte): (usize, u8)| if dashes.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() };
    text == "unknown" || (text.len() == 36 && text.bytes().enumerate().all(is))
}

#[cfg(test)]
mod tests;
