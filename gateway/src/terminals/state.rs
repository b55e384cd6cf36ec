//! The state of one terminal, as it is stored.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::condition::{self, Turn};
use crate::clock::Moment;
use crate::event::{Attributes, Component, Device, Event, Kind, Severity, State};

/// Most conditions of one terminal at once; a source that invents more gets them logged, not remembered.
const MAX_CONDITIONS: usize = 256;

/// A condition that is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The kind that began it, or gave it its present degree.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// The device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// The part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// Since when, by the gateway's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The same in the machine's own time, while that clock was wrong.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub moment: Option<Moment>,
}

/// Everything known of a terminal now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TerminalState {
    /// Whether it is in service, as far as it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_service: Option<bool>,
    /// Open conditions by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<String, Condition>,
    /// The counters it reported last.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: Attributes,
}

/// What an event did to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The state is another now, and must be stored.
    Changed,
}

impl TerminalState {
    /// Whether this event can change a state at all; most cannot.
    pub(super) fn concerns(event: &Event) -> bool {
        event.kind == Kind::CountersReported || condition::of(event).is_some()
    }

    /// Takes an event in: marks it `raised` or `cleared` where it begins or ends a condition, unmarks a repetition.
    pub(super) fn take(&mut self, event: &mut Event) -> Change {
        let mut change = match event.kind {
            Kind::CountersReported if self.counters != event.attributes => {
                self.counters.clone_from(&event.attributes);
                Change::Changed
            }
            Kind::ModeInService | Kind::ModeOutOfService => self.service(event.kind == Kind::ModeInService),
            _ => Change::None,
        };
        let Some((key, turn)) = condition::of(event) else { return change };
        event.state = match turn {
            Turn::End => self.conditions.remove(&key).map(|_| State::Cleared),
            Turn::Begin => self.begin(key, event).then_some(State::Raised),
        };
        if event.state.is_some() {
            change = Change::Changed;
        }
        change
    }

    /// The clock is right, and this boot was at `origin`: dates what waited for that; whether something did.
    pub(super) fn date(&mut self, boot: &str, origin: Timestamp) -> bool {
        let mut dated = false;
        for condition in self.conditions.values_mut() {
            let Some(moment) = condition.moment.take_if(|moment| *moment.boot == *boot) else { continue };
            condition.since = origin.checked_add(SignedDuration::from_millis(moment.boot_ms)).ok();
            dated = true;
        }
        dated
    }

    fn service(&mut self, now: bool) -> Change {
        if self.in_service.replace(now) == Some(now) { Change::None } else { Change::Changed }
    }

    /// Whether the condition is new, or has another degree than before.
    fn begin(&mut self, key: String, event: &Event) -> bool {
        let before = self.conditions.get(&key);
        if before.is_some_and(|open| open.kind == event.kind && open.severity == event.severity) {
            return false;
        }
        if before.is_some() || self.conditions.len() < MAX_CONDITIONS {
            let condition = Condition {
                kind: event.kind,
                severity: event.severity,
                device: event.device,
                component: event.component,
                since: event.received_at,
                moment: (event.time_synced == Some(false)).then(Moment::now),
            };
            self.conditions.insert(key, condition);
        }
        true
    }
}
