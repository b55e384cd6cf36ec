//! Another configuration while everything runs: checked whole before anything is touched, then only what changed is.
//!
//! | changed | what happens |
//! |---|---|
//! | terminals, listeners, profiles | links that are as they were keep their connections; the others are closed, new ones opened |
//! | `forward` | the connection to the broker is left in order, another is made |
//! | `commands`, `restart`, the broker of commands | that stage begins anew: what is out and unanswered is `unknown` |
//! | `rules` | every plugin ends behind its batch and goes on from its position |
//! | `auth`, `http` | new connections are served by them; requests that are under way are answered |
//! | `gateway.id`, `gateway.site`, `log`, `http.listen` | refused, with the key: they need a restart |

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::{Gateway, append, broker, switches};
use crate::auth::Auth;
use crate::config::{Config, ConfigError, Fault, Faults};
use crate::event::{Event, Kind};
use crate::{api, clock};

/// What cannot change while the gateway runs, and why.
const FIXED: [(&str, &str); 4] = [
    ("gateway.id", "event ids begin with it"),
    ("gateway.site", "subscribers know the gateway by it"),
    ("log", "the event store is open"),
    ("http.listen", "the port is open"),
];
/// Longest that a stage may take to end: a supervisor that waits for signs of life hears none meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most faults that an event lists, and most characters of one.
const FAULTS: usize = 20;
const FAULT_CHARS: usize = 300;

/// What a changed configuration needs, ready for use.
struct Prepared {
    auth: Option<Auth>,
    tls: Option<api::Tls>,
}

/// The sections that are not as they were.
#[derive(Clone, Copy, Debug)]
struct Changes {
    clock: bool,
    auth: bool,
    http: bool,
    forward: bool,
    rules: bool,
    commands: bool,
    terminals: bool,
    rest: bool,
}

impl Changes {
    fn between(old: &Config, new: &Config) -> Changes {
        let broker_of_commands = |config: &Config| broker(config).filter(|_| config.commands.mqtt || relays(config));
        let devices = |config: &Config| config.gateway.devices.clone();
        Changes {
            clock: old.clock != new.clock,
            auth: differ(&old.auth, &new.auth),
            http: differ(&old.http, &new.http),
            forward: old.forward != new.forward,
            rules: old.rules != new.rules,
            commands: old.commands != new.commands
                || switches(old) != switches(new)
                || broker_of_commands(old) != broker_of_commands(new),
            terminals: differ(&old.terminal, &new.terminal)
                || old.listener != new.listener
                || devices(old) != devices(new),
            rest: old.gateway.drain_s != new.gateway.drain_s,
        }
    }

    fn names(self) -> Vec<&'static str> {
        let Changes { clock, auth, http, forward, rules, commands, terminals, rest } = self;
        let all = [
            (clock, "clock"),
            (auth, "auth"),
            (http, "http"),
            (forward, "forward"),
            (rules, "rules"),
            (commands, "commands"),
            (terminals, "terminals"),
            (rest, "gateway"),
        ];
        all.into_iter().filter_map(|(changed, name)| changed.then_some(name)).collect()
    }
}

impl Gateway {
    /// Takes another configuration, or keeps the one that is in force and says everything that is against the other.
    pub(super) async fn reload(&mut self, file: PathBuf) {
        // It names other files, and whoever reads waits for a disk.
        let read = tokio::task::spawn_blocking(move || Config::load(&file)).await;
        let faults =
            match read.unwrap_or_else(|error| Err(ConfigError::Faults(Faults(vec![fault("", error.to_string())])))) {
                Ok(new) => {
                    let changes = Changes::between(&self.config, &new);
                    let fixed = fixed(&self.config, &new);
                    match if fixed.is_empty() { prepare(&new, changes) } else { Err(fixed) } {
                        Ok(prepared) => return self.apply(new, changes, prepared).await,
                        Err(faults) => faults,
                    }
                }
                Err(ConfigError::Faults(faults)) => faults.0,
                Err(error @ ConfigError::Read { .. }) => vec![fault("", error.to_string())],
            };
        self.refuse(faults).await;
    }

