//! What a plugin has stored: what is committed, what waits for the commit, and what the running call has written.

use std::collections::BTreeMap;

/// Most bytes of a key.
const KEY_BYTES: usize = 256;
/// Most bytes of a value.
const VALUE_BYTES: usize = 64 << 10;
/// Most bytes of all keys and values.
const TOTAL_BYTES: usize = 1 << 20;

type Writes = BTreeMap<String, Option<Vec<u8>>>;

/// The keys and values of one plugin.
#[derive(Debug, Default)]
pub(super) struct State {
    committed: BTreeMap<String, Vec<u8>>,
    waiting: Writes,
    call: Writes,
    /// Sizes: as the call sees it, without the call, and committed.
    size: usize,
    size_waiting: usize,
    size_committed: usize,
}

impl State {
    pub(super) fn new(committed: BTreeMap<String, Vec<u8>>) -> State {
        let size = committed.iter().map(|(key, value)| key.len() + value.len()).sum();
        State { committed, size, size_waiting: size, size_committed: size, ..State::default() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Vec<u8>> {
        match self.call.get(key).or_else(|| self.waiting.get(key)) {
            Some(written) => written.as_ref(),
            None => self.committed.get(key),
        }
    }

    /// # Errors
    /// With a sentence, where it would be too large.
    pub(super) fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), String> {
        if key.len() > KEY_BYTES || value.len() > VALUE_BYTES {
            return Err(format!(
                "it stored a key of {} bytes with a value of {}; {KEY_BYTES} and {VALUE_BYTES} are allowed",
                key.len(),
                value.len()
            ));
        }
        let before = self.get(&key).map_or(0, |old| key.len() + old.len());
        let size = self.size - before + key.len() + value.len();
        if size > TOTAL_BYTES {
            return Err(format!("it stored more than {TOTAL_BYTES} bytes"));
        }
        self.size = size;
        self.call.insert(key, Some(value));
        Ok(())
    }

    pub(super) fn remove(&mut self, key: String) {
        if let Some(old) = self.get(&key) {
            self.size -= key.len() + old.len();
            self.call.insert(key, None);
        }
    }

    /// The call went well: what it wrote waits for the commit.
    pub(super) fn keep_call(&mut self) {
        self.waiting.append(&mut self.call);
        self.size_waiting = self.size;
    }

    /// The call failed: it wrote nothing.
    pub(super) fn drop_call(&mut self) {
        self.call.clear();
        self.size = self.size_waiting;
    }

    /// What waits for the commit.
    pub(super) fn waiting(&self) -> Vec<(String, Option<Vec<u8>>)> {
        self.waiting.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// It is committed.
    pub(super) fn commit(&mut self) {
        for (key, value) in std::mem::take(&mut self.waiting) {
            match value {
                Some(value) => drop(self.committed.insert(key, value)),
                None => drop(self.committed.remove(&key)),
            }
        }
        self.size_committed = self.size_waiting;
    }

    /// The commit was refused.
    pub(super) fn undo(&mut self) {
        self.waiting.clear();
        self.call.clear();
        (self.size, self.size_waiting) = (self.size_committed, self.size_committed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_seen_at_once_and_kept_or_dropped_together() {
        let mut state = State::new(BTreeMap::from([("a".to_owned(), vec![1])]));
        state.set("b".to_owned(), vec![2]).expect("small");
        state.remove("a".to_owned());
        assert_eq!((state.get("a"), state.get("b")), (None, Some(&vec![2])));
        state.drop_call();
        assert_eq!((state.get("a"), state.get("b"), state.size), (Some(&vec![1]), None, 2));
        state.remove("a".to_owned());
        state.keep_call();
        assert_eq!(state.waiting(), [("a".to_owned(), None)]);
        state.undo();
        assert_eq!((state.get("a"), state.size), (Some(&vec![1]), 2));
        state.remove("a".to_owned());
        state.keep_call();
        state.commit();
        assert_eq!((state.get("a"), state.size), (None, 0));
        assert!(state.set("k".repeat(300), Vec::new()).is_err());
    }
}
