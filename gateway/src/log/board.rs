//! What holds now, in memory for whoever asks: terminals' folded states and the register. Changed after commits alone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use super::register::{Register, RegisterRow};
use crate::clock;

/// What the log knows of a terminal.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Its folded state as JSON; `{}` where nothing was folded yet.
    pub state: Arc<str>,
    /// Its events so far.
    pub terminal_seq: u64,
    /// The log's last place when the state became what it is; at start, when it was read.
    pub as_of: u64,
    /// When its last event was kept, as far as that was since the start of this process: time since the machine's boot.
    pub heard: Option<Duration>,
}

impl Standing {
    /// When its last event was kept, by the clock as it is now, to the millisecond.
    pub fn last_event_at(&self) -> Option<Timestamp> {
        let ago = clock::since_boot().saturating_sub(self.heard?);
        let at = clock::now().0.checked_sub(ago).ok()?;
        Timestamp::from_millisecond(at.as_millisecond()).ok()
    }
}

/// The board that the writer writes and everybody reads. Each half has its lock, so that who asks one may ask the other.
#[derive(Debug, Default)]
pub(super) struct Board {
    terminals: RwLock<BTreeMap<String, Standing>>,
    register: RwLock<Register>,
}

impl Board {
    pub(super) fn new(terminals: BTreeMap<String, Standing>, register: Register) -> Board {
        Board { terminals: RwLock::new(terminals), register: RwLock::new(register) }
    }

    /// Asks something of the terminals; keep it short.
    pub(super) fn terminals<T>(&self, ask: impl FnOnce(&BTreeMap<String, Standing>) -> T) -> T {
        ask(&self.terminals.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks something of the register; keep it short.
    pub(super) fn register<T>(&self, ask: impl FnOnce(&Register) -> T) -> T {
        ask(&self.register.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what one transaction changed. One lock at a time.
    pub(super) fn apply<'a>(
        &self,
        events: impl Iterator<Item = (&'a str, u64, Option<i64>)>,
        states: Vec<(String, String)>,
        register: Vec<RegisterRow>,
        head: u64,
    ) {
        if !register.is_empty() {
            self.register.write().unwrap_or_else(PoisonError::into_inner).apply(register);
        }
        let mut terminals = self.terminals.write().unwrap_or_else(PoisonError::into_inner);
        for (terminal, terminal_seq, boot_ms) in events {
            if !terminals.contains_key(terminal) {
                let standing = Standing { state: Arc::from("{}"), as_of: head, ..Standing::default() };
                terminals.insert(terminal.to_owned(), standing);
            }
            if let Some(standing) = terminals.get_mut(terminal) {
                standing.terminal_seq = terminal_seq;
                let heard = boot_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
                standing.heard = heard.or(standing.heard);
            }
        }
        for (terminal, state) in states {
            let standing = terminals.entry(terminal).or_default();
            standing.state = Arc::from(state);
            standing.as_of = head;
        }
    }
}
