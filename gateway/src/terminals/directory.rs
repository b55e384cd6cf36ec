//! Every terminal there is: configured, uploaded or only heard, with what is known of it now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Config, TerminalState};
use crate::event::Severity;
use crate::log::{Log, Register, RegisterKind, Standing};

/// In front of the name of a terminal that nobody configured and that was let in.
const UNKNOWN: &str = "unknown-";

/// A row of the register.
pub type Row = Map<String, Value>;

/// How a terminal came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// It stands in the configuration.
    Configured,
    /// A file named it.
    Uploaded,
    /// It spoke, and nobody has configured it.
    Unknown,
}

/// A terminal as the directory has it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// How it came to be known.
    pub known: Known,
    /// Its part of the configuration.
    pub config: Option<Config>,
    /// Its row of the register.
    pub row: Row,
    /// How it was heard, where it is unknown.
    pub heard: Row,
    /// Its folded state.
    pub state: TerminalState,
    /// Its events so far.
    pub events: u64,
    /// When its last event was read, as far as that was since the start of this process.
    pub last_event_at: Option<Timestamp>,
    /// Models of the devices in it.
    pub models: Vec<String>,
    /// The region of its branch.
    pub region: Option<u64>,
}

impl Entry {
    /// The worst severity of the conditions that are open.
    pub fn severity(&self) -> Option<Severity> {
        self.state.conditions.values().map(|condition| condition.severity).max()
    }

    /// A number of its row: of its branch or group.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.row.get(key).and_then(Value::as_u64)
    }

    /// A text of its row.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.row.get(key).and_then(Value::as_str)
    }

    /// Whether it is in a group: one that its row names or, for a dynamic group with a rule, one whose rule holds.
    pub fn is_in(&self, group: &str, row: &Row) -> bool {
        match row.get("rule").and_then(Value::as_object) {
            Some(rule) if row.get("type").and_then(Value::as_str) == Some("Dynamic") => {
                !rule.is_empty() && rule.iter().all(|(key, wanted)| self.holds(key, wanted))
            }
            _ => self.number("group").is_some_and(|number| number.to_string() == group),
        }
    }

    fn holds(&self, key: &str, wanted: &Value) -> bool {
        let text = wanted.as_str().unwrap_or_default();
        match key {
            "branch" => self.number("branch") == wanted.as_u64(),
            "region" => self.region.is_some() && self.region == wanted.as_u64(),
            "software" | "status" => self.text(key) == Some(text),
            "model" => self.models.iter().any(|model| model == text),
            "condition" => self.state.conditions.values().any(|condition| condition.kind.family() == text),
            _ => false,
        }
    }
}

/// Who is configured; all else is asked of the log when it is needed.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<RwLock<Configured>>);

#[derive(Debug, Default)]
struct Configured {
    terminals: BTreeMap<String, Config>,
    /// What configured terminals may call themselves beside their names.
    aliases: BTreeSet<String>,
}

impl Directory {
    /// The directory over this configuration.
    pub fn new(configured: &[Config]) -> Directory {
        let directory = Directory::default();
        directory.replace(configured);
        directory
    }

    /// This is the configuration now.
    pub fn replace(&self, configured: &[Config]) {
        let aliases = configured.iter().filter_map(|terminal| terminal.luno.clone()).collect();
        let terminals = configured.iter().map(|terminal| (terminal.name.clone(), terminal.clone())).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Configured { terminals, aliases };
    }

    fn read(&self) -> RwLockReadGuard<'_, Configured> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the name of a terminal that there is: one that is not has been removed.
    pub fn knows(&self, log: &Log, name: &str) -> bool {
        let configured = self.read();
        configured.terminals.contains_key(name)
            || log.register(|register| {
                register.get(RegisterKind::Terminal, name).is_some()
                    || name.strip_prefix(UNKNOWN).is_some_and(|heard| {
                        !configured.is_configured(heard) && register.get(RegisterKind::Heard, heard).is_some()
                    })
            })
    }

    /// All terminals in the order of their names.
    pub fn all(&self, log: &Log) -> Vec<Entry> {
        let standings = log.terminals(BTreeMap::clone);
        let configured = self.read();
        log.register(|register| {
            let known = configured.terminals.keys().map(|name| (name.as_str(), Known::Configured));
            let uploaded = register.of(RegisterKind::Terminal).map(|(name, _)| (name, Known::Uploaded));
            let heard = register.of(RegisterKind::Heard).filter(|(name, _)| !configured.is_configured(name));
            let heard = heard.map(|(name, _)| (name, Known::Unknown));
            // The first way counts.
            let mut names: BTreeMap<&str, Known> = BTreeMap::new();
            for (name, known) in known.chain(uploaded).chain(heard) {
                names.entry(name).or_insert(known);
            }
            let mut models = models(register);
            names
                .into_iter()
                .map(|(name, known)| {
                    configured.entry(name, known, register, &standings, models.remove(name).unwrap_or_default())
                })
                .collect()
        })
    }

    /// The terminal of this name.
    pub fn one(&self, log: &Log, name: &str) -> Option<Entry> {
        self.all(log).into_iter().find(|entry| entry.name == name)
    }
}

impl Configured {
    fn is_configured(&self, heard: &str) -> bool {
        self.terminals.contains_key(heard) || self.aliases.contains(heard)
    }

    fn entry(
        &self,
        name: &str,
        known: Known,
        register: &Register,
        standings: &BTreeMap<String, Standing>,
        models: Vec<String>,
    ) -> Entry {
        let standing = match known {
            Known::Unknown => standings.get(&format!("{UNKNOWN}{name}")),
            _ => standings.get(name),
        };
        let row = register.get(RegisterKind::Terminal, name).cloned().unwrap_or_default();
        let branch = row.get("branch").and_then(Value::as_u64);
        let branch = branch.and_then(|branch| register.get(RegisterKind::Branch, &branch.to_string()));
        Entry {
            name: name.to_owned(),
            known,
            config: self.terminals.get(name).cloned(),
            heard: register
                .get(RegisterKind::Heard, name)
                .filter(|_| known == Known::Unknown)
                .cloned()
                .unwrap_or_default(),
            state: standing.and_then(|standing| serde_json::from_str(&standing.state).ok()).unwrap_or_default(),
            events: standing.map_or(0, |standing| standing.terminal_seq),
            last_event_at: standing.and_then(Standing::last_event_at),
            models,
            region: branch.and_then(|branch| branch.get("region")).and_then(Value::as_u64),
            row,
        }
    }
}

/// The models of the devices in each terminal.
fn models(register: &Register) -> BTreeMap<String, Vec<String>> {
    let mut models: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, fitted) in register.of(RegisterKind::Fitted) {
        let terminal = fitted.get("terminal").and_then(Value::as_str);
        let device = fitted.get("device").and_then(Value::as_u64);
        let device = device.and_then(|device| register.get(RegisterKind::Device, &device.to_string()));
        let model = device.and_then(|device| device.get("model")).and_then(Value::as_str);
        if let (Some(terminal), Some(model)) = (terminal, model) {
            models.entry(terminal.to_owned()).or_default().push(model.to_owned());
        }
    }
    models
}
