//! The broker inside the demo: MQTT 3.1.1 for people's tools, MQTT 5 for the gateway.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use rumqttd::{ConnectionSettings, RouterConfig, ServerSettings};

use crate::cli::exit::Exit;

/// Ports tried from the wanted one on.
const PORTS: u16 = 100;

/// Where the broker serves.
pub(super) struct Broker {
    /// MQTT 3.1.1, the version that `mosquitto_sub` speaks unasked.
    pub(super) v4: SocketAddr,
    /// MQTT 5.
    pub(super) v5: SocketAddr,
}

/// Starts a broker on loopback, or at `wanted`; it runs until the process ends.
pub(super) fn start(wanted: Option<SocketAddr>) -> Result<Broker, Exit> {
    let v4 = match wanted {
        // Port 0 is any that is free: the broker wants to know which.
        Some(address) => TcpListener::bind(address)
            .and_then(|listener| listener.local_addr())
            .map_err(|error| Exit::unavailable(format!("cannot listen on {address} for MQTT (--mqtt): {error}")))?,
        None => free_port(1883)?,
    };
    let mut v5 = free_port(v4.port().saturating_add(1))?;
    v5.set_ip(v4.ip());
    let config = rumqttd::Config {
        id: 0,
        router: RouterConfig {
            max_connections: 64,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("v4".to_owned(), server("mqtt-v4", v4))])),
        v5: Some(HashMap::from([("v5".to_owned(), server("mqtt-v5", v5))])),
        ..rumqttd::Config::default()
    };
    let run = move || {
        if let Err(error) = rumqttd::Broker::new(config).start() {
            tracing::error!(%error, "The demo's broker has ended.");
        }
    };
    thread::Builder::new().name("demo-broker".to_owned()).spawn(run).map_err(|error| Exit::io(error.to_string()))?;
    Ok(Broker { v4, v5 })
}

fn server(name: &str, listen: SocketAddr) -> ServerSettings {
    ServerSettings {
        name: name.to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 60_000,
            max_payload_size: 1024 * 1024,
            max_inflight_count: 1000,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}

/// The first free loopback port from this one on.
pub(super) fn free_port(first: u16) -> Result<SocketAddr, Exit> {
    (first..first.saturating_add(PORTS))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .ok_or_else(|| Exit::unavailable(format!("no port from {first} on is free on 127.0.0.1")))
}
