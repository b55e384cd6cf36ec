//! The commands' part of the configuration.

use serde::{Deserialize, Serialize};

/// Longest time that a command may wait, in seconds: a week.
pub(super) const LONGEST: i64 = 7 * 24 * 3600;

/// Settings of commands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Seconds that a command waits for its terminal where it does not say itself. Default 300.
    pub ttl_s: u64,
    /// Most seconds that it may say. Default 86400.
    pub max_ttl_s: u64,
    /// Seconds that a terminal has to answer; then nobody knows what became of the command. Default 60.
    pub answer_timeout_s: u64,
    /// Most commands that wait for one terminal. Default 16.
    pub max_waiting: usize,
    /// Whether commands are taken from the broker of `[forward]`, on a connection of their own. Default false.
    pub mqtt: bool,
    /// Who may ask by way of the broker: whoever shows a token, or whoever the broker lets publish. Default `token`.
    pub mqtt_trust: Trust,
    /// Whether tokens may cross the network to another host's broker without TLS, because something else encrypts that line.
    /// Default false.
    pub plaintext: bool,
    /// MQTT client id of that connection. Default: empty, which means `vestibule-{gateway}-commands`.
    pub mqtt_client_id: String,
    /// Seconds for which the broker keeps commands while the gateway is away; 0 for none. Default 3600.
    pub mqtt_session_s: u32,
}

/// Whom a command from the broker is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Whoever shows a token of `auth.tokens` in the payload.
    #[default]
    Token,
    /// Everybody whom the broker's own access list lets publish there: they may do everything to every terminal.
    Broker,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ttl_s: 300,
            max_ttl_s: 86_400,
            answer_timeout_s: 60,
            max_waiting: 16,
            mqtt: false,
            mqtt_trust: Trust::Token,
            plaintext: false,
            mqtt_client_id: String::new(),
            mqtt_session_s: 3600,
        }
    }
}

impl Config {
    /// Everything that is wrong with these settings: the key, and a sentence that says why.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(1..=LONGEST.unsigned_abs()).contains(&self.max_ttl_s) {
            faults.push(("max_ttl_s", format!("must be 1 to {LONGEST}")));
        }
        if !(1..=self.max_ttl_s).contains(&self.ttl_s) {
            faults.push(("ttl_s", "must be 1 to `max_ttl_s`".to_owned()));
        }
        if !(1..=3600).contains(&self.answer_timeout_s) {
            faults.push(("answer_timeout_s", "must be 1 to 3600".to_owned()));
        }
        if !(1..=1000).contains(&self.max_waiting) {
            faults.push(("max_waiting", "must be 1 to 1000".to_owned()));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_faults_and_all_faults_are_named_at_once() {
        assert_eq!(Config::default().faults(), []);
        let config = Config { ttl_s: 0, max_ttl_s: 0, answer_timeout_s: 0, max_waiting: 0, ..Config::default() };
        let keys: Vec<_> = config.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["max_ttl_s", "ttl_s", "answer_timeout_s", "max_waiting"]);
    }
}
