//! A plugin at work: calls with a deadline, and what is left when one fails.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, Trap};

use super::contract::RulePlugin;
use super::contract::vestibule::rule::types::{self, Action};
use super::effects::{self, Frame};
use super::engine::Engine;
use super::host::{Host, Violation, records};
use super::plugin::{Plugin, sentence};
use crate::event::Event;
use crate::log::Stored;

/// Most bytes that one call may hand to the host, in all.
const CALL_BYTES: usize = 1 << 20;

/// A store with the plugin's limits.
pub(super) fn store(engine: &Engine, mut host: Host) -> Store<Host> {
    host.begin_instance();
    let mut store = Store::new(&engine.wasm, host);
    store.limiter(|host| host);
    store.set_hostcall_fuel(CALL_BYTES);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().budget.at_tick()));
    store
}

/// Begins a call: what it may see, and how long it may take.
pub(super) fn begin(store: &mut Store<Host>, batch: &[Arc<Stored>], deadline: Duration) {
    store.data_mut().begin_call(batch, deadline);
    let mark = store.data().budget.mark();
    store.set_epoch_deadline(mark);
}

/// Why a call failed, in a sentence.
pub(super) fn reason(error: &wasmtime::Error, host: &Host, deadline: Duration) -> String {
    if let Some(violation) = error.downcast_ref::<Violation>() {
        return violation.to_string();
    }
    if host.memory_refused {
        return "it wanted more memory than it may have".to_owned();
    }
    match (error.downcast_ref::<Trap>(), &host.last_error) {
        (Some(Trap::Interrupt), _) => format!("it ran longer than {deadline:?}"),
        (Some(_), Some(said)) => said.clone(),
        (Some(trap), None) => trap.to_string(),
        (None, _) => sentence(error),
    }
}

/// An event that a plugin could not answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Its place in the batch.
    pub(super) place: usize,
    /// Why, in a sentence.
    pub(super) reason: String,
}

/// What a plugin made of a batch.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) events: Vec<Event>,
    pub(super) faults: Vec<Fault>,
    /// How many events of the batch it was handed, from the first on: all, or up to the last fault that it was allowed.
    pub(super) handed: usize,
}

/// The plugin's seat: an instance, or its data alone after a trap.
enum Seat {
    Taken(Box<Store<Host>>, RulePlugin),
    Vacant(Box<Host>),
}

/// A plugin in force.
pub(super) struct Instance {
    engine: Arc<Engine>,
    plugin: Arc<Plugin>,
    seat: Option<Seat>,
    /// The batch in the form of the contract; kept so that its memory is.
    records: Vec<types::Event>,
}

impl Instance {
    pub(super) fn new(engine: Arc<Engine>, plugin: Arc<Plugin>, host: Host) -> Instance {
        Instance { engine, plugin, seat: Some(Seat::Vacant(Box::new(host))), records: Vec::new() }
    }

    /// Puts another plugin into the seat; it takes over what was stored.
    pub(super) fn replace(&mut self, plugin: Arc<Plugin>) {
        self.plugin = plugin;
        self.vacate();
    }

    /// Takes the instance away; the next batch gets a new one. What was stored stays.
    #[cfg(test)]
    pub(super) fn restart(&mut self) {
        self.vacate();
    }

    pub(super) fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The plugin's data. The seat is empty only inside of this module.
    pub(super) fn host(&mut self) -> Option<&mut Host> {
        match self.seat.as_mut()? {
            Seat::Taken(store, _) => Some(store.data_mut()),
            Seat::Vacant(host) => Some(host),
        }
    }

    fn vacate(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.seat = Some(match seat {
                Seat::Taken(store, _) => Seat::Vacant(Box::new(store.into_data())),
                vacant => vacant,
            });
        }
    }

    /// Hands a batch over. Where that fails the batch is halved, until what fails is one event: that one is skipped. After
    /// the last fault allowed, the rest of the batch is not tried.
    pub(super) fn digest(&mut self, batch: &[Arc<Stored>], frame: &Frame<'_>, faults: usize) -> Outcome {
        let mut outcome = Outcome::default();
        self.digest_part(batch, frame, faults, &mut outcome);
        outcome
    }

    fn digest_part(&mut self, batch: &[Arc<Stored>], frame: &Frame<'_>, faults: usize, outcome: &mut Outcome) {
        if outcome.faults.len() >= faults {
            return;
        }
        match self.call(batch, frame) {
            Ok(events) => {
                outcome.events.extend(events);
                outcome.handed += batch.len();
            }
            Err(reason) if batch.len() <= 1 => {
                outcome.faults.push(Fault { place: outcome.handed, reason });
                outcome.handed += batch.len();
            }
            Err(_) => {
                let (left, right) = batch.split_at(batch.len() / 2);
                self.digest_part(left, frame, faults, outcome);
                self.digest_part(right, frame, faults, outcome);
            }
        }
    }

    fn call(&mut self, batch: &[Arc<Stored>], frame: &Frame<'_>) -> Result<Vec<Event>, String> {
        let deadline = self.engine.deadline(batch.len());
        let (mut store, seated) = match self.seat.take().ok_or("it has no seat")? {
            Seat::Taken(store, plugin) => (store, Some(plugin)),
            Seat::Vacant(host) => (Box::new(store(&self.engine, *host)), None),
        };
        records(batch, &mut self.records);
        begin(&mut store, batch, deadline);
        let answer = {
            let _running = self.engine.ticker.running();
            self.answer(&mut store, seated)
        };
        let (actions, plugin) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let why = reason(&error, store.data(), deadline);
                let mut host = store.into_data();
                host.state.drop_call();
                self.seat = Some(Seat::Vacant(Box::new(host)));
                return Err(why);
            }
        };
        let events = effects::events(frame, store.data(), actions);
        match &events {
            Ok(_) => store.data_mut().state.keep_call(),
            Err(_) => store.data_mut().state.drop_call(),
        }
        self.seat = Some(Seat::Taken(store, plugin));
        events.map_err(|violation| violation.to_string())
    }

    fn answer(
        &self,
        store: &mut Store<Host>,
        seated: Option<RulePlugin>,
    ) -> wasmtime::Result<(Vec<Action>, RulePlugin)> {
        let plugin = match seated {
            Some(plugin) => plugin,
            None => self.plugin.pre.instantiate(&mut *store)?,
        };
        let actions = plugin.vestibule_rule_rule().call_on_events(store, &self.records)?;
        Ok((actions, plugin))
    }
}
