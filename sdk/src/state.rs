//! What a rule remembers: keys and values that the gateway keeps, per rule.
//!
//! What is stored here is committed in one transaction with the actions of the same call and the rule's place in the
//! log, so a restart neither forgets nor repeats anything. Put the terminal's name into the key of what belongs to it.

use crate::host;

/// The value under this key.
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::state_get(key)
}

/// The value under this key as text; nothing where it is none.
pub fn text(key: &str) -> Option<String> {
    String::from_utf8(host::state_get(key)?).ok()
}

/// Whether there is a value under this key.
pub fn has(key: &str) -> bool {
    host::state_get(key).is_some()
}

/// Stores a value.
pub fn set(key: &str, value: impl AsRef<[u8]>) {
    host::state_set(key, value.as_ref());
}

/// Forgets a value.
pub fn remove(key: &str) {
    host::state_remove(key);
}
