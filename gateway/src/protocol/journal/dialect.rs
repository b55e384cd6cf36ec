//! A journal's dialect: what its lines mean, as data (`devices/<model>/dialect.toml`).

use std::sync::{Arc, Mutex, PoisonError};

use regex::bytes::{Captures, Regex, RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::error::DialectError;
use super::record::{Record, RecordText};
use super::rule::{Role, Rule, RuleText, number, regex};
use crate::mask;

/// The dialects that the gateway carries along: the name a profile calls it by, the model's folder, its text.
pub(super) const BUILTIN: [(&str, &str, &str); 3] = [
    ("ncr", "ncr-journal", include_str!("../../../../devices/ncr-journal/dialect.toml")),
    ("procash", "wincor-procash", include_str!("../../../../devices/wincor-procash/dialect.toml")),
    ("moniplus", "hyosung-moniplus", include_str!("../../../../devices/hyosung-moniplus/dialect.toml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    time: Option<String>,
    #[serde(default)]
    lost_escape: bool,
    columns: Option<usize>,
    record: Option<RecordText>,
    #[serde(default)]
    layout: Vec<RuleText>,
    #[serde(default)]
    rule: Vec<RuleText>,
    #[serde(default)]
    status: Vec<RuleText>,
}

/// A dialect, ready to use.
#[derive(Debug)]
pub struct Dialect {
    /// What it was read from: the same text is the same dialect.
    source: Arc<str>,
    name: String,
    time: Option<Regex>,
    /// Printer controls may have lost their ESC byte.
    pub(super) lost_escape: bool,
    /// The printer's width, where it breaks longer lines in two.
    pub(super) columns: Option<usize>,
    /// How a record is laid out, where the journal is made of records.
    pub(super) record: Option<Record>,
    layouts: Vec<Rule>,
    status: Option<Rule>,
    rules: Vec<Rule>,
    set: RegexSet,
    statuses: Vec<Rule>,
    happenings: usize,
}

impl Dialect {
    /// The built-in dialect of this name: `ncr`, `procash` or `moniplus`.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn named(name: &str) -> Result<Arc<Dialect>, DialectError> {
        let row = BUILTIN.iter().find(|row| row.0 == name).ok_or_else(|| DialectError::Unknown(name.to_owned()))?;
        Dialect::shared(row.2)
    }

    /// The text of the dialect in a built-in model's folder, if it has one.
    pub fn builtin_text(folder: &str) -> Option<&'static str> {
        BUILTIN.iter().find(|row| row.1 == folder).map(|row| row.2)
    }

    /// The dialect of this text, compiled when it is first asked for: hundreds of terminals share it.
    ///
    /// # Errors
    /// As [`Dialect::parse`].
    pub fn shared(text: &str) -> Result<Arc<Dialect>, DialectError> {
        static COMPILED: Mutex<Vec<Arc<Dialect>>> = Mutex::new(Vec::new());
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.iter().find(|dialect| *dialect.source == *text) {
            return Ok(Arc::clone(known));
        }
        let dialect = Arc::new(Dialect::parse(text)?);
        compiled.push(Arc::clone(&dialect));
        Ok(dialect)
    }

    /// Whether a rule knows this line.
    pub(super) fn knows(&self, line: &str) -> bool {
        let line = line.trim();
        self.status_line(line).is_some() || self.rule(self.time(&mask::printed(line)).1).is_some()
    }

    /// Reads a dialect file.
    ///
    /// # Errors
    /// Where it is no dialect; the error names the rule and the reason.
    pub fn parse(text: &str) -> Result<Dialect, DialectError> {
        let file: File = toml::from_str(text)?;
        let mut names = Vec::new();
        let (mut statuses, mut rules) = (Vec::new(), Vec::new());
        let mut status = None;
        let mut patterns = Vec::new();
        for text in file.rule {
            let pattern = text.pattern.clone();
            let rule = Rule::new(text, &mut names)?;
            if rule.role == Role::Status {
                if status.replace(rule).is_some() {
                    return Err(DialectError::Rules("two rules have the role `status`".to_owned()));
                }
            } else {
                rules.push(rule);
                patterns.push(pattern);
            }
        }
        for text in file.status {
            statuses.push(Rule::new(text, &mut names)?);
        }
        let layouts = file.layout.into_iter().map(|text| Rule::new(text, &mut names)).collect::<Result<_, _>>()?;
        let set = RegexSetBuilder::new(&patterns)
            .unicode(false)
            .build()
            .map_err(|error| DialectError::Rules(format!("all rules together: {error}")))?;
        Ok(Dialect {
            source: text.into(),
            name: file.name,
            time: file.time.as_deref().map(regex).transpose()?,
            lost_escape: file.lost_escape,
            columns: file.columns,
            record: file.record.map(Record::new).transpose()?,
            layouts,
            status,
            rules,
            set,
            statuses,
            happenings: names.len(),
        })
    }

    /// The dialect's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many happenings the rules name.
    pub(super) fn happenings(&self) -> usize {
        self.happenings
    }

    /// A line that is a device status.
    pub(super) fn status_line<'l>(&self, line: &'l str) -> Option<Captures<'l>> {
        self.status.as_ref()?.captures(line)
    }

    /// What the journal knows about this status: `P21`.
    pub(super) fn status(&self, status: &str) -> Option<&Rule> {
        self.statuses.iter().find(|rule| rule.is_match(status))
    }

    /// What a record's data is made of, where a layout describes it.
    pub(super) fn layout(&self, words: &str) -> Option<&Rule> {
        self.layouts.iter().find(|layout| layout.is_match(words))
    }

    /// The rule of a line.
    pub(super) fn rule(&self, line: &str) -> Option<&Rule> {
        let first = self.set.matches(line.as_bytes()).iter().next()?;
        self.rules.get(first)
    }

    /// The time of day in front of a line, and the rest of it.
    pub(super) fn time<'l>(&self, line: &'l str) -> (Option<jiff::civil::Time>, &'l str) {
        let Some(captures) = self.time.as_ref().and_then(|time| time.captures(line.as_bytes())) else {
            return (None, line);
        };
        let part = |name| number::<i8>(&captures, name);
        let time = part("hour").zip(part("minute")).zip(part("second"));
        let time = time.and_then(|((hour, minute), second)| jiff::civil::Time::new(hour, minute, second, 0).ok());
        let end = captures.get(0).map_or(0, |all| all.end());
        match time {
            Some(time) => (Some(time), line.get(end..).unwrap_or_default().trim()),
            None => (None, line),
        }
    }
}
