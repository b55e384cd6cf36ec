//! The second connection to the broker: commands come in, how they ended goes out, relays are switched.
//!
//! The session outlives the connection, and a command is acknowledged by hand behind its commit: what the gateway has not
//! kept the broker brings again. Results are told from the log's table, one at a time, each until the broker has
//! acknowledged it. As in the forwarder, each connection has a client of its own; nothing that the library queues is trusted.

mod connection;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::NetworkOptions;
use rumqttc::v5::{AsyncClient, MqttOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Config, Counter};
use crate::auth::Auth;
use crate::log::Log;
use crate::metrics::Metrics;
use connection::Connection;

/// First and longest pause before the next connection.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Commands that the broker may bring before the first is acknowledged.
const RECEIVE: u16 = 16;
/// Largest packet taken.
const PACKET_BYTES: u32 = 64 * 1024;
/// What the library holds for us before it takes it up.
const CALLS: usize = 64;

/// Where the broker is, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// TCP port of MQTT 5.
    pub port: u16,
    /// User name.
    pub username: Option<String>,
    /// File with the password and nothing else.
    pub password_file: Option<PathBuf>,
    /// Seconds of silence after which the broker is pinged.
    pub keep_alive_s: u16,
    /// Seconds for name lookup, TCP and MQTT handshake together.
    pub connect_timeout_s: u16,
    /// Seconds after which a missing acknowledgement ends the connection.
    pub ack_timeout_s: u16,
    /// The client id, where the commands' settings have none.
    pub client_id: String,
    /// The front of every topic: `{root}/{site}/`.
    pub front: String,
}

/// What a session is built from.
pub(super) struct Parts {
    pub(super) broker: Broker,
    pub(super) config: Arc<Config>,
    pub(super) log: Log,
    pub(super) auth: Auth,
    pub(super) counter: Arc<Counter>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
}

/// A message that somebody wants the broker to have.
struct Wanted {
    topic: String,
    payload: String,
    /// Told once the broker has it.
    has: oneshot::Sender<()>,
}

/// Publishes by this connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Publisher {
    wanted: mpsc::Sender<Wanted>,
    connected: watch::Receiver<bool>,
}

impl Publisher {
    /// Publishes with QoS 1; whether the broker has acknowledged it.
    pub(super) async fn publish(&self, topic: String, payload: String) -> bool {
        let (has, answer) = oneshot::channel();
        self.wanted.send(Wanted { topic, payload, has }).await.is_ok() && answer.await.is_ok()
    }

    /// Whether there is a connection now.
    pub(super) fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Whether there will never be one again.
    pub(super) fn is_closed(&self) -> bool {
        self.wanted.is_closed()
    }

    /// Changes with the connection.
    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }
}

/// All connections, one after the other.
pub(super) struct Session {
    parts: Parts,
    wanted: mpsc::Receiver<Wanted>,
    connected: watch::Sender<bool>,
}

/// A session, and what publishes by it.
pub(super) fn session(parts: Parts) -> (Publisher, Session) {
    let (sender, wanted) = mpsc::channel(4);
    let (connected, watched) = watch::channel(false);
    (Publisher { wanted: sender, connected: watched }, Session { parts, wanted, connected })
}

impl Session {
    /// Connects again and again until it is stopped.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSES.0;
        let mut said = false;
        while !self.parts.stop.is_cancelled() {
            let options = match self.options() {
                Ok(options) => options,
                Err(why) => {
                    tracing::error!(why, "The connection for commands cannot be made.");
                    if self.pause(pause).await {
                        continue;
                    }
                    return;
                }
            };
            let (client, eventloop) = AsyncClient::new(options, CALLS);
            let connection = Connection::new(&self.parts, client, eventloop);
            let (was_up, end) = connection.run(&mut self.wanted, &self.connected).await;
            self.connected.send_if_modified(std::mem::take);
            self.parts.metrics.commands_connected.set(0);
            if was_up {
                (pause, said) = (PAUSES.0, false);
            }
            if !std::mem::replace(&mut said, true) && !self.parts.stop.is_cancelled() {
                tracing::warn!(end, "There is no connection to the broker for commands; trying again.");
            }
            if !self.pause(pause).await {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Waits; false where it is to end.
    async fn pause(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.parts.stop.cancelled() => false,
        }
    }

    fn options(&self) -> Result<MqttOptions, String> {
        let Parts { broker, config, .. } = &self.parts;
        let client_id = Some(config.mqtt_client_id.as_str()).filter(|id| !id.is_empty()).unwrap_or(&broker.client_id);
        // The client library joins host and port with a colon.
        let host = broker.host.trim();
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        let mut options = MqttOptions::new(client_id, host, broker.port);
        // Less than five seconds would be a panic.
        options.set_keep_alive(Duration::from_secs(u64::from(broker.keep_alive_s.max(5))));
        options.set_clean_start(false);
        options.set_session_expiry_interval(Some(config.mqtt_session_s));
        options.set_receive_maximum(Some(RECEIVE));
        options.set_max_packet_size(Some(PACKET_BYTES));
        options.set_manual_acks(true);
        options.set_connection_timeout(u64::from(broker.connect_timeout_s.max(1)));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some(username) = broker.username.as_deref().filter(|name| !name.is_empty()) {
            let password = match &broker.password_file {
                Some(path) => std::fs::read_to_string(path)
                    .map_err(|error| format!("the password file {} cannot be read: {error}", path.display()))?,
                None => String::new(),
            };
            options.set_credentials(username, password.trim_end_matches(['\r', '\n']));
        }
        Ok(options)
    }
}
