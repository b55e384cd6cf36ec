//! A plugin without a gateway: it is handed events and its answers are shown. What tests of rules and benchmarks use.

use std::sync::Arc;
use std::time::Duration;

use super::effects::Frame;
use super::engine::Engine;
use super::host::Host;
use super::instance::Instance;
use super::state::State;
use super::{Config, EngineError, LoadError, TerminalFlags, load};
use crate::event::Event;
use crate::log::Stored;

/// The name that a plugin on trial goes by.
const NAME: &str = "trial";

/// A loaded plugin with the limits that it has in a gateway. What it stores is kept as if every answer was committed.
pub struct Trial {
    instance: Instance,
    stale_after: Duration,
}

/// Why a plugin cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The engine does not work here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file is no plugin.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What a plugin made of a batch.
#[derive(Debug, Default)]
pub struct Answers {
    /// The events that follow from it.
    pub events: Vec<Event>,
    /// Why events were skipped, a sentence for each.
    pub faults: Vec<String>,
}

impl Trial {
    /// Loads a plugin from the bytes of its file.
    ///
    /// # Errors
    /// Where the engine cannot be made, or the bytes are no plugin.
    pub fn new(config: &Config, wasm: &[u8], terminals: TerminalFlags) -> Result<Trial, TrialError> {
        let engine = Arc::new(Engine::new(config.deadline(), config.memory_bytes)?);
        let plugin = Arc::new(load::load(&engine, wasm)?);
        let host = Host::new(Arc::from(NAME), State::default(), terminals, engine.memory_bytes);
        let stale_after = Duration::from_secs(config.stale_after_s);
        Ok(Trial { instance: Instance::new(engine, plugin, host), stale_after })
    }

    /// Whether the plugin subscribes to this event: others are never handed to it.
    pub fn wants(&self, event: &Event) -> bool {
        self.instance.plugin().filter.wants(NAME, event)
    }

    /// Hands it a batch, whether it wants those events or not.
    pub fn answer(&mut self, batch: &[Arc<Stored>]) -> Answers {
        let frame = Frame { plugin: NAME, id_prefix: NAME, now: None, stale_after: self.stale_after };
        let outcome = self.instance.digest(batch, &frame, usize::MAX);
        if let Some(host) = self.instance.host() {
            host.state.commit();
        }
        let faults = outcome.faults.into_iter().map(|fault| fault.reason).collect();
        Answers { events: outcome.events, faults }
    }
}
