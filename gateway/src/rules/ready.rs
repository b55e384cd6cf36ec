//! Rules that can be put in force: whatever can fail has been done, and nothing of the rules before is touched yet.

use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::engine::{Engine, EngineError};
use super::folder::{Change, Folder};
use super::keeper::Start;
use super::worker::Context;
use super::{Config, Rules, TerminalFlags, load};
use crate::log::Log;
use crate::metrics::Metrics;

/// An engine, and a thread that waits for the word to begin; dropped, both end.
pub struct Ready {
    config: Config,
    engine: Arc<Engine>,
    word: mpsc::Sender<Start>,
    thread: JoinHandle<()>,
}

impl Ready {
    /// Makes the engine, and starts the thread.
    ///
    /// # Errors
    /// Where one of them cannot be had.
    pub fn new(config: Config) -> Result<Ready, EngineError> {
        let engine = Arc::new(Engine::new(config.deadline(), config.memory_bytes)?);
        let (word, given) = mpsc::channel::<Start>();
        let wait = move || {
            if let Ok(start) = given.recv() {
                start.run();
            }
        };
        let thread = thread::Builder::new().name("rule-keeper".to_owned()).spawn(wait)?;
        Ok(Ready { config, engine, word, thread })
    }

    /// Loads every plugin of the folder as a start would, and gives a sentence for each that cannot be. Takes the time of
    /// compiling them.
    pub fn unloadable(&self) -> Vec<String> {
        let Some(dir) = &self.config.dir else { return Vec::new() };
        let changes = match Folder::new(dir.clone()).scan(Instant::now(), true) {
            Ok(changes) => changes,
            Err(error) => return vec![format!("{} cannot be read: {error}", dir.display())],
        };
        let fault = |change| match change {
            Change::Present { id, bytes } => {
                load::load(&self.engine, &bytes).err().map(|error| format!("{id}.wasm: {error}"))
            }
            Change::Bad { id, reason } => Some(format!("{id}.wasm: {reason}")),
            Change::Absent { .. } => None,
        };
        changes.into_iter().filter_map(fault).collect()
    }

    /// Puts them in force. They are loaded on their thread; those that are new here answer the events that are committed
    /// from this call on.
    pub fn start(self, log: Log, terminals: TerminalFlags, metrics: Arc<Metrics>) -> Rules {
        let Ready { config, engine, word, thread } = self;
        let (start, messages) = Start::new(Context { config: Arc::new(config), engine, log, terminals, metrics });
        if word.send(start).is_err() {
            tracing::error!("The rules' keeper has ended before it began.");
        }
        Rules::new(messages, thread)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FIXTURE: &[u8] = include_bytes!("../../tests/fixtures/fixture-plugin.wasm");

    #[test]
    fn what_cannot_be_loaded_is_said_of_each_file() {
        let dir = tempfile::tempdir().expect("temp dir");
        let config = Config { dir: Some(dir.path().to_owned()), ..Config::default() };
        fs::write(dir.path().join("good.wasm"), FIXTURE).expect("writes");
        let unloadable = |config: &Config| Ready::new(config.clone()).expect("an engine").unloadable();
        assert_eq!(unloadable(&config), [""; 0]);
        fs::write(dir.path().join("cut.wasm"), &FIXTURE[..FIXTURE.len() / 2]).expect("writes");
        fs::write(dir.path().join("Bad Name.wasm"), FIXTURE).expect("writes");
        fs::write(dir.path().join("text.wasm"), "hello").expect("writes");
        let said = unloadable(&config).join("\n");
        for part in ["Bad Name.wasm: its name may", "cut.wasm: it is cut off", "text.wasm: it is not WebAssembly"] {
            assert!(said.contains(part), "{part} not in {said}");
        }
        assert!(!said.contains("good"), "{said}");
        let gone = Config { dir: Some(dir.path().join("gone")), ..Config::default() };
        assert!(unloadable(&gone)[0].contains("cannot be read"));
    }
}
