//! The terminals of the configuration, ready for use: profile loaded, time zone found.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use jiff::tz::TimeZone;
use tokio::sync::watch;

use crate::profile::Profile;

/// A terminal as the links need it.
#[derive(Clone, Debug, PartialEq)]
pub struct Terminal {
    /// Its name.
    pub name: String,
    /// What kind of machine it is.
    pub profile: Arc<Profile>,
    /// The zone of the times it prints.
    pub time_zone: TimeZone,
    /// Its logical unit number.
    pub luno: Option<String>,
    /// Whether the gateway sees its transaction requests.
    pub reports_requests: bool,
    /// The certificates it may show on a listener that it shares; any, where there are none.
    pub pins: Vec<crate::link::Pin>,
}

/// All configured terminals, by name and by logical unit number. Whoever holds one of them asks with [`Inventory::has`] whether it
/// is still what the configuration says.
#[derive(Debug, Default)]
pub struct Inventory {
    terminals: RwLock<Terminals>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Terminals {
    by_name: HashMap<String, Arc<Terminal>>,
    by_luno: HashMap<String, Arc<Terminal>>,
}

impl Inventory {
    /// An inventory of these.
    pub fn new(terminals: impl IntoIterator<Item = Terminal>) -> Inventory {
        let inventory = Inventory::default();
        inventory.replace(terminals);
        inventory
    }

    /// These are the terminals now. One that is as it was stays the same object; gives the names of those that are gone.
    pub fn replace(&self, terminals: impl IntoIterator<Item = Terminal>) -> Vec<String> {
        let mut current = self.terminals.write().unwrap_or_else(PoisonError::into_inner);
        let mut new = Terminals::default();
        for terminal in terminals {
            let terminal = match current.by_name.get(&terminal.name) {
                Some(known) if **known == terminal => Arc::clone(known),
                _ => Arc::new(terminal),
            };
            if let Some(luno) = &terminal.luno {
                new.by_luno.insert(luno.clone(), Arc::clone(&terminal));
            }
            new.by_name.insert(terminal.name.clone(), terminal);
        }
        let gone = current.by_name.keys().filter(|name| !new.by_name.contains_key(*name)).cloned().collect();
        *current = new;
        drop(current);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        gone
    }

    fn read(&self) -> RwLockReadGuard<'_, Terminals> {
        self.terminals.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The terminal with this name.
    pub fn named(&self, name: &str) -> Option<Arc<Terminal>> {
        self.read().by_name.get(name).cloned()
    }

    /// The terminal that calls itself so: by its name, or by its logical unit number.
    pub fn calling_itself(&self, name: &str) -> Option<Arc<Terminal>> {
        let terminals = self.read();
        terminals.by_name.get(name).or_else(|| terminals.by_luno.get(name)).cloned()
    }

    /// Whether this very terminal is still configured as it is.
    pub fn has(&self, terminal: &Arc<Terminal>) -> bool {
        self.read().by_name.get(&terminal.name).is_some_and(|known| Arc::ptr_eq(known, terminal))
    }

    /// Changes with the terminals.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
