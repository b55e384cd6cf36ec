//! Rules: sandboxed wasm plugins that answer committed events.
//!
//! Each plugin runs on a thread of its own ([`worker`]) that follows the log from the plugin's durable position. What it
//! answers ([`effects`]), what it stores ([`state`]) and its new position are one submission to the log, so that each
//! effect happens once. A call has a deadline and a memory cap ([`instance`]); one that fails loses what it did, the event
//! that made it fail is found by halving the batch, skipped, and reported as `gateway.plugin_fault`. A plugin that fails again
//! and again is put aside for a growing pause ([`strikes`]).
//!
//! Plugins come with the gateway ([`bundled`]) or from a folder ([`folder`]); [`keeper`] puts them in force, replaces and
//! removes them while everything runs. A file that cannot be loaded ([`load`]) leaves the plugin before it in force.

mod bundled;
mod contract;
mod effects;
mod engine;
mod folder;
mod host;
mod instance;
mod keeper;
mod load;
mod plugin;
mod ready;
mod state;
mod strikes;
mod subscription;
mod ticker;
mod trial;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use engine::EngineError;
pub use keeper::Rules;
pub use load::LoadError;
pub use ready::Ready;
pub use trial::{Answers, Trial, TrialError};

/// Says whether the profile of a terminal says something of it: (terminal, flag), such as `reports_requests`.
pub type TerminalFlags = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Settings of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The plugin folder: every `.wasm` in it is in force, under its file's name. None: bundled rules alone.
    pub dir: Option<PathBuf>,
    /// Which of the rules that come with the gateway are in force. A file of the same name in the folder replaces one.
    pub bundled: Vec<String>,
    /// Milliseconds that a plugin has to answer one event; a batch has 0.1 ms an event more, 50 ms at most.
    pub deadline_ms: u64,
    /// Most memory of a plugin, in bytes.
    pub memory_bytes: usize,
    /// Seconds after which an event is too old to command anything: the command is recorded as refused.
    pub stale_after_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            dir: None,
            bundled: bundled::names().map(str::to_owned).collect(),
            deadline_ms: 5,
            memory_bytes: 16 << 20,
            stale_after_s: 60,
        }
    }
}

impl Config {
    /// Everything that is wrong with the settings: key and sentence.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        for name in self.bundled.iter().filter(|name| bundled::find(name).is_none()) {
            let known: Vec<_> = bundled::names().collect();
            faults
                .push(("bundled", format!("no rule `{name}` comes with the gateway; there are {}", known.join(", "))));
        }
        if !(1..=1000).contains(&self.deadline_ms) {
            faults.push(("deadline_ms", format!("{} is not between 1 and 1000", self.deadline_ms)));
        }
        if !((1 << 20)..=(256 << 20)).contains(&self.memory_bytes) {
            faults.push(("memory_bytes", format!("{} is not between 1 MiB and 256 MiB", self.memory_bytes)));
        }
        faults
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod scenario_tests;
#[cfg(test)]
mod tests;
