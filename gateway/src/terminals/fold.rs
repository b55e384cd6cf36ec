//! The fold over all terminals' states that the log's writer runs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use jiff::Timestamp;

use super::Inventory;
use super::state::{Change, TerminalState};
use crate::event::{Event, State};
use crate::log::Fold;
use crate::metrics::Metrics;

/// All terminals' states, in memory and (through the log) on disk.
pub struct TerminalFold {
    states: HashMap<String, TerminalState>,
    /// Names that the metrics may use as labels: those of the configuration alone.
    configured: Arc<Inventory>,
    metrics: Arc<Metrics>,
    /// States as they were before the submission that is being folded.
    before: Vec<(String, TerminalState)>,
    changed: Vec<String>,
}

impl TerminalFold {
    /// A fold that knows nothing yet; the log loads what is stored.
    pub fn new(configured: Arc<Inventory>, metrics: Arc<Metrics>) -> TerminalFold {
        TerminalFold { states: HashMap::new(), configured, metrics, before: Vec::new(), changed: Vec::new() }
    }

    fn show(&self, terminal: &str) {
        let Some(state) = self.states.get(terminal) else { return };
        if self.configured.named(terminal).is_none() {
            return;
        }
        let open = i64::try_from(state.conditions.len()).unwrap_or(i64::MAX);
        self.metrics.terminal_faults.with_label_values(&[terminal]).set(open);
        if let Some(in_service) = state.in_service {
            self.metrics.terminal_in_service.with_label_values(&[terminal]).set(i64::from(in_service));
        }
    }
}

impl Fold for TerminalFold {
    fn load(&mut self, terminal: &str, state: &str) {
        let state = if state.is_empty() { Ok(TerminalState::default()) } else { serde_json::from_str(state) };
        match state {
            Ok(state) => {
                self.states.insert(terminal.to_owned(), state);
                self.show(terminal);
            }
            Err(error) => {
                tracing::warn!(terminal, %error, "The terminal's stored state is not readable; it starts anew.")
            }
        }
    }

    fn apply(&mut self, mut event: Event, reading: bool, out: &mut Vec<Event>) {
        if !TerminalState::concerns(&event) {
            out.push(event);
            return;
        }
        let state = match self.states.entry(event.terminal.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(TerminalState::default()),
        };
        let before = state.clone();
        let change = state.take(&mut event);
        if reading && event.state != Some(State::Cleared) {
            *state = before;
            return;
        }
        if change == Change::Changed {
            self.before.push((event.terminal.clone(), before));
            self.changed.push(event.terminal.clone());
        }
        out.push(event);
    }

    fn date(&mut self, boot: &str, origin: Timestamp) {
        for (terminal, state) in &mut self.states {
            let before = state.clone();
            if state.date(boot, origin) {
                self.before.push((terminal.clone(), before));
                self.changed.push(terminal.clone());
            }
        }
    }

    fn changed(&mut self, store: &mut dyn FnMut(&str, String)) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for terminal in changed {
            self.show(&terminal);
            let Some(state) = self.states.get(&terminal) else { continue };
            match serde_json::to_string(state) {
                Ok(json) => store(&terminal, json),
                Err(error) => tracing::error!(terminal, %error, "The terminal's state cannot be written as JSON."),
            }
        }
    }

    fn undo(&mut self) {
        for (terminal, state) in self.before.drain(..).rev() {
            self.states.insert(terminal, state);
        }
    }

    fn keep(&mut self) {
        self.before.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Component, Device, Kind};

    fn fold() -> TerminalFold {
        TerminalFold::new(Arc::default(), Arc::new(Metrics::new().expect("metrics")))
    }

    fn supply(kind: Kind) -> Event {
        let mut event = Event::new(kind).device(Device::CashHandler).component(Component::Cassette(2));
        event.terminal = "atm".to_owned();
        event
    }

    /// What the events of one terminal become, as `kind state`.
    fn run(fold: &mut TerminalFold, events: &[(Kind, bool)]) -> Vec<String> {
        let mut out = Vec::new();
        for (kind, reading) in events {
            fold.apply(supply(*kind), *reading, &mut out);
        }
        let state = |event: &Event| event.state.map_or("-".to_owned(), |state| format!("{state:?}").to_lowercase());
        out.iter().map(|event| format!("{} {}", event.kind, state(event))).collect()
    }

    #[test]
    fn a_supply_is_raised_once_changes_degree_and_is_cleared_by_a_reading() {
        let (low, out, ok) = (Kind::SupplyLow, Kind::SupplyOut, Kind::SupplyOk);
        let said = run(
            &mut fold(),
            &[(ok, true), (low, false), (low, false), (out, false), (ok, true), (ok, true), (low, false)],
        );
        assert_eq!(
            said,
            ["supply.low raised", "supply.low -", "supply.out raised", "supply.ok cleared", "supply.low raised"]
        );
    }

    #[test]
    fn states_survive_a_restart_and_undo_forgets() {
        let mut first = fold();
        run(&mut first, &[(Kind::SupplyLow, false)]);
        first.keep();
        let mut stored = Vec::new();
        first.changed(&mut |terminal, state| stored.push((terminal.to_owned(), state)));
        run(&mut first, &[(Kind::SupplyOk, false)]);
        first.undo();
        assert_eq!(run(&mut first, &[(Kind::SupplyLow, false)]), ["supply.low -"], "the undone ok is forgotten");
        let mut second = fold();
        second.load(&stored[0].0, &stored[0].1);
        assert_eq!(run(&mut second, &[(Kind::SupplyOk, true)]), ["supply.ok cleared"]);
    }
}
