//! Lines into entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::{Date, Time};
use regex::bytes::Captures;
use serde_json::{Map, Value};

use super::attempt::{Attempt, Teller};
use super::calendar::{Calendar, LocalTime};
use super::dialect::{Dialect, Role, Rule, number, text};
use super::{Echo, Entry, HEADER_FIELD, Tells, controls, status};
use crate::mask;
use crate::protocol::Fault;

/// Counted places at most (cassette types).
const PLACES: usize = 32;

/// An entry whose counts are still being printed.
#[derive(Debug)]
struct Held {
    entry: Entry,
    section: Option<String>,
}

/// What is known between two lines.
#[derive(Debug)]
pub(super) struct Reader {
    dialect: Arc<Dialect>,
    calendar: Calendar,
    attempt: Attempt,
    held: Option<Held>,
    /// Fields kept for a later line, by the name the dialect gives them.
    kept: BTreeMap<String, Map<String, Value>>,
    /// The line before was a header.
    under_header: bool,
    /// The line before was noise.
    noise: bool,
    unknown_lines: u64,
}

impl Reader {
    pub(super) fn new(dialect: Arc<Dialect>) -> Reader {
        Reader {
            attempt: Attempt::new(dialect.happenings()),
            dialect,
            calendar: Calendar::default(),
            held: None,
            kept: BTreeMap::new(),
            under_header: false,
            noise: false,
            unknown_lines: 0,
        }
    }

    pub(super) fn unknown_lines(&self) -> u64 {
        self.unknown_lines
    }

    /// Takes one line.
    pub(super) fn line(&mut self, bytes: &[u8], out: &mut impl FnMut(Result<Entry, Fault>)) {
        let printed = controls::strip(bytes);
        if printed.noise {
            self.release(out);
            // One fault for a run of such lines: a wrong baud rate must not flood the log.
            if !std::mem::replace(&mut self.noise, true) {
                out(Err(Fault::new("bytes that are no journal text", bytes)));
            }
            return;
        }
        if !printed.text.is_empty() {
            self.noise = false;
            self.text(&printed.text, out);
        }
        if printed.block_end {
            self.release(out);
        }
    }

