//! A journal's dialect: what its lines mean, as data (`devices/<model>/dialect.toml`).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Said;
use super::attempt::Happening;
use crate::event::{Component, Device, Kind, Severity};
use crate::mask;

/// The dialect of NCR Advance NDC journals, which the gateway carries along.
const NCR: &str = include_str!("../../../../devices/ncr-journal/dialect.toml");

/// Why a dialect file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DialectError {
    /// It is no TOML of this form.
    #[error("{0}")]
    File(#[from] toml::de::Error),
    /// No dialect of this name is part of the program.
    #[error("no journal dialect `{0}`; built in is ncr")]
    Unknown(String),
    /// A pattern is no regular expression.
    #[error("rule {rule}: {source}")]
    Pattern {
        /// The pattern as it stands in the file.
        rule: String,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
    /// A rule for this purpose has to be there, once.
    #[error("a dialect has one rule with the role `{0}`")]
    Role(&'static str),
}

/// What the reader does with a line beside the event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Nothing.
    #[default]
    Words,
    /// Takes the date.
    Header,
    /// Decodes a device status.
    Status,
    /// Begins a customer's session.
    SessionStart,
    /// Ends it.
    SessionEnd,
    /// Names the counts that follow.
    Section,
    /// Reads counts.
    Counts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    time: String,
    rule: Vec<RuleText>,
    #[serde(default)]
    status: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    pattern: String,
    #[serde(default)]
    role: Role,
    event: Option<Kind>,
    severity: Option<Severity>,
    device: Option<Device>,
    component: Option<Component>,
    #[serde(default)]
    numbers: Vec<String>,
    #[serde(default)]
    lists: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    set: BTreeMap<String, Value>,
    pair: Option<String>,
    once: Option<String>,
    #[serde(default)]
    clears: Vec<String>,
    keep: Option<String>,
    take: Option<String>,
    section: Option<String>,
    #[serde(default)]
    hold: bool,
}

/// One rule, ready to use.
#[derive(Debug)]
pub(super) struct Rule {
    pattern: Regex,
    pub(super) role: Role,
    pub(super) said: Option<Said>,
    pub(super) device: Option<Device>,
    numbers: Vec<String>,
    lists: Vec<String>,
    names: Vec<String>,
    set: BTreeMap<String, Value>,
    pub(super) happening: Option<Happening>,
    pub(super) clears: Vec<usize>,
    pub(super) keep: Option<String>,
    pub(super) take: Option<String>,
    pub(super) section: Option<String>,
    pub(super) hold: bool,
}

impl Rule {
    fn new(text: RuleText, happenings: &mut Vec<String>) -> Result<Rule, DialectError> {
        let pattern = regex(&text.pattern)?;
        let mut number = |name: String| {
            happenings.iter().position(|known| *known == name).unwrap_or_else(|| {
                happenings.push(name);
                happenings.len() - 1
            })
        };
        let pair = text.pair.map(|name| Happening::Pair(number(name)));
        let once = text.once.map(|name| Happening::Once(number(name)));
        Ok(Rule {
            pattern,
            role: text.role,
            said: text.event.map(|kind| Said {
                kind,
                severity: text.severity.unwrap_or(kind.severity()),
                device: text.device,
                component: text.component,
            }),
            device: text.device,
            numbers: text.numbers,
            lists: text.lists,
            names: text.names,
            set: text.set,
            happening: pair.or(once),
            clears: text.clears.into_iter().map(number).collect(),
            keep: text.keep,
            take: text.take,
            section: text.section,
            hold: text.hold,
        })
    }

    /// The groups of the pattern in a line.
    pub(super) fn captures<'l>(&self, line: &'l str) -> Option<Captures<'l>> {
        self.pattern.captures(line.as_bytes())
    }

    /// Every place and count that the pattern finds in a line.
    pub(super) fn counts(&self, line: &str) -> Vec<(usize, u64)> {
        let pairs = self.pattern.captures_iter(line.as_bytes());
        pairs.filter_map(|found| Some((number(&found, "place")?, number(&found, "count")?))).collect()
    }

    /// The fields that a line of this rule carries.
    pub(super) fn fields(&self, line: &str) -> Map<String, Value> {
        let mut fields = Map::new();
        if let Some(captures) = self.captures(line) {
            for name in self.pattern.capture_names().flatten() {
                if let Some(text) = text(&captures, name) {
                    fields.insert(name.to_owned(), self.value(name, text));
                }
            }
        }
        fields.extend(self.set.iter().map(|(name, value)| (name.clone(), value.clone())));
        fields
    }

    fn value(&self, name: &str, text: &str) -> Value {
        let among = |names: &[String]| names.iter().any(|known| known == name);
        if name == "pan_masked" {
            mask::pan(text).into()
        } else if among(&self.numbers) {
            text.parse::<u64>().map_or_else(|_| text.into(), Value::from)
        } else if among(&self.lists) {
            let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
            parts.filter_map(|part| part.parse::<u64>().ok()).collect()
        } else if among(&self.names) {
            text.to_ascii_lowercase().replace(' ', "_").into()
        } else if name == "amount" {
            text.replace(',', "").into()
        } else {
            text.into()
        }
    }
}

