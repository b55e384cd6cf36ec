//! Which sections of a configuration are not as they were in another.

use serde::Serialize;

use super::{broker, switches};
use crate::config::Config;

/// The sections that are not as they were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    pub(super) clock: bool,
    pub(super) auth: bool,
    pub(super) http: bool,
    pub(super) forward: bool,
    pub(super) rules: bool,
    pub(super) commands: bool,
    pub(super) terminals: bool,
    pub(super) rest: bool,
}

impl Changes {
    /// Those of a gateway that has nothing yet.
    pub(super) const ALL: Changes = Changes {
        clock: true,
        auth: true,
        http: true,
        forward: true,
        rules: true,
        commands: true,
        terminals: true,
        rest: true,
    };

    pub(super) fn between(old: &Config, new: &Config) -> Changes {
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

    /// Whether HTTP is to be served anew: who may come in and whom it asks are part of it.
    pub(super) fn serving(self) -> bool {
        self.http || self.auth || self.commands
    }

    pub(super) fn names(self) -> Vec<&'static str> {
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

/// Whether something is switched by way of the broker.
fn relays(config: &Config) -> bool {
    switches(config).values().any(|switch| switch.mqtt_topic.is_some())
}

pub(super) fn differ(old: &impl Serialize, new: &impl Serialize) -> bool {
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
