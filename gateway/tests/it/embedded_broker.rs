//! Forwarding to the broker that `demo` embeds.

use serde_json::json;

use crate::forward::hear_all;
use crate::forwarding::{DEADLINE, Gateway, eventually, to};
use crate::subscriber::Subscriber;

/// The broker that `demo` embeds, as a listener for MQTT 5.
fn rumqttd(port: u16) {
    let connections = rumqttd::ConnectionSettings {
        connection_timeout_ms: 5000,
        max_payload_size: 1 << 20,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = rumqttd::ServerSettings {
        name: "v5".to_owned(),
        listen: ([127, 0, 0, 1], port).into(),
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = rumqttd::RouterConfig {
        max_connections: 100,
        max_outgoing_packet_count: 200,
        max_segment_size: 1 << 20,
        max_segment_count: 10,
        ..rumqttd::RouterConfig::default()
    };
    let config = rumqttd::Config { router, v5: Some([("v5".to_owned(), server)].into()), ..rumqttd::Config::default() };
    std::thread::spawn(move || {
        let _ = rumqttd::Broker::new(config).start();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_takes_everything_too() {
    let port = crate::mosquitto::free_port();
    rumqttd(port);
    let gateway = Gateway::new();
    let forwarder = gateway.forward(to(port));
    eventually(|| gateway.metrics.forward_connected.get() == 1).await;
    let mut health = Subscriber::to(port, "vestibule/v1/+/gateway/#").await;
    assert_eq!(health.next().await.json["status"], json!("online"), "the health is retained");
    let mut subscriber = Subscriber::to(port, "vestibule/v1/+/+/event/#").await;
    let mut state = Subscriber::to(port, "vestibule/v1/+/+/state").await;
    for _ in 0..50 {
        gateway.append("atm-1", 100).await;
    }
    let heard = hear_all(&mut subscriber, 5000).await;
    assert!(heard.values().all(|times| *times == 1));
    gateway.eventually([5000, 0, 0, 0]).await;
    assert_eq!(state.next().await.json["terminal"], json!("atm-1"));
    forwarder.stop(DEADLINE).await;
    assert_eq!(health.next().await.json["status"], json!("stopped"));
}
