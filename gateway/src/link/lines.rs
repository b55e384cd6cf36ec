//! The conversations that commands can go out on: which there may be, and which are open now.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::Profiled;
use super::config::ListenerConfig;
use crate::clock;
use crate::command::{Ask, Code, Hand, Order, Refusal, Way, Ways};
use crate::profile::Profile;
use crate::protocol::Protocol;
use crate::protocol::command::Addressee;
use crate::terminals::{Inventory, Terminal};

/// A link that the configuration has.
#[derive(Clone, Copy, Debug)]
struct Declared {
    protocol: Protocol,
    /// Whether commands may go out on it.
    takes: bool,
    /// Whether we know how: a protocol header in front of each message is another's.
    able: bool,
}

impl Declared {
    fn new(protocol: Protocol, takes: bool, profile: &Profile) -> Declared {
        Declared { protocol, takes, able: profile.ndc.header == 0 }
    }

    fn can(self, ask: Ask) -> bool {
        self.able && self.protocol.can(ask)
    }
}

/// All links of the configuration.
#[derive(Debug, Default)]
struct AllDeclared {
    own: HashMap<String, Vec<Declared>>,
    shared: Vec<Declared>,
}

/// A conversation that is open.
#[derive(Debug)]
struct Open {
    key: u64,
    protocol: Protocol,
    place: mpsc::Sender<Order>,
    busy: Arc<AtomicBool>,
}

/// All of them. Each conversation takes one command at a time.
#[derive(Debug)]
pub struct Lines {
    inventory: Arc<Inventory>,
    declared: RwLock<AllDeclared>,
    open: Mutex<HashMap<String, Vec<Open>>>,
    keys: AtomicU64,
    changes: watch::Sender<u64>,
}

/// A conversation's end of it; taken off the list when dropped.
#[derive(Debug)]
pub(super) struct Line {
    lines: Arc<Lines>,
    terminal: String,
    key: u64,
    busy: Arc<AtomicBool>,
    pub(super) orders: mpsc::Receiver<Order>,
}

impl Lines {
    /// The links of these terminals, and the listeners that they share.
    pub fn new(
        inventory: Arc<Inventory>,
        own: &[(String, Profiled)],
        shared: &[(ListenerConfig, Arc<Profile>)],
    ) -> Lines {
        let lines = Lines {
            inventory,
            declared: RwLock::default(),
            open: Mutex::default(),
            keys: AtomicU64::default(),
            changes: watch::Sender::new(0),
        };
        lines.declare(own, shared);
        lines
    }

    /// These are the links now.
    pub fn declare(&self, own: &[(String, Profiled)], shared: &[(ListenerConfig, Arc<Profile>)]) {
        let own = own.iter().map(|(terminal, links)| {
            let links =
                links.iter().map(|(link, profile)| Declared::new(link.protocol, link.takes_commands(), profile));
            (terminal.clone(), links.collect())
        });
        let shared = shared.iter().map(|(link, profile)| Declared::new(link.protocol, link.commands, profile));
        let declared = AllDeclared { own: own.collect(), shared: shared.collect() };
        *self.declared.write().unwrap_or_else(PoisonError::into_inner) = declared;
        self.changed();
    }

    /// A conversation with this terminal begins.
    pub(super) fn connect(self: &Arc<Self>, terminal: &str, protocol: Protocol) -> Line {
        let (place, orders) = mpsc::channel(1);
        let key = self.keys.fetch_add(1, Ordering::Relaxed);
        let busy = Arc::<AtomicBool>::default();
        let open = Open { key, protocol, place, busy: Arc::clone(&busy) };
        self.lock().entry(terminal.to_owned()).or_default().push(open);
        self.changed();
        Line { lines: Arc::clone(self), terminal: terminal.to_owned(), key, busy, orders }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Open>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The protocol by which this can be said to this terminal, or why it cannot.
    fn protocol(&self, terminal: &Terminal, ask: Ask) -> Result<Protocol, Refusal> {
        let declared = self.declared.read().unwrap_or_else(PoisonError::into_inner);
        let own = declared.own.get(&terminal.name).into_iter().flatten();
        let shared = declared.shared.iter().filter(|link| link.protocol == terminal.profile.protocol);
        let able: Vec<_> = own.chain(shared).filter(|link| link.can(ask)).collect();
        if able.is_empty() {
            return Err(Refusal::new(Code::Unsupported, "no link of this terminal has a message for it"));
        }
        let link = able.into_iter().find(|link| link.takes);
        link.map(|link| link.protocol).ok_or_else(|| {
            Refusal::new(Code::LinkReadOnly, "the link is only listened to: it has no `commands = true`")
        })
    }

    fn message(&self, terminal: &Terminal, ask: Ask, number: u32) -> Result<Vec<u8>, Refusal> {
        let protocol = self.protocol(terminal, ask)?;
        if ask == Ask::SetTime && clock::now().1 == Some(false) {
            return Err(Refusal::new(Code::ClockNotSynced, "the gateway's own clock has not been set yet"));
        }
        let now = Timestamp::now().to_zoned(terminal.time_zone.clone()).datetime();
        let to = Addressee { luno: terminal.luno.as_deref().unwrap_or_default(), number, now };
        let none = || Refusal::new(Code::Unsupported, "the terminal's LUNO cannot stand in a message");
        protocol.command(ask, &to).ok_or_else(none)
    }
}

impl Ways for Lines {
    fn knows(&self, terminal: &str) -> bool {
        self.inventory.named(terminal).is_some()
    }