    async fn refuse(&self, faults: Vec<Fault>) {
        for Fault { path, reason } in &faults {
            tracing::error!(path, reason, "The changed configuration cannot be used.");
        }
        self.metrics.config_reloads.with_label_values(&["refused"]).inc();
        self.metrics.config_fault.set(1);
        let said = |Fault { path, reason }: &Fault| {
            let text = if path.is_empty() { reason.clone() } else { format!("{path}: {reason}") };
            text.chars().take(FAULT_CHARS).collect::<String>()
        };
        let listed: Vec<String> = faults.iter().take(FAULTS).map(said).collect();
        let first = listed.first().cloned().unwrap_or_default();
        let more = match faults.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let event = Event::new(Kind::GatewayConfigRefused)
            .detail(format!("the changed configuration is refused, the one before stays in force: {first}{more}"))
            .attribute("faults", listed);
        append(&self.log, event).await;
    }

    /// Everything has been checked: from here on nothing is refused.
    async fn apply(&mut self, new: Config, changes: Changes, prepared: Prepared) {
        let patience = (Duration::from_secs(new.gateway.drain_s) / 4).min(PATIENCE);
        let base = &self.base;
        if changes.clock {
            clock::configure(&new.clock, None);
        }
        if let Some(auth) = prepared.auth {
            self.auth = auth;
        }

        let gone = base.inventory.replace(new.terminals());
        base.directory.replace(&new.terminal);
        base.lines.declare(&new.links(), &new.listeners());
        for name in &gone {
            for gauges in
                [&self.metrics.terminal_in_service, &self.metrics.terminal_faults, &self.metrics.terminal_last_seen]
            {
                // One that never said anything has none to lose.
                let _ = gauges.remove_label_values(&[name]);
            }
        }
        let links = self.links.change(base.plan(&new), patience).await;

        let commands = match self.commands.take() {
            Some(running) if !changes.commands && !changes.auth => running,
            running => {
                if let Some(running) = running
                    && timeout(patience, running.stop()).await.is_err()
                {
                    tracing::warn!("The commands did not end in time.");
                }
                base.commands(&new, &self.auth)
            }
        };
        if changes.rules {
            let rules = self.rules.take();
            // A plugin runs once: the new ones wait for the end of those before.
            if tokio::task::spawn_blocking(move || rules.map(crate::rules::Rules::stop)).await.is_err() {
                tracing::error!("The rule engine ended in a panic.");
            }
            match base.rules(&new) {
                Ok(rules) => self.rules = Some(rules),
                Err(error) => tracing::error!(%error, "The rules cannot start; the gateway needs a restart."),
            }
        }
        if changes.forward {
            if let Some(forwarder) = self.forwarder.take() {
                forwarder.stop(patience).await;
            }
            self.log.keep_for_broker(new.forward.is_some());
            self.forwarder = base.forwarder(&new);
        }
        if changes.http || changes.auth || changes.commands {
            // Both listen for a moment, so that nobody is turned away; whoever is served by the one before is served on.
            let api = base.api(&new, &self.auth, prepared.tls, &commands);
            std::mem::replace(&mut self.api, api).stop.cancel();
        }
        self.commands = Some(commands);
        self.config = new;
        self.tell(changes, links).await;
    }

    async fn tell(&self, changes: Changes, links: crate::link::Changed) {
        let changed = changes.names();
        let touched = links.opened + links.closed > 0;
        let outcome = if changed.is_empty() && !touched { "unchanged" } else { "applied" };
        self.metrics.config_reloads.with_label_values(&[outcome]).inc();
        self.metrics.config_fault.set(0);
        self.metrics.config_applied.set(Timestamp::now().as_second());
        tracing::info!(?changed, ?links, "The configuration was read again.");
        let words = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        let event = Event::new(Kind::GatewayConfigReloaded)
            .detail(format!("the configuration was read again; changed: {words}"))
            .attribute("changed", changed)
            .attribute("links_opened", links.opened)
            .attribute("links_closed", links.closed)
            .attribute("links_kept", links.kept);
        append(&self.log, event).await;
    }
}

/// Opens what the changed sections name: a fault leaves everything as it is.
fn prepare(new: &Config, changes: Changes) -> Result<Prepared, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut note = |path: &str, reason: String| faults.push(fault(path, reason));
    let auth = changes.auth.then(|| Auth::open(new.auth.clone()));
    let auth = auth.and_then(|opened| opened.map_err(|reason| note("auth.tokens", reason.to_string())).ok());
    let serves = changes.http || changes.auth || changes.commands;
    let tls = new.http.tls.clone().filter(|_| serves).map(api::Tls::open);
    let tls = tls.and_then(|opened| opened.map_err(|reason| note("http.tls", reason)).ok());
    if faults.is_empty() { Ok(Prepared { auth, tls }) } else { Err(faults) }
}

