//! The subscriber at the end of both arms.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::task::JoinHandle;

use super::process::until;

/// What was heard so far.
#[derive(Default)]
struct Heard {
    messages: Vec<(Publish, Instant)>,
}

/// A subscriber to all events, at QoS 1. Every message is kept with the time at which it came.
pub(crate) struct Subscriber {
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
    _client: AsyncClient,
}

impl Subscriber {
    pub(crate) async fn start(port: u16) -> Subscriber {
        let mut options = MqttOptions::new("subscriber", "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(60)).set_max_packet_size(Some(1 << 20));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, mut eventloop) = AsyncClient::new(options, 16);
        client.try_subscribe("vestibule/v1/+/+/event/#", QoS::AtLeastOnce).unwrap();
        while !matches!(eventloop.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let inside = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok(event) = eventloop.poll().await {
                if let Event::Incoming(Packet::Publish(publish)) = event {
                    inside.lock().unwrap().messages.push((publish, Instant::now()));
                }
            }
        });
        Subscriber { heard, task, _client: client }
    }

    /// How many messages came since they were last taken.
    pub(crate) fn count(&self) -> usize {
        self.heard.lock().unwrap().messages.len()
    }

    /// Waits for so many messages, and takes them.
    pub(crate) async fn take(&self, count: usize) -> Vec<(Publish, Instant)> {
        let what = format!("the last of {count} messages");
        until(&what, Duration::from_millis(2), async || (self.count() >= count).then_some(())).await;
        std::mem::take(&mut self.heard.lock().unwrap().messages)
    }

    /// Waits until nothing comes any more, and forgets what came; how many messages that were.
    pub(crate) async fn settle(&self) -> usize {
        loop {
            let before = self.count();
            tokio::time::sleep(Duration::from_millis(500)).await;
            if self.count() == before {
                self.heard.lock().unwrap().messages.clear();
                return before;
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}
