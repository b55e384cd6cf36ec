//! The ceiling: the same messages published straight to the broker, by the same client library with the same settings.

use std::pin::pin;
use std::time::Duration;

use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};

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