/// What of it needs a restart, key by key.
fn fixed(old: &Config, new: &Config) -> Vec<Fault> {
    let (old, new) = (serde_json::to_value(old), serde_json::to_value(new));
    let (Ok(old), Ok(new)) = (old, new) else { return Vec::new() };
    let at = |config: &Value, key: &str| config.pointer(&format!("/{}", key.replace('.', "/"))).cloned();
    let mut faults = Vec::new();
    for (key, why) in FIXED {
        let (before, after) = (at(&old, key), at(&new, key));
        let keys = match (&before, &after) {
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
                changed.map(|(name, _)| format!("{key}.{name}")).collect()
            }
            _ if before == after => Vec::new(),
            _ => vec![key.to_owned()],
        };
        let reason = format!("cannot change while the gateway runs ({why}): restart it");
        faults.extend(keys.into_iter().map(|key| fault(&key, reason.clone())));
    }
    faults
}

fn fault(path: &str, reason: String) -> Fault {
    Fault { path: path.to_owned(), reason }
}

/// Whether something is switched by way of the broker.
fn relays(config: &Config) -> bool {
    switches(config).values().any(|switch| switch.mqtt_topic.is_some())
}

fn differ(old: &impl Serialize, new: &impl Serialize) -> bool {
    match (serde_json::to_value(old), serde_json::to_value(new)) {
        (Ok(old), Ok(new)) => old != new,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text).unwrap_or_else(|faults| panic!("{faults}"))
    }

    #[test]
    fn what_needs_a_restart_is_named_key_by_key() {
        let old = config("gateway.id = 'a'\nlog.dir = '/a'\nhttp.listen = '127.0.0.1:1'");
        for (text, keys) in [
            ("gateway.id = 'a'\nlog.dir = '/a'\nhttp.listen = '127.0.0.1:1'\nforward.host = 'x'", vec![]),
            ("gateway.id = 'b'\nlog.dir = '/a'\nhttp.listen = '127.0.0.1:1'", vec!["gateway.id"]),
            (
                "gateway.id = 'a'\ngateway.site = 's'\nlog.dir = '/b'\nlog.tail_events = 1\nhttp.listen = '127.0.0.1:2'",
                vec!["gateway.site", "log.dir", "log.tail_events", "http.listen"],
            ),
        ] {
            let found: Vec<String> = fixed(&old, &config(text)).into_iter().map(|fault| fault.path).collect();
            assert_eq!(found, keys, "{text}");
        }
    }

    #[test]
    fn only_what_changed_is_touched() {
        let link = "[[terminal]]\nname = 'atm'\nprofile = 'json-lines'\nlink = [{ name = 'l', protocol = 'jsonl', listen = '127.0.0.1:1' }]";
        let old = config(link);
        for (text, expected) in [
            (link.to_owned(), vec![]),
            (format!("forward.host = 'broker'\n{link}"), vec!["forward"]),
            (format!("rules.bundled = []\ngateway.drain_s = 5\n{link}"), vec!["rules", "gateway"]),
            (format!("clock.marks = ['/run/set']\nhttp.max_headers = 9\n{link}"), vec!["clock", "http"]),
            (link.replace("127.0.0.1:1", "127.0.0.1:2"), vec!["terminals"]),
            ("commands.ttl_s = 9".to_owned(), vec!["commands", "terminals"]),
            (format!("auth.loopback = 'open'\n{link}"), vec!["auth"]),
        ] {
            assert_eq!(Changes::between(&old, &config(&text)).names(), expected, "{text}");
        }
        // The broker concerns commands where they come from there.
        let (old, new) =
            ("forward.host = 'a'\ncommands.mqtt = true\ncommands.mqtt_trust = 'broker'", "forward.host = 'b'");
        let new = old.replace("forward.host = 'a'", new);
        assert_eq!(Changes::between(&config(old), &config(&new)).names(), ["forward", "commands"]);
    }
}