    /// The bytes have ended.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Result<Entry, Fault>)) {
        self.release(out);
    }

    fn text(&mut self, line: &str, out: &mut impl FnMut(Result<Entry, Fault>)) {
        let dialect = Arc::clone(&self.dialect);
        // Before masking: a status has long runs of digits that are no card number.
        if let Some(captures) = dialect.status_line(line) {
            self.release(out);
            let entry = self.status(line, &captures);
            self.under_header = false;
            out(entry);
            return;
        }
        let masked = mask::text(line);
        let (time, words) = dialect.time(&masked);
        if let Some(time) = time {
            self.calendar.line(time);
        }
        let rule = dialect.rule(words);
        let role = rule.map(|rule| rule.role);
        if !matches!(role, Some(Role::Section | Role::Counts)) {
            self.release(out);
        }
        match (rule, role) {
            (Some(rule), Some(Role::Section)) if self.held.is_some() => {
                self.held.iter_mut().for_each(|held| held.section.clone_from(&rule.section));
            }
            (Some(rule), Some(Role::Counts)) if self.held.is_some() => self.count(&rule.counts(words)),
            (None, _) | (_, Some(Role::Section | Role::Counts)) => {
                self.unknown_lines = self.unknown_lines.saturating_add(1);
            }
            (Some(rule), _) => {
                let entry = self.words(rule, words, time);
                if rule.hold {
                    self.held = Some(Held { entry, section: rule.section.clone() });
                } else {
                    out(Ok(entry));
                }
            }
        }
        self.under_header = role == Some(Role::Header);
    }

    /// A line of words that a rule knows.
    fn words(&mut self, rule: &Rule, words: &str, time: Option<Time>) -> Entry {
        let mut fields = rule.fields(words);
        match rule.role {
            Role::Header => {
                if let Some((date, time)) = rule.captures(words).and_then(|captures| header_time(&captures)) {
                    self.calendar.header(date, time);
                }
                fields.retain(|name, _| name == HEADER_FIELD);
                if !self.attempt.in_session {
                    self.attempt.forget_status_lines();
                }
            }
            Role::SessionStart => {
                self.kept.clear();
                self.attempt.session_starts();
            }
            _ => {}
        }
        // A header directly above, or a session around it, dates a line that has no time of its own.
        let printed_at = self.printed_at(time.is_some() || rule.role == Role::Header);
        if let Some(name) = &rule.keep {
            self.kept.entry(name.clone()).or_default().extend(fields.clone());
        }
        if let Some(mut kept) = rule.take.as_ref().and_then(|name| self.kept.remove(name)) {
            kept.extend(fields);
            fields = kept;
        }
        self.attempt.clear(&rule.clears);
        let told = rule.happening.is_some_and(|happening| self.attempt.tell(happening, Teller::Words));
        // Between sessions any new happening begins another attempt.
        if rule.said.is_some() && !told && !self.attempt.in_session {
            self.attempt.forget_status_lines();
        }
        if rule.role == Role::SessionEnd {
            self.attempt.session_ends();
        }
        let tells = rule.said.map_or(Tells::Fields, Tells::Words);
        if let (Tells::Fields, Some(device)) = (&tells, rule.device) {
            fields.insert("device".to_owned(), device.to_string().into());
        }
        let echo = if told { Echo::SameHappening } else { Echo::New };
        Entry { printed_at, tells, echo, line: words.to_owned(), fields }
    }

    /// A status line.
    fn status(&mut self, line: &str, captures: &Captures<'_>) -> Result<Entry, Fault> {
        let decoded = status::decode(captures).map_err(|reason| Fault::new(reason, line.as_bytes()))?;
        let dialect = Arc::clone(&self.dialect);
        let rule = dialect.status(&decoded.code);
        if let Some(rule) = rule {
            self.attempt.clear(&rule.clears);
        }
        // The same operator key twice is two keys.
        let repeats = !decoded.is_key && self.attempt.repeats(line);
        let echo = if repeats {
            Echo::SameLine
        } else if rule.and_then(|rule| rule.happening).is_some_and(|told| self.attempt.tell(told, Teller::Status)) {
            Echo::SameHappening
        } else {
            Echo::New
        };
        Ok(Entry {
            printed_at: self.printed_at(false),
            tells: Tells::Status {
                status: Box::new(decoded.status),
                said: rule.and_then(|rule| rule.said),
                known: rule.is_some(),
            },
            echo,
            line: mask::text(line).into_owned(),
            fields: decoded.fields,
        })
    }

    fn printed_at(&self, own: bool) -> Option<LocalTime> {
        self.calendar.last().filter(|_| own || self.under_header || self.attempt.in_session)
    }

    fn count(&mut self, counts: &[(usize, u64)]) {
        let Some(Held { entry, section: Some(section) }) = &mut self.held else { return };
        let list = entry.fields.entry(section.clone()).or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(list) = list else { return };
        for &(place, count) in counts {
            if (1..=PLACES).contains(&place) {
                if list.len() < place {
                    list.resize(place, 0.into());
                }
                list[place - 1] = count.into();
            }
        }
    }

    fn release(&mut self, out: &mut impl FnMut(Result<Entry, Fault>)) {
        if let Some(held) = self.held.take() {
            out(Ok(held.entry));
        }
    }
}

/// The date and time of a header; its pattern says in which order they stand.
fn header_time(captures: &Captures<'_>) -> Option<(Date, Time)> {
    let year: i16 = number(captures, "year")?;
    let century = if text(captures, "year")?.len() == 2 { 2000 } else { 0 };
    let date = Date::new(century + year, number(captures, "month")?, number(captures, "day")?).ok()?;
    Some((date, Time::new(number(captures, "hour")?, number(captures, "minute")?, 0, 0).ok()?))
}
