//! Lines into entries.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use regex::bytes::Captures;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::attempt::{Attempt, Teller};
use super::calendar::Calendar;
use super::dialect::Dialect;
use super::record::{Record, date_time};
use super::rule::{Role, Rule};
use super::{Echo, Entry, HEADER_FIELD, Line, Tells, controls, status};
use crate::local_time::LocalTime;
use crate::mask;
use crate::protocol::Fault;

/// Lines of counts that follow one event at most: what goes on longer is no block of counts.
const COUNT_LINES: usize = 64;

/// Counted places at most (cassette types).
const PLACES: usize = 32;

/// An entry whose counts are still being printed.
#[derive(Debug)]
struct Held {
    entry: Entry,
    section: Option<String>,
}

impl Held {
    fn count(&mut self, counts: &[(usize, u64)]) {
        let Some(section) = &self.section else { return };
        let list = self.entry.fields.entry(section.clone()).or_insert_with(|| Value::Array(Vec::new()));
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
    /// A line that no rule knows and that fills the paper's width, or ends as a card number may begin: the next may be the
    /// rest of it.
    wide: Option<Zeroizing<String>>,
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
            wide: None,
            under_header: false,
            noise: false,
            unknown_lines: 0,
        }
    }

    /// Whether the journal is made of records, not lines.
    pub(super) fn reads_records(&self) -> bool {
        self.dialect.record.is_some()
    }

    pub(super) fn unknown_lines(&self) -> u64 {
        self.unknown_lines
    }

    /// Takes one line, or one record.
    pub(super) fn line(&mut self, bytes: &[u8], out: &mut impl FnMut(Result<Entry, Fault>)) {
        let dialect = Arc::clone(&self.dialect);
        if let Some(layout) = &dialect.record {
            return self.record(layout, bytes, out);
        }
        let printed = controls::strip(bytes, dialect.lost_escape);
        if printed.noise {
            self.finish(out);
            // One fault for a run of such lines: a wrong baud rate must not flood the log.
            if !std::mem::replace(&mut self.noise, true) {
                out(Err(Fault::new("bytes that are no journal text", bytes)));
            }
            return;
        }
        if !printed.text.trim().is_empty() {
            self.noise = false;
            self.piece(printed.text, out);
        }
        if printed.block_end {
            self.finish(out);
        }
    }

    /// The bytes have ended, or a block of them has.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Result<Entry, Fault>)) {
        if let Some(wide) = self.wide.take() {
            self.text(wide.trim(), out);
        }
        self.release(out);
    }

    /// A line as it stands on the paper: with the one before, where the printer broke one in two.
    fn piece(&mut self, text: Zeroizing<String>, out: &mut impl FnMut(Result<Entry, Fault>)) {
        let dialect = Arc::clone(&self.dialect);
        let mut text = text;
        if let Some(wide) = self.wide.take() {
            let broken = dialect.columns == Some(wide.len());
            let (wide, rest) =
                if broken { (wide.as_str(), text.as_str()) } else { (wide.trim_end(), text.trim_start()) };
            let both = Zeroizing::new([wide, rest].concat());
            if !dialect.knows(&text) {
                if broken && dialect.knows(&both) {
                    return self.text(both.trim(), out);
                }
                // A card number that the break cut in two is one all the same; masking keeps the length. Where the line
                // had room for more, only what is surely one.
                let masked = if broken { mask::printed(&both) } else { mask::number(&both) };
                let (left, right) = masked.split_at_checked(wide.len()).unwrap_or((&masked, ""));
                self.text(left.trim(), out);
                text = Zeroizing::new(right.to_owned());
            } else {
                self.text(wide.trim(), out);
            }
        }
        let may_go_on = dialect.columns == Some(text.len()) || may_be_cut(&text);
        if may_go_on && !dialect.knows(&text) {
            self.wide = Some(text);
        } else {
            self.text(text.trim(), out);
        }
    }

    /// A journal's record: every one has its full time.
    fn record(&mut self, layout: &Record, bytes: &[u8], out: &mut impl FnMut(Result<Entry, Fault>)) {
        let text = controls::plain(bytes);
        if text.is_empty() {
            return;
        }
        let (noise, record) = text.split_at(layout.begins(&text).unwrap_or(text.len()));
        if !noise.is_empty() {
            out(Err(Fault::new("a record without the fields that its dialect names", noise.as_bytes())));
        }
        let Some(mut read) = layout.read(record, record.len() + 1) else { return };
        if let Some(time) = read.time {
            self.calendar.header(time);
        }
        let dialect = Arc::clone(&self.dialect);
        let mut entry = match dialect.rule(&read.words) {
            Some(rule) => self.words(rule, &read.words, read.time.is_some()),
            None => self.unknown(&read.words, read.time.is_some()),
        };
        read.fields.extend(dialect.layout(&read.words).map(|layout| layout.fields(&read.words)).unwrap_or_default());
        read.fields.append(&mut entry.fields);
        entry.fields = read.fields;
        entry.text.push(Line { printed_at: entry.printed_at, text: read.line });
        out(Ok(entry));
    }

    fn text(&mut self, line: &str, out: &mut impl FnMut(Result<Entry, Fault>)) {
        let dialect = Arc::clone(&self.dialect);
        // A status has long runs of digits that are no card number: of it only what is one is masked, and before it is
        // taken apart.
        let line = mask::number(line);
        let line = line.as_ref();
        if let Some(captures) = dialect.status_line(line) {
            self.release(out);
            let entry = self.status(line, &captures);
            self.under_header = false;
            out(entry);
            return;
        }
        let masked = mask::printed(line);
        let (time, words) = dialect.time(&masked);
        if let Some(time) = time {
            self.calendar.line(time);
        }
        let rule = dialect.rule(words);
        let role = rule.map(|rule| rule.role);
        let full = self.held.as_ref().is_some_and(|held| held.entry.text.len() > COUNT_LINES);
        if full || !matches!(role, Some(Role::Section | Role::Counts)) {
            self.release(out);
        }
        let printed = |entry: &Entry| Line { printed_at: entry.printed_at, text: masked.clone().into_owned() };
        match (rule, self.held.as_mut()) {
            (Some(rule), Some(held)) => {
                match rule.role {
                    Role::Section => held.section.clone_from(&rule.section),
                    _ => held.count(&rule.counts(words)),
                }
                held.entry.text.push(printed(&held.entry));
            }
            (Some(rule), None) if !matches!(rule.role, Role::Section | Role::Counts) => {
                let mut entry = self.words(rule, words, time.is_some());
                entry.text.push(printed(&entry));
                if rule.hold {
                    self.held = Some(Held { entry, section: rule.section.clone() });
                } else {
                    out(Ok(entry));
                }
            }
            _ => {
                let mut entry = self.unknown(words, time.is_some());
                entry.text.push(printed(&entry));
                out(Ok(entry));
            }
        }
        self.under_header = role == Some(Role::Header);
    }

    /// A line that no rule knows: only its text is kept.
    fn unknown(&mut self, words: &str, own_time: bool) -> Entry {
        self.unknown_lines = self.unknown_lines.saturating_add(1);
        Entry {
            printed_at: self.printed_at(own_time),
            tells: Tells::Fields,
            echo: Echo::New,
            line: words.to_owned(),
            fields: Map::new(),
            text: Vec::new(),
        }
    }

    /// A line of words that a rule knows.
    fn words(&mut self, rule: &Rule, words: &str, own_time: bool) -> Entry {
        let mut fields = rule.fields(words);
        match rule.role {
            Role::Header => {
                if let Some(time) = rule.captures(words).and_then(|captures| date_time(&captures)) {
                    self.calendar.header(time);
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
        let printed_at = self.printed_at(own_time || rule.role == Role::Header);
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
        let said = rule.said(words);
        if said.is_some() && !told && !self.attempt.in_session {
            self.attempt.forget_status_lines();
        }
        if rule.role == Role::SessionEnd {
            self.attempt.session_ends();
        }
        let tells = said.map_or(Tells::Fields, Tells::Words);
        if let (Tells::Fields, Some(device)) = (&tells, rule.device) {
            fields.insert("device".to_owned(), device.to_string().into());
        }
        let echo = if told { Echo::SameHappening } else { Echo::New };
        Entry { printed_at, tells, echo, line: words.to_owned(), fields, text: Vec::new() }
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
        let (printed_at, line) = (self.printed_at(false), mask::printed(line).into_owned());
        Ok(Entry {
            printed_at,
            tells: Tells::Status {
                status: Box::new(decoded.status),
                said: rule.and_then(|rule| rule.said(&decoded.code)),
                known: rule.is_some(),
            },
            echo,
            text: vec![Line { printed_at, text: line.clone() }],
            line,
            fields: decoded.fields,
        })
    }

    fn printed_at(&self, own: bool) -> Option<LocalTime> {
        self.calendar.last().filter(|_| own || self.under_header || self.attempt.in_session)
    }

    fn release(&mut self, out: &mut impl FnMut(Result<Entry, Fault>)) {
        if let Some(held) = self.held.take() {
            out(Ok(held.entry));
        }
    }
}

/// Digits that a card number's first line may have at its end: so few in front of a break are of no use to anybody, and
/// so many are masked by themselves.
const CUT: RangeInclusive<usize> = 4..=11;

/// Whether a line ends with digits as a card number begins.
fn may_be_cut(line: &str) -> bool {
    let line = line.trim_end().as_bytes();
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    CUT.contains(&digits) && line.get(line.len() - digits).is_some_and(|first| matches!(first, b'2'..=b'6'))
}
