//! The configuration: one TOML file, composed of each module's own `Config`.
//!
//! It is checked whole before anything is opened, and all that is wrong with it is said at once, each with its key path.
//! `gateway/vestibule.example.toml` shows every option with its default; a test keeps it true.

mod faults;
mod ports;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

pub use faults::{Fault, Faults};
use ports::Ports;
pub(crate) use ports::collide;

use crate::mqtt::Address;
use crate::profile::{Profile, ProfileError};
use crate::protocol::Decoder;
use crate::terminals::Terminal;
use crate::{api, auth, clock, commands, forward, link, log, rules, terminals};

/// The configuration of a gateway.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this gateway is.
    #[serde(default)]
    pub gateway: Gateway,
    /// How it is known whether the clock is right.
    #[serde(default)]
    pub clock: clock::Config,
    /// The event store.
    #[serde(default)]
    pub log: log::Config,
    /// The HTTP interface.
    #[serde(default)]
    pub http: api::Config,
    /// Who may do what.
    #[serde(default)]
    pub auth: auth::Config,
    /// The MQTT broker; without it nothing is forwarded, and everything is kept.
    #[serde(default)]
    pub forward: Option<forward::Config>,
    /// The rule plugins.
    #[serde(default)]
    pub rules: rules::Config,
    /// Commands to terminals.
    #[serde(default)]
    pub commands: commands::Config,
    /// The terminals.
    #[serde(default)]
    pub terminal: Vec<terminals::Config>,
    /// TCP ports that several terminals share.
    #[serde(default)]
    pub listener: Vec<link::ListenerConfig>,
}

