//! A gateway for tests: runs a rule natively, event by event, with the state and terminals it would have.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use crate::contract::vestibule::rule::types::Event as Record;
use crate::{Action, Rule, Severity, kind};

#[derive(Default)]
struct Inside {
    terminals: Vec<String>,
    flags: BTreeSet<(String, String)>,
    state: BTreeMap<String, Vec<u8>>,
    text: Vec<(BTreeMap<String, String>, BTreeMap<String, String>)>,
    lines: Vec<String>,
}

thread_local! {
    static INSIDE: RefCell<Inside> = RefCell::default();
}

fn inside<T>(look: impl FnOnce(&mut Inside) -> T) -> T {
    INSIDE.with_borrow_mut(look)
}

/// Runs one rule natively. Make one a test: it begins with an empty state.
#[derive(Debug)]
pub struct TestHost<R> {
    seq: u64,
    rule: PhantomData<R>,
}

impl<R: Rule> TestHost<R> {
    /// A host that knows nothing yet.
    #[allow(clippy::new_without_default, reason = "making one empties the thread's state, which a default would hide")]
    pub fn new() -> Self {
        inside(|inside| *inside = Inside::default());
        TestHost { seq: 0, rule: PhantomData }
    }

    /// Says of a terminal what its profile would say of it.
    pub fn flag(&mut self, terminal: &str, flag: &str) {
        inside(|inside| inside.flags.insert((terminal.to_owned(), flag.to_owned())));
    }

    /// Hands the rule one event, if it is subscribed to it.
    pub fn event(&mut self, event: TestEvent) -> Vec<Action> {
        self.batch([event])
    }

    /// Hands the rule those of these events that it is subscribed to, in one batch.
    pub fn batch(&mut self, events: impl IntoIterator<Item = TestEvent>) -> Vec<Action> {
        let mut records = Vec::new();
        inside(|inside| inside.text.clear());
        for mut event in events {
            self.seq += 1;
            event.record.seq = self.seq;
            if !wanted::<R>(&event.record) {
                continue;
            }
            inside(|inside| {
                event.record.terminal = reference(&mut inside.terminals, &event.terminal);
                inside.text.push((event.fields, event.attributes));
            });
            records.push(event.record);
        }
        crate::answer::<R>(&records)
    }

    /// What the rule has stored under this key.
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        state_get(key)
    }

    /// The lines that the rule has logged.
    pub fn lines(&self) -> Vec<String> {
        inside(|inside| inside.lines.clone())
    }
}

/// The gateway's filter.
fn wanted<R: Rule>(record: &Record) -> bool {
    let made_by_rules = matches!(record.kind >> 8, 0x0a..=0x0c);
    R::SUBSCRIPTIONS.iter().map(|wanted| wanted.parts()).any(|(kinds, families, severity)| {
        let any = kinds.is_empty() && families.is_empty() && !made_by_rules;
        let family = families.iter().any(|family| u16::from(*family) == record.kind >> 8);
        (any || family || kinds.contains(&record.kind)) && record.severity >= severity.code()
    })
}

fn reference(terminals: &mut Vec<String>, name: &str) -> u32 {
    if name.is_empty() {
        return 0;
    }
    let place = terminals.iter().position(|known| known == name).unwrap_or_else(|| {
        terminals.push(name.to_owned());
        terminals.len() - 1
    });
    u32::try_from(place + 1).unwrap_or(0)
}

/// An event for a test.
#[derive(Clone, Debug)]
pub struct TestEvent {
    record: Record,
    terminal: String,
    fields: BTreeMap<String, String>,
    attributes: BTreeMap<String, String>,
}

impl TestEvent {
    /// An event of this kind at its default severity.
    pub fn new(terminal: &str, kind: u16) -> Self {
        let record = Record {
            seq: 0,
            at_ms: 0,
            kind,
            severity: kind::severity(kind).code(),
            state: 0,
            device: 0,
            component: 0,
            amount_minor: 0,
            currency: 0,
            terminal: 0,
        };
        TestEvent { record, terminal: terminal.to_owned(), fields: BTreeMap::new(), attributes: BTreeMap::new() }
    }

    /// At this time, in milliseconds since 1970 UTC.
    #[must_use]
    pub fn at_ms(mut self, at_ms: i64) -> Self {
        self.record.at_ms = at_ms;
        self
    }

    /// With another severity.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.record.severity = severity.code();
        self
    }

    /// About this device.
    #[must_use]
    pub fn device(mut self, device: u16) -> Self {
        self.record.device = device;
        self
    }

    /// About this part.
    #[must_use]
    pub fn component(mut self, component: u16) -> Self {
        self.record.component = component;
        self
    }

    /// About this much money, in minor units.
    #[must_use]
    pub fn amount(mut self, minor: i64, currency: [u8; 3]) -> Self {
        let [a, b, c] = currency;
        self.record.amount_minor = minor;
        self.record.currency = u32::from_be_bytes([0, a, b, c]);
        self
    }

    /// The beginning of a condition.
    #[must_use]
    pub fn raised(mut self) -> Self {
        self.record.state = 1;
        self
    }

    /// The end of a condition.
    #[must_use]
    pub fn cleared(mut self) -> Self {
        self.record.state = 2;
        self
    }

    /// With this attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With this text field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(name.to_owned(), value.to_owned());
        self
    }
}

fn place(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

pub(crate) fn field(event: u32, name: &str) -> Option<String> {
    inside(|inside| inside.text.get(place(event))?.0.get(name).cloned())
}

pub(crate) fn attribute(event: u32, name: &str) -> Option<String> {
    inside(|inside| inside.text.get(place(event))?.1.get(name).cloned())
}

pub(crate) fn terminal_name(terminal: u32) -> String {
    inside(|inside| {
        let before = terminal.checked_sub(1).map(place);
        before.and_then(|place| inside.terminals.get(place)).cloned().unwrap_or_default()
    })
}

pub(crate) fn terminal_flag(terminal: u32, name: &str) -> bool {
    let terminal = terminal_name(terminal);
    inside(|inside| inside.flags.contains(&(terminal, name.to_owned())))
}

pub(crate) fn state_get(key: &str) -> Option<Vec<u8>> {
    inside(|inside| inside.state.get(key).cloned())
}

pub(crate) fn state_set(key: &str, value: &[u8]) {
    inside(|inside| inside.state.insert(key.to_owned(), value.to_vec()));
}

pub(crate) fn state_remove(key: &str) {
    inside(|inside| inside.state.remove(key));
}

pub(crate) fn log(_level: u8, text: &str) {
    inside(|inside| inside.lines.push(text.to_owned()));
}
