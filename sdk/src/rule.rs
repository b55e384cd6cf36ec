//! What a rule is.

use crate::contract::vestibule::rule::types;
use crate::{Action, Event, Out, Severity};

/// A rule: which events it wants, and what it answers.
pub trait Rule {
    /// The events that it is handed; all others never reach it.
    const SUBSCRIPTIONS: &'static [Subscription];

    /// Answers one event. What it remembers between events stands in [`crate::state`] alone.
    fn on_event(event: Event<'_>, out: &mut Out<'_>);
}

/// Which events a rule wants.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    kinds: &'static [u16],
    families: &'static [u8],
    min_severity: Severity,
}

impl Subscription {
    /// Events of these kinds (see [`crate::kind`]).
    pub const fn kinds(kinds: &'static [u16]) -> Self {
        Subscription { kinds, families: &[], min_severity: Severity::Info }
    }

    /// Events of these families: the high bytes of their kinds.
    pub const fn families(families: &'static [u8]) -> Self {
        Subscription { kinds: &[], families, min_severity: Severity::Info }
    }

    /// Every event, except alerts, commands and what the gateway says of itself.
    pub const fn everything() -> Self {
        Subscription { kinds: &[], families: &[], min_severity: Severity::Info }
    }

    /// Of these, the ones at least this severe.
    #[must_use]
    pub const fn at_least(mut self, severity: Severity) -> Self {
        self.min_severity = severity;
        self
    }

    /// Its kinds, families and least severity.
    pub const fn parts(&self) -> (&'static [u16], &'static [u8], Severity) {
        (self.kinds, self.families, self.min_severity)
    }
}

/// What the rule says about itself; [`crate::rule!`] calls it.
pub fn describe<R: Rule>(name: &str, version: &str) -> types::Descriptor {
    types::Descriptor {
        name: name.to_owned(),
        version: version.to_owned(),
        subscriptions: R::SUBSCRIPTIONS
            .iter()
            .map(|wanted| types::Subscription {
                kinds: wanted.kinds.to_vec(),
                families: wanted.families.to_vec(),
                min_severity: wanted.min_severity.code(),
            })
            .collect(),
    }
}

/// Answers a batch; [`crate::rule!`] calls it.
pub fn answer<R: Rule>(batch: &[types::Event]) -> Vec<Action> {
    #[cfg(target_arch = "wasm32")]
    tell_panics();
    let mut actions = Vec::new();
    for (index, record) in (0..).zip(batch) {
        let event = Event::new(record, index);
        R::on_event(event, &mut Out::new(event, &mut actions));
    }
    actions
}

/// A panic ends the instance; its message, logged before that, is what the gateway reports.
#[cfg(target_arch = "wasm32")]
fn tell_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string()))));
}
