//! One rule of a dialect: a pattern, and what a line that it matches means.

use std::collections::BTreeMap;

use regex::bytes::{Captures, Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Said;
use super::attempt::Happening;
use super::error::DialectError;
use crate::event::{Component, Device, Kind, Severity};
use crate::mask;

/// The group of the operation code: eight places, one for each key (as in NDC's request).
const POSITIONAL: &str = "opcode";

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

/// A rule as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleText {
    pub(super) pattern: String,
    #[serde(default)]
    pub(super) role: Role,
    event: Option<Kind>,
    severity: Option<Severity>,
    device: Option<Device>,
    component: Option<String>,
    #[serde(default)]
    numbers: Vec<String>,
    #[serde(default)]
    lists: Vec<String>,
    #[serde(default)]
    two_digit_lists: Vec<String>,
    #[serde(default)]
    flags: Vec<String>,
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

/// The part of a device that a rule names.
#[derive(Debug)]
enum Part {
    /// Always the same.
    Fixed(Component),
    /// One whose number is a group of the pattern: `cassette_{unit}`.
    Numbered { front: String, group: String },
}

/// What a group of a pattern becomes as a field.
#[derive(Clone, Copy, Debug)]
enum Form {
    Number,
    List,
    TwoDigitList,
    Flag,
    Name,
}

/// One rule, ready to use.
#[derive(Debug)]
pub(super) struct Rule {
    pattern: Regex,
    pub(super) role: Role,
    said: Option<Said>,
    part: Option<Part>,
    pub(super) device: Option<Device>,
    forms: Vec<(String, Form)>,
    set: BTreeMap<String, Value>,
    pub(super) happening: Option<Happening>,
    pub(super) clears: Vec<usize>,
    pub(super) keep: Option<String>,
    pub(super) take: Option<String>,
    pub(super) section: Option<String>,
    pub(super) hold: bool,
}

impl Rule {
    /// Compiles a rule; `happenings` are the names of those of all rules so far.
    pub(super) fn new(text: RuleText, happenings: &mut Vec<String>) -> Result<Rule, DialectError> {
        let pattern = regex(&text.pattern)?;
        let refuse = |reason: String| DialectError::Rule { rule: text.pattern.clone(), reason };
        let group = |name: &str| pattern.capture_names().flatten().any(|known| known == name);
        let forms: Vec<(String, Form)> = [
            (text.numbers, Form::Number),
            (text.lists, Form::List),
            (text.two_digit_lists, Form::TwoDigitList),
            (text.flags, Form::Flag),
            (text.names, Form::Name),
        ]
        .into_iter()
        .flat_map(|(names, form)| names.into_iter().map(move |name| (name, form)))
        .collect();
        if let Some((name, _)) = forms.iter().find(|(name, _)| !group(name)) {
            return Err(refuse(format!("the pattern has no group `{name}`")));
        }
        let part = text.component.as_deref().map(part).transpose().map_err(refuse)?;
        if let Some(Part::Numbered { group: name, .. }) = part.as_ref().filter(|part| !part.has_group(group)) {
            return Err(refuse(format!("the pattern has no group `{name}`")));
        }
        let mut number = |name: String| {
            happenings.iter().position(|known| *known == name).unwrap_or_else(|| {
                happenings.push(name);
                happenings.len() - 1
            })
        };
        let pair = text.pair.map(|name| Happening::Pair(number(name)));
        let once = text.once.map(|name| Happening::Once(number(name)));
        Ok(Rule {
            said: text.event.map(|kind| Said {
                kind,
                severity: text.severity.unwrap_or(kind.severity()),
                device: text.device,
                component: None,
            }),
            pattern,
            role: text.role,
            part,
            device: text.device,
            forms,
            set: text.set,
            happening: pair.or(once),
            clears: text.clears.into_iter().map(number).collect(),
            keep: text.keep,
            take: text.take,
            section: text.section,
            hold: text.hold,
        })
    }

    /// The event that a line of this rule stands for, if any.
    pub(super) fn said(&self, line: &str) -> Option<Said> {
        self.said.map(|said| Said { component: self.component(line), ..said })
    }

    fn component(&self, line: &str) -> Option<Component> {
        match self.part.as_ref()? {
            Part::Fixed(component) => Some(*component),
            Part::Numbered { front, group } => {
                format!("{front}{}", number::<u8>(&self.captures(line)?, group)?).parse().ok()
            }
        }
    }

    /// Whether the pattern matches.
    pub(super) fn is_match(&self, line: &str) -> bool {
        self.pattern.is_match(line.as_bytes())
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
                let found = if name == POSITIONAL { positional(&captures, name) } else { text(&captures, name) };
                if let Some(text) = found {
                    fields.insert(name.to_owned(), self.value(name, text));
                }
            }
        }
        fields.extend(self.set.iter().map(|(name, value)| (name.clone(), value.clone())));
        fields
    }

    fn value(&self, name: &str, text: &str) -> Value {
        let numbers = |parts: &mut dyn Iterator<Item = &str>| -> Value {
            parts.filter_map(|part| part.parse::<u64>().ok()).collect()
        };
        match self.forms.iter().find(|(known, _)| known == name).map(|(_, form)| *form) {
            Some(Form::Number) => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
            Some(Form::List) => numbers(&mut text.split([',', ' '])),
            Some(Form::TwoDigitList) => {
                numbers(&mut text.as_bytes().chunks(2).filter_map(|two| std::str::from_utf8(two).ok()))
            }
            Some(Form::Flag) => matches!(text.to_ascii_uppercase().as_str(), "TRUE" | "YES" | "Y" | "1").into(),
            Some(Form::Name) => text.to_ascii_lowercase().replace(' ', "_").into(),
            None if name == "pan_masked" => mask::pan(text).into(),
            None if name == "amount" => text.replace(',', "").into(),
            None => text.into(),
        }
    }
}

impl Part {
    fn has_group(&self, known: impl Fn(&str) -> bool) -> bool {
        match self {
            Part::Fixed(_) => true,
            Part::Numbered { group, .. } => known(group),
        }
    }
}

/// `safe`, or `cassette_{unit}` with a group of the pattern in it.
fn part(text: &str) -> Result<Part, String> {
    let Some((front, group)) = text.split_once('{') else { return text.parse().map(Part::Fixed) };
    let group = group.strip_suffix('}').ok_or_else(|| format!("`{text}` ends with the group in braces"))?;
    format!("{front}1").parse::<Component>()?;
    Ok(Part::Numbered { front: front.to_owned(), group: group.to_owned() })
}

/// The text of a group whose places count: blanks in front stand for keys that were not pressed.
fn positional<'l>(captures: &Captures<'l>, name: &str) -> Option<&'l str> {
    let text = std::str::from_utf8(captures.name(name)?.as_bytes()).ok()?.trim_end();
    (!text.is_empty()).then_some(text)
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
pub(super) fn regex(pattern: &str) -> Result<Regex, DialectError> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .build()
        .map_err(|source| DialectError::Rule { rule: pattern.to_owned(), reason: source.to_string() })
}
