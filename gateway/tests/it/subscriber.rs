//! A subscriber: what arrives at it is what the world hears.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::sync::mpsc;

/// One message as it arrived.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Its topic.
    pub(crate) topic: String,
    /// Its content type.
    pub(crate) content_type: Option<String>,
    /// Whether the broker had kept it.
    pub(crate) retained: bool,
    /// The payload.
    pub(crate) json: serde_json::Value,
    /// The payload's bytes.
    pub(crate) text: String,
}

/// A connected subscriber.
pub(crate) struct Subscriber {
    messages: mpsc::UnboundedReceiver<Heard>,
    _client: AsyncClient,
}

impl Subscriber {
    /// Subscribes and returns once the broker has confirmed it.
    pub(crate) async fn to(port: u16, filter: &str) -> Subscriber {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let id = format!("subscriber-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut options = MqttOptions::new(id, "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(60)).set_max_packet_size(Some(1 << 20));
        let (client, mut eventloop) = AsyncClient::new(options, 16);
        client.try_subscribe(filter, QoS::AtLeastOnce).expect("the queue is empty");
        loop {
            match eventloop.poll().await.expect("the broker answers") {
                Event::Incoming(Packet::SubAck(_)) => break,
                _ => continue,
            }
        }
        let (sender, messages) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(event) = eventloop.poll().await {
                let Event::Incoming(Packet::Publish(publish)) = event else { continue };
                let text = String::from_utf8(publish.payload.to_vec()).expect("payloads are UTF-8");
                let heard = Heard {
                    topic: String::from_utf8(publish.topic.to_vec()).expect("topics are UTF-8"),
                    content_type: publish.properties.and_then(|properties| properties.content_type),
                    retained: publish.retain,
                    // An empty payload clears a retained message.
                    json: if text.is_empty() {
                        serde_json::Value::Null
                    } else {
                        serde_json::from_str(&text).expect("payloads are JSON")
                    },
                    text,
                };
                if sender.send(heard).is_err() {
                    return;
                }
            }
        });
        Subscriber { messages, _client: client }
    }

    /// The next message; a minute without one fails the test.
    pub(crate) async fn next(&mut self) -> Heard {
        let next = tokio::time::timeout(Duration::from_secs(60), self.messages.recv());
        next.await.expect("a message within a minute").expect("the subscriber is connected")
    }

    /// What has arrived and was not asked for yet.
    pub(crate) fn rest(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.messages.try_recv().ok()).collect()
    }
}