    fn way(&self, terminal: &str, ask: Ask, number: u32) -> Way {
        let Some(terminal) = self.inventory.named(terminal) else {
            return Way::Never(Refusal::new(Code::UnknownTerminal, "the terminal is not configured"));
        };
        let message = match self.message(&terminal, ask, number) {
            Ok(message) => message,
            Err(refusal) => return Way::Never(refusal),
        };
        let open = self.lock();
        let free = open.get(&terminal.name).into_iter().flatten().filter(|line| line.protocol.can(ask));
        let place = free
            .filter(|line| !line.busy.load(Ordering::Acquire))
            .find_map(|line| line.place.clone().try_reserve_owned().ok());
        match place {
            Some(place) => Way::Now(Hand { place, ask, message }),
            None => Way::Later,
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Line {
    /// Whether it is of this terminal.
    pub(super) fn is_of(&self, terminal: &str) -> bool {
        self.terminal == terminal
    }

    /// A command is out on it, or is no more.
    pub(super) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Release);
        if !busy {
            self.lines.changed();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut open = self.lines.lock();
        if let Some(lines) = open.get_mut(&self.terminal) {
            lines.retain(|line| line.key != self.key);
        }
        drop(open);
        self.lines.changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn lines(link: &str) -> Arc<Lines> {
        let text = format!(
            "[[terminal]]\nname = \"atm\"\nprofile = \"ncr-selfserv-ndc\"\nluno = \"001\"\n\
             link = [{{ name = \"ndc\", protocol = \"ndc\", listen = \"127.0.0.1:0\", {link} }}]\n"
        );
        let config = Config::parse(&text).expect("a configuration");
        let inventory = Arc::new(Inventory::new(config.terminals()));
        Arc::new(Lines::new(inventory, &config.links(), &config.listeners()))
    }

    fn word(way: &Way) -> &'static str {
        match way {
            Way::Never(refusal) => refusal.code.name(),
            Way::Later => "later",
            Way::Now(_) => "now",
        }
    }

    #[test]
    fn only_a_link_that_says_so_takes_commands() {
        for (link, ask, expected) in [
            ("listen_only = false", Ask::InService, "link_read_only"),
            ("listen_only = true", Ask::InService, "link_read_only"),
            ("commands = true", Ask::InService, "later"),
            ("commands = true", Ask::Restart, "unsupported"),
            ("commands = true", Ask::Reset, "unsupported"),
        ] {
            assert_eq!(word(&lines(link).way("atm", ask, 1)), expected, "{link} {ask:?}");
        }
        assert_eq!(word(&lines("commands = true").way("nobody", Ask::InService, 1)), "unknown_terminal");
    }

    #[test]
    fn a_conversation_takes_one_command_at_a_time() {
        let lines = lines("commands = true");
        let mut changes = lines.changes();
        let mut line = lines.connect("atm", Protocol::Ndc);
        assert!(changes.has_changed().expect("is there"));
        changes.mark_unchanged();
        let Way::Now(hand) = lines.way("atm", Ask::OutOfService, 0) else { panic!("no way") };
        assert_eq!(hand.message, b"1\x1c001\x1c001\x1c2");
        assert_eq!(word(&lines.way("atm", Ask::InService, 1)), "later", "the place is taken");
        let mut answer = hand.over();
        let order = line.orders.try_recv().expect("an order");
        line.set_busy(true);
        assert_eq!(word(&lines.way("atm", Ask::InService, 1)), "later", "it is out");
        drop(order);
        assert!(answer.try_recv().is_err(), "lost");
        line.set_busy(false);
        assert!(changes.has_changed().expect("is there"));
        assert_eq!(word(&lines.way("atm", Ask::InService, 1)), "now");
        drop(line);
        assert_eq!(word(&lines.way("atm", Ask::InService, 1)), "later");
    }
}