/// Who a gateway is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Its name, unique in the fleet: event ids begin with it. Letters, digits, `-` and `_`.
    pub id: String,
    /// The branch it stands in: a level of every topic.
    pub site: String,
    /// Folder with device profiles of your own; those that are built in are found without it.
    pub devices: Option<PathBuf>,
    /// Seconds that a stop may take, all stages together; what is not done by then is left for the next start.
    pub drain_s: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        Gateway { id: "vestibule".to_owned(), site: "branch".to_owned(), devices: None, drain_s: 20 }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is wrong.
    #[error("{0}")]
    Faults(Faults),
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Where it cannot be read, or with everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Config::parse(&text).map_err(ConfigError::Faults)
    }

    /// Checks a text.
    ///
    /// # Errors
    /// With everything that is wrong with it, each with its key path.
    pub fn parse(text: &str) -> Result<Config, Faults> {
        faults::read(text, Config::faults)
    }

    /// What is wrong with values that are of the right type.
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut add = |path: String, reason: String| faults.push(Fault { path, reason });
        for (key, value) in [("gateway.id", &self.gateway.id), ("gateway.site", &self.gateway.site)] {
            if let Err(reason) = name(value) {
                add(key.to_owned(), reason);
            }
        }
        if !(1..=3600).contains(&self.gateway.drain_s) {
            add("gateway.drain_s".to_owned(), format!("{} is not 1 to 3600", self.gateway.drain_s));
        }
        for (key, reason) in self.clock.faults() {
            add(format!("clock.{key}"), reason);
        }
        for (key, reason) in self.log.faults() {
            add(format!("log.{key}"), reason);
        }
        for (key, reason) in self.http.faults(&self.auth) {
            add(format!("http.{key}"), reason);
        }
        for (key, reason) in self.auth.faults() {
            add(format!("auth.{key}"), reason);
        }
        if let Some(forward) = &self.forward {
            for (key, reason) in forward.faults() {
                add(format!("forward.{key}"), reason);
            }
        }
        for (key, reason) in self.rules.faults() {
            add(format!("rules.{key}"), reason);
        }
        for (key, reason) in self.commands.faults() {
            add(format!("commands.{key}"), reason);
        }
        if self.commands.mqtt && self.forward.is_none() {
            add("commands.mqtt".to_owned(), "needs the broker of a [forward] table".to_owned());
        }
        if self.commands.mqtt && self.commands.mqtt_trust == commands::Trust::Token && self.auth.tokens.is_none() {
            add("commands.mqtt_trust".to_owned(), "`token` needs `auth.tokens`".to_owned());
        }
        let relays = self.terminal.iter().filter_map(|terminal| terminal.restart.as_ref());
        let two = self.commands.mqtt || relays.filter(|restart| restart.mqtt_topic.is_some()).count() > 0;
        let own = self.forward.as_ref().map(|forward| forward.client_id(&self.gateway.id)).filter(|_| two);
        if let Some(own) = own.filter(|own| *own == self.commands_client_id()) {
            let why =
                format!("`{own}` is the forwarder's client id, too: two clients with one id throw each other out");
            add("commands.mqtt_client_id".to_owned(), why);
        }
        if let Some(address) = self.exposed_commands() {
            let reason = format!(
                "tokens would cross the network to {address} as they are: take `mqtts://`, or `commands.plaintext = true` \
                 where something else encrypts that line, or no tokens (`mqtt_trust = \"broker\"`)"
            );
            add("commands.mqtt".to_owned(), reason);
        }
        let mut names = HashSet::from(["gateway"]);
        let mut lunos = HashSet::new();
        let mut ports = Ports::default();
        ports.take(self.http.listen, "http.listen".to_owned());
        for (at, terminal) in self.terminal.iter().enumerate() {
            let path = |key: &str| format!("terminal[{at}].{key}");
            if let Err(reason) = name(&terminal.name) {
                add(path("name"), reason);
            }
            if !names.insert(&terminal.name) {
                add(path("name"), format!("`{}` is taken already", terminal.name));
            }
            if let Some(luno) = terminal.luno.as_ref().filter(|luno| !lunos.insert(luno.as_str())) {
                add(path("luno"), format!("`{luno}` is taken already"));
            }
            if TimeZone::get(&terminal.time_zone).is_err() {
                add(path("time_zone"), format!("`{}` is no IANA time zone", terminal.time_zone));
            }
            if let Some(restart) = &terminal.restart {
                for (key, reason) in restart.faults() {
                    add(path(&format!("restart.{key}")), reason);
                }
                if restart.mqtt_topic.is_some() && self.forward.is_none() {
                    add(path("restart.mqtt_topic"), "needs the broker of a [forward] table".to_owned());
                }
            }
            let profile = self.profile(&terminal.profile).map(Arc::new);
            if let Err(error) = &profile {
                add(path("profile"), error.to_string());
            }
            let mut links = HashSet::new();
            for (nth, link) in terminal.link.iter().enumerate() {
                let path = |key: &str| path(&format!("link[{nth}].{key}"));
                if !links.insert(&link.name) {
                    add(path("name"), format!("`{}` is taken already", link.name));
                }
                for (key, reason) in link.faults() {
                    add(path(key), reason);
                }
                if let Ok(profile) = &profile {
                    match self.link_profile(link, profile) {
                        Err(error) => add(path("profile"), error.to_string()),
                        Ok(profile) if profile.protocol != link.protocol => {
                            let (says, speaks) = (profile.protocol.name(), link.protocol.name());
                            add(path("profile"), format!("`{}` is of protocol {says}, not {speaks}", profile.name));
                        }
                        Ok(profile) => {
                            if let Err(error) = Decoder::new(link.protocol, &profile) {
                                add(path("protocol"), error.to_string());
                            }
                        }
                    }
                }
                if let Some(reason) = link.listen.and_then(|listen| ports.take(listen, path("listen"))) {
                    add(path("listen"), reason);
                }
            }
        }
        for (at, listener) in self.listener.iter().enumerate() {
            let path = |key: &str| format!("listener[{at}].{key}");
            for (key, reason) in listener.faults() {
                add(path(key), reason);
            }
            if let Err(error) = self.listener_profile(listener) {
                add(path("profile"), error.to_string());
            }
            if let Some(reason) = ports.take(listener.listen, path("listen")) {
                add(path("listen"), reason);
            }
        }
        faults
    }

    /// The MQTT client id of the connection for commands, which is not the forwarder's.
    pub fn commands_client_id(&self) -> String {
        match self.commands.mqtt_client_id.as_str() {
            "" => format!("{}-commands", forward::Config::default().client_id(&self.gateway.id)),
            own => own.to_owned(),
        }
    }

    /// A broker by way of which commands would bring their tokens for everybody on the line to read.
    fn exposed_commands(&self) -> Option<Address> {
        let commands = &self.commands;
        let tokens = commands.mqtt && commands.mqtt_trust == commands::Trust::Token && !commands.plaintext;
        self.forward.as_ref().filter(|_| tokens)?.addresses().into_iter().find(Address::is_exposed)
    }

    fn profile(&self, name: &str) -> Result<Profile, ProfileError> {
        Profile::find(name, self.gateway.devices.as_deref())
    }

    /// The profile that a link is decoded by: its own, else the terminal's where that is of the link's protocol, else
    /// the usual one of the protocol.
    fn link_profile(&self, link: &link::Config, terminal: &Arc<Profile>) -> Result<Arc<Profile>, ProfileError> {
        match &link.profile {
            Some(name) => self.profile(name).map(Arc::new),
            None if terminal.protocol == link.protocol => Ok(Arc::clone(terminal)),
            None => Profile::builtin(link.protocol.usual_profile()).map(Arc::new),
        }
    }

    fn listener_profile(&self, listener: &link::ListenerConfig) -> Result<Arc<Profile>, ProfileError> {
        let name = listener.profile.as_deref().unwrap_or_else(|| listener.protocol.usual_profile());
        self.profile(name).map(Arc::new)
    }

    /// The shared listeners, each with the profile of terminals that nobody configured.
    pub fn listeners(&self) -> Vec<(link::ListenerConfig, Arc<Profile>)> {
        let ready = |config: &link::ListenerConfig| Some((config.clone(), self.listener_profile(config).ok()?));
        self.listener.iter().filter_map(ready).collect()
    }

    /// The links of each terminal, each with the profile it is decoded by. Call it on a configuration that was checked.
    pub fn links(&self) -> Vec<(String, link::Profiled)> {
        let ready = |terminal: &terminals::Config| {
            let profile = self.profile(&terminal.profile).ok().map(Arc::new)?;
            let links =
                terminal.link.iter().filter_map(|link| Some((link.clone(), self.link_profile(link, &profile).ok()?)));
            Some((terminal.name.clone(), links.collect()))
        };
        self.terminal.iter().filter_map(ready).collect()
    }

    /// The terminals, ready for use. Call it on a configuration that was checked.
    pub fn terminals(&self) -> Vec<Terminal> {
        let ready = |config: &terminals::Config| {
            let profile = self.profile(&config.profile).ok()?;
            Some(Terminal {
                name: config.name.clone(),
                reports_requests: config.reports_requests.unwrap_or(profile.reports_requests),
                profile: profile.into(),
                time_zone: TimeZone::get(&config.time_zone).ok()?,
                luno: config.luno.clone(),
                pins: config.pin_sha256.clone(),
            })
        };
        self.terminal.iter().filter_map(ready).collect()
    }
}

/// Whether a text can be a level of a topic and a part of an id.
fn name(text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
        return Err(format!("`{text}` must be 1 to 64 letters, digits, `-`, `_` or `.`"));
    }
    Ok(())
}
