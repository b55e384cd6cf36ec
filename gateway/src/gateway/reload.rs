//! Another configuration while everything runs: read, checked and opened before anything is touched; then only
//! what changed is.
//!
//! | changed | what happens |
//! |---|---|
//! | terminals, listeners, profiles | links that are as they were keep their connections; the others are closed, new ones opened |
//! | `forward` | the connection to the broker is left in order, another is made |
//! | `commands`, `restart`, the broker of commands | that stage begins anew: what is out and unanswered is `unknown` |
//! | `rules` | every plugin ends behind its batch and goes on from its position |
//! | `auth`, `http` | new connections are served by them; requests that are under way are answered |
//! | `gateway.id`, `gateway.site`, `log`, `http.listen` | refused, with the key: they need a restart |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::changes::Changes;
use super::prepare::{Ready, fault, prepare};
use super::{Gateway, append};
use crate::clock;
use crate::config::{Config, ConfigError, Fault};
use crate::event::{Event, Kind};
use crate::rules::Rules;

/// What cannot change while the gateway runs, and why.
const FIXED: [(&str, &str); 4] = [
    ("gateway.id", "event ids begin with it"),
    ("gateway.site", "subscribers know the gateway by it"),
    ("log", "the event store is open"),
    ("http.listen", "the port is open"),
];
/// Longest that a stage may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most faults that an event lists, and most characters of one.
const FAULTS: usize = 20;
const FAULT_CHARS: usize = 300;

/// How long a change waits for a stage to end.
#[derive(Clone, Copy)]
struct Patience<'a> {
    each: Duration,
    /// The gateway is to stop: nothing is worth waiting for any more.
    hurry: &'a CancellationToken,
}

impl Patience<'_> {
    /// What a stage ends with; none where it took too long.
    async fn wait<T>(self, stage: &str, ending: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            ended = ending => Some(ended),
            () = self.over() => {
                tracing::warn!("{stage} did not end in time.");
                None
            }
        }
    }

    async fn over(self) {
        tokio::select! {
            () = sleep(self.each) => {}
            () = self.hurry.cancelled() => {}
        }
    }
}

impl Gateway {
    /// Takes another configuration, or keeps the one that is in force and says everything that is against the other. With
    /// `hurry` it leaves off where it stands: the gateway stops, and what was still to begin need not.
    pub(super) async fn reload(&mut self, file: PathBuf, hurry: &CancellationToken) {
        let old = self.config.clone();
        // It names other files, plugins are compiled, and whoever reads waits for a disk.
        let reading = tokio::task::spawn_blocking(move || read(&file, &old));
        let read = tokio::select! {
            read = reading => read,
            () = hurry.cancelled() => return,
        };
        match read.unwrap_or_else(|error| Err(vec![fault("", error.to_string())])) {
            Ok((new, changes, ready)) => self.apply(new, changes, ready, hurry).await,
            Err(faults) => self.refuse(faults).await,
        }
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

    /// Everything has been checked and opened: from here on nothing is refused.
    async fn apply(&mut self, new: Config, changes: Changes, ready: Ready, hurry: &CancellationToken) {
        let patience = Patience { each: (Duration::from_secs(new.gateway.drain_s) / 4).min(PATIENCE), hurry };
        let base = &self.base;
        if changes.clock {
            clock::configure(&new.clock, None);
        }
        if let Some(auth) = ready.auth {
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
        let links = self.links.change(base.plan(&new), patience.over()).await;
        if hurry.is_cancelled() {
            return;
        }

        if changes.commands || changes.auth {
            if let Some(running) = self.commands.take() {
                patience.wait("The commands", running.stop()).await;
            }
            if hurry.is_cancelled() {
                return;
            }
            self.commands = Some(base.commands(&new, &self.auth));
        }
        if let Some(ready) = ready.rules {
            let rules = self.rules.take();
            // A plugin runs once: the new ones wait for the end of those before, however long that takes.
            let ending = tokio::task::spawn_blocking(move || rules.map(Rules::stop));
            tokio::select! {
                ended = ending => if ended.is_err() {
                    tracing::error!("The rule engine ended in a panic.");
                },
                () = hurry.cancelled() => return,
            }
            self.rules = Some(base.rules(ready));
        }
        if changes.forward {
            if let Some(forwarder) = self.forwarder.take() {
                patience
                    .wait("The connection to the broker", forwarder.make_way(new.forward.as_ref(), patience.each))
                    .await;
            }
            if hurry.is_cancelled() {
                return;
            }
            self.log.keep_for_broker(new.forward.is_some());
            self.forwarder = base.forwarder(&new);
        }
        if changes.serving()
            && let Some(commands) = &self.commands
        {
            // Both listen for a moment, so that nobody is turned away; whoever is served by the one before is served on.
            let api = base.api(&new, &self.auth, ready.tls, commands);
            std::mem::replace(&mut self.api, api).stop.cancel();
        }
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

/// Reads a configuration, and opens what of it is not as it was; or says all that is against it.
fn read(file: &Path, old: &Config) -> Result<(Config, Changes, Ready), Vec<Fault>> {
    let new = Config::load(file).map_err(|error| match error {
        ConfigError::Faults(faults) => faults.0,
        error @ ConfigError::Read { .. } => vec![fault("", error.to_string())],
    })?;
    let fixed = fixed(old, &new);
    if !fixed.is_empty() {
        return Err(fixed);
    }
    let changes = Changes::between(old, &new);
    let ready = prepare(&new, old, changes)?;
    Ok((new, changes, ready))
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
                let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
                changed.map(|name| format!("{key}.{name}")).collect()
            }
            _ if before == after => Vec::new(),
            _ => vec![key.to_owned()],
        };
        let reason = format!("cannot change while the gateway runs ({why}): restart it");
        faults.extend(keys.into_iter().map(|key| fault(&key, reason.clone())));
    }
    faults
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
}
