//! The ceiling: the same messages published straight to the broker, by the same client library with the same settings; and
//! once more without that library's event loop, which the gateway does not use either.

use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Connect, Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the gateway uses where its configuration says nothing else.
const WINDOW: u16 = 256;
/// Words of the client library taken before the window is filled again.
const ROUND: usize = 64;

/// Publishes all messages at QoS 1 and waits for every acknowledgement.
pub(crate) async fn publish(port: u16, messages: Vec<Publish>) {
    let mut options = MqttOptions::new("publisher", "127.0.0.1", port);
    options
        .set_keep_alive(Duration::from_secs(15))
        .set_clean_start(true)
        .set_max_packet_size(Some(512 * 1024))
        .set_outgoing_inflight_upper_limit(4 * WINDOW);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let (client, eventloop) = AsyncClient::new(options, usize::from(WINDOW) + 2);
    // The library's poll must not be dropped half-way; the stream keeps it.
    let words = stream::unfold(eventloop, async |mut eventloop| Some((eventloop.poll().await.unwrap(), eventloop)));
    let mut words = pin!(words);
    while !matches!(words.next().await, Some(Event::Incoming(Packet::ConnAck(_)))) {}
    let (mut in_flight, mut acknowledged, count) = (0, 0, messages.len());
    let mut messages = messages.into_iter();
    while acknowledged < count {
        while in_flight < WINDOW
            && let Some(Publish { topic, payload, properties, .. }) = messages.next()
        {
            let topic = String::from_utf8(topic.to_vec()).unwrap();
            let properties = properties.unwrap_or_default();
            client.try_publish_with_properties(topic, QoS::AtLeastOnce, false, payload, properties).unwrap();
            in_flight += 1;
        }
        let mut next = words.next().await;
        for left in (0..ROUND).rev() {
            let Some(word) = next.take() else { break };
            if matches!(word, Event::Incoming(Packet::PubAck(_))) {
                in_flight -= 1;
                acknowledged += 1;
            }
            if left > 0 {
                next = words.next().now_or_never().flatten();
            }
        }
    }
}

/// The same by the library's codec on a bare socket: all that the window has room for in one write.
pub(crate) async fn publish_barely(port: u16, messages: Vec<Publish>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut out, mut heard) = (BytesMut::new(), BytesMut::new());
    let client_id = "bare-publisher".to_owned();
    let greeting = Connect { keep_alive: 60, client_id, clean_start: true, properties: None };
    greeting.write(&None, &None, &mut out).unwrap();
    let (mut welcome, mut pkid, mut in_flight, mut acknowledged, count) = (false, 0_u16, 0, 0, messages.len());
    let mut messages = messages.into_iter();
    while acknowledged < count {
        while welcome
            && in_flight < WINDOW
            && let Some(message) = messages.next()
        {
            in_flight += 1;
            pkid = pkid.checked_add(1).unwrap_or(1);
            Publish { pkid, retain: false, dup: false, qos: QoS::AtLeastOnce, ..message }.write(&mut out).unwrap();
        }
        stream.write_all(&out).await.unwrap();
        out.clear();
        assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "the broker hung up");
        while let Ok(word) = Packet::read(&mut heard, None) {
            match word {
                Packet::ConnAck(_) => welcome = true,
                Packet::PubAck(_) => (in_flight, acknowledged) = (in_flight - 1, acknowledged + 1),
                other => panic!("{other:?}"),
            }
        }
    }
}