/// The text of a group, without blanks at both ends; absent where there is none.
pub(super) fn text<'l>(captures: &Captures<'l>, name: &str) -> Option<&'l str> {
    let text = std::str::from_utf8(captures.name(name)?.as_bytes()).ok()?.trim();
    (!text.is_empty()).then_some(text)
}

/// The number that a group holds.
pub(super) fn number<N: std::str::FromStr>(captures: &Captures<'_>, name: &str) -> Option<N> {
    text(captures, name)?.parse().ok()
}

/// Lines are ASCII when they get here, so that patterns need no Unicode tables.
fn regex(pattern: &str) -> Result<Regex, DialectError> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .build()
        .map_err(|source| DialectError::Pattern { rule: pattern.to_owned(), source: Box::new(source) })
}

/// A dialect, ready to use.
#[derive(Debug)]
pub struct Dialect {
    name: String,
    time: Regex,
    status: Rule,
    rules: Vec<Rule>,
    set: RegexSet,
    statuses: Vec<Rule>,
    happenings: usize,
}

impl Dialect {
    /// Reads the NCR Advance NDC dialect that the gateway carries along.
    pub fn ncr() -> Result<Arc<Dialect>, DialectError> {
        // Compiled once: hundreds of terminals share it.
        static COMPILED: OnceLock<Arc<Dialect>> = OnceLock::new();
        match COMPILED.get() {
            Some(compiled) => Ok(Arc::clone(compiled)),
            None => {
                let dialect = Arc::new(Dialect::parse(NCR)?);
                Ok(Arc::clone(COMPILED.get_or_init(|| dialect)))
            }
        }
    }

    /// The dialect that a profile names; NCR where it names none.
    pub fn named(name: Option<&str>) -> Result<Arc<Dialect>, DialectError> {
        match name {
            None | Some("ncr") => Dialect::ncr(),
            Some(other) => Err(DialectError::Unknown(other.to_owned())),
        }
    }

    /// Reads a dialect file.
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
                    return Err(DialectError::Role("status"));
                }
            } else {
                rules.push(rule);
                patterns.push(pattern);
            }
        }
        for text in file.status {
            statuses.push(Rule::new(text, &mut names)?);
        }
        let set = RegexSetBuilder::new(&patterns)
            .unicode(false)
            .build()
            .map_err(|source| DialectError::Pattern { rule: file.name.clone(), source: Box::new(source) })?;
        Ok(Dialect {
            name: file.name,
            time: regex(&file.time)?,
            status: status.ok_or(DialectError::Role("status"))?,
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
        self.status.captures(line)
    }

    /// What the journal knows about this status: `P21`.
    pub(super) fn status(&self, status: &str) -> Option<&Rule> {
        self.statuses.iter().find(|rule| rule.pattern.is_match(status.as_bytes()))
    }

    /// The rule of a line.
    pub(super) fn rule(&self, line: &str) -> Option<&Rule> {
        let first = self.set.matches(line.as_bytes()).iter().next()?;
        self.rules.get(first)
    }

    /// The time of day in front of a line, and the rest of it.
    pub(super) fn time<'l>(&self, line: &'l str) -> (Option<jiff::civil::Time>, &'l str) {
        let Some(captures) = self.time.captures(line.as_bytes()) else { return (None, line) };
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
