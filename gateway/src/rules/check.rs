//! Whether every plugin that a configuration names can be loaded, without a gateway.

use std::time::Instant;

use super::engine::Engine;
use super::folder::{Change, Folder};
use super::{Config, load};

impl Config {
    /// Loads every plugin of the folder as a start would, and gives a sentence for each that cannot be. Takes the time of
    /// compiling them.
    pub fn unloadable(&self) -> Vec<String> {
        let Some(dir) = &self.dir else { return Vec::new() };
        let engine = match Engine::new(self.deadline(), self.memory_bytes) {
            Ok(engine) => engine,
            Err(error) => return vec![error.to_string()],
        };
        let changes = match Folder::new(dir.clone()).scan(Instant::now(), true) {
            Ok(changes) => changes,
            Err(error) => return vec![format!("{} cannot be read: {error}", dir.display())],
        };
        let fault = |change| match change {
            Change::Present { id, bytes } => {
                load::load(&engine, &bytes).err().map(|error| format!("{id}.wasm: {error}"))
            }
            Change::Bad { id, reason } => Some(format!("{id}.wasm: {reason}")),
            Change::Absent { .. } => None,
        };
        changes.into_iter().filter_map(fault).collect()
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
        assert_eq!(config.unloadable(), [""; 0]);
        fs::write(dir.path().join("cut.wasm"), &FIXTURE[..FIXTURE.len() / 2]).expect("writes");
        fs::write(dir.path().join("Bad Name.wasm"), FIXTURE).expect("writes");
        fs::write(dir.path().join("text.wasm"), "hello").expect("writes");
        let said = config.unloadable().join("\n");
        for part in ["Bad Name.wasm: its name may", "cut.wasm: it is cut off", "text.wasm: it is not WebAssembly"] {
            assert!(said.contains(part), "{part} not in {said}");
        }
        assert!(!said.contains("good"), "{said}");
        let gone = Config { dir: Some(dir.path().join("gone")), ..Config::default() };
        assert!(gone.unloadable()[0].contains("cannot be read"));
    }
}
