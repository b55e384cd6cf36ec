//! Forwarding: every event of the log to an MQTT 5 broker, at least once, with a stable id; and, beside them, the
//! present state of each terminal as a retained message.
//!
//! ```text
//! log ──read_after──→ session ──QoS 1──→ broker
//!  ↑                     │
//!  └──save_progress── PUBACK
//! ```
//!
//! The log is the only queue. One task owns the connection, the window of messages in flight and the progress; a row is
//! dealt with when the broker's PUBACK says so and not before. Every connection starts with a fresh client, a clean
//! session and the rows that are still unacknowledged, so whatever the client library kept or lost does not matter.
//! A broker that is away, refuses us or does not answer is weather: a gauge, a log line when it changes, and backoff.
//!
//! Deliberately not here: subscriptions. Commands arrive on a connection of their own.

mod backoff;
mod broker;
mod connection;
mod health;
mod payload;
mod session;
mod settled;
mod states;
mod topic;
mod window;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
pub use states::IsThere;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
pub use topic::front;

use crate::log::Log;
use crate::metrics::Metrics;

/// Settings of the connection to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Host name or address of the broker. Default `127.0.0.1`.
    pub host: String,
    /// TCP port of the broker's MQTT 5 listener. Default 1883.
    pub port: u16,
    /// MQTT client id; two clients with one id throw each other out. Default: empty, which means `vestibule-{gateway}`.
    pub client_id: String,
    /// User name for the broker. Default: none.
    pub username: Option<String>,
    /// File with the password and nothing else (a last line end is dropped); read at every connection. Default: none.
    pub password_file: Option<PathBuf>,
    /// Front of every topic. Default `vestibule/v1`.
    pub root: String,
    /// Most messages sent and not yet acknowledged, 1 to 16000; the broker's receive maximum may lower it. Default 256.
    pub window: u16,
    /// Seconds of silence after which the broker is pinged, at least 5. Default 15.
    pub keep_alive_s: u16,
    /// Seconds after which a missing acknowledgement ends the connection, at least 1. Default 10.
    pub ack_timeout_s: u16,
    /// Seconds for name lookup, TCP and MQTT handshake together, at least 1. Default 20.
    pub connect_timeout_s: u16,
    /// Most bytes of one MQTT packet; the broker's own maximum may lower it. A larger event is set aside. Default 524288.
    pub max_packet_bytes: u32,
    /// Whether messages carry their content type as an MQTT 5 property. Switch it off for a broker that cannot hand such
    /// messages on to MQTT 3.1.1 subscribers, as rumqttd 0.20 cannot. Default true.
    pub content_type: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            host: "127.0.0.1".to_owned(),
            port: 1883,
            client_id: String::new(),
            username: None,
            password_file: None,
            root: "vestibule/v1".to_owned(),
            window: 256,
            keep_alive_s: 15,
            ack_timeout_s: 10,
            connect_timeout_s: 20,
            max_packet_bytes: 512 * 1024,
            content_type: true,
        }
    }
}

impl Config {
    /// Everything that is wrong with these settings: the key, and a sentence that says why.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut fault = |wrong: bool, key: &'static str, why: &str| {
            if wrong {
                faults.push((key, why.to_owned()));
            }
        };
        fault(self.host.trim().is_empty(), "host", "must name the broker");
        fault(self.port == 0, "port", "must not be 0");
        fault(
            !topic::is_root(&self.root),
            "root",
            "must be topic levels without `+`, `#`, a leading `$` or an empty level",
        );
        fault(!(1..=16_000).contains(&self.window), "window", "must be 1 to 16000");
        fault(self.keep_alive_s < 5, "keep_alive_s", "must be at least 5");
        fault(self.ack_timeout_s == 0, "ack_timeout_s", "must be at least 1");
        fault(self.connect_timeout_s == 0, "connect_timeout_s", "must be at least 1");
        fault(self.max_packet_bytes < 1024, "max_packet_bytes", "must be at least 1024");
        fault(
            self.password_file.is_some() && self.username.as_deref().unwrap_or_default().is_empty(),
            "password_file",
            "needs a username",
        );
        faults
    }
}

/// Who we are, as subscribers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the branch or place.
    pub site: String,
    /// Name of this gateway, unique within the site.
    pub gateway: String,
}

/// The running forwarder. Dropping it ends the connection without a farewell; [`Forwarder::stop`] is the orderly way.
#[derive(Debug)]
pub struct Forwarder {
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// Starts forwarding in a task of the current runtime. It never fails: what the broker does is weather.
///
/// `is_there` tells of which terminals the retained state is kept at the broker; of others it is cleared.
pub fn start(config: Config, log: Log, identity: Identity, metrics: Arc<Metrics>, is_there: IsThere) -> Forwarder {
    let stop = CancellationToken::new();
    let session = session::Session::new(config, identity, log, metrics, is_there, stop.clone());
    Forwarder { stop: stop.drop_guard(), task: tokio::spawn(session.run()) }
}

impl Forwarder {
    /// Returns when the forwarder has ended although nobody asked it to: the log has stopped, or there is a bug.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the forwarder has ended");
        }
    }

    /// Sends a short rest of events, waits for the acknowledgements, says on the health topic that we stopped, and
    /// disconnects; whatever is not done at the deadline is left for the next start.
    pub async fn stop(self, deadline: Duration) {
        let Forwarder { stop, mut task } = self;
        stop.disarm().cancel();
        if task.is_finished() {
            return;
        }
        if tokio::time::timeout(deadline, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("the broker did not acknowledge everything in time; the rest is sent after the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_faults_and_all_faults_are_named_at_once() {
        assert_eq!(Config::default().faults(), []);
        let config = Config {
            host: " ".to_owned(),
            port: 0,
            root: "a/#".to_owned(),
            window: 0,
            keep_alive_s: 4,
            ack_timeout_s: 0,
            connect_timeout_s: 0,
            max_packet_bytes: 1,
            password_file: Some(PathBuf::from("secret")),
            ..Config::default()
        };
        let keys: Vec<_> = config.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "host",
                "port",
                "root",
                "window",
                "keep_alive_s",
                "ack_timeout_s",
                "connect_timeout_s",
                "max_packet_bytes",
                "password_file"
            ]
        );
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(toml::from_str::<Config>("prot = 1883").is_err());
        assert_eq!(toml::from_str::<Config>("").expect("every field has a default"), Config::default());
    }
}
