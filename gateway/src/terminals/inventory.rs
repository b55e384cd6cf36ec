//! The terminals of the configuration, ready for use: profile loaded, time zone found.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::profile::Profile;

/// A terminal as the links need it.
#[derive(Clone, Debug)]
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

/// All configured terminals, by name and by logical unit number.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    by_name: HashMap<String, Arc<Terminal>>,
    by_luno: HashMap<String, Arc<Terminal>>,
}

impl Inventory {
    /// An inventory of these.
    pub fn new(terminals: impl IntoIterator<Item = Terminal>) -> Inventory {
        let mut inventory = Inventory::default();
        for terminal in terminals.into_iter().map(Arc::new) {
            if let Some(luno) = &terminal.luno {
                inventory.by_luno.insert(luno.clone(), Arc::clone(&terminal));
            }
            inventory.by_name.insert(terminal.name.clone(), terminal);
        }
        inventory
    }

    /// The terminal with this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Terminal>> {
        self.by_name.get(name)
    }

    /// The terminal that calls itself so: by its name, or by its logical unit number.
    pub fn calling_itself(&self, name: &str) -> Option<&Arc<Terminal>> {
        self.by_name.get(name).or_else(|| self.by_luno.get(name))
    }

    /// All terminals, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Terminal>> {
        self.by_name.values()
    }
}
