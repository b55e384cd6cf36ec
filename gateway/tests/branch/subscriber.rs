//! An MQTT 5 subscriber with a persistent session, which outlives its broker.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::process::until;

/// What came, after known ids were dropped.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    subscribed: bool,
    /// The events by their sequence number.
    pub(crate) events: BTreeMap<u64, Value>,
    /// Sequence numbers by event id.
    pub(crate) ids: BTreeMap<String, u64>,
    /// Messages that came again: allowed, at least once is the promise.
    pub(crate) again: u64,
    /// What must never be.
    pub(crate) faults: Vec<String>,
}

impl Seen {
    fn take(&mut self, topic: &str, payload: &[u8]) {
        if let Err(fault) = self.check(topic, payload) {
            self.faults.push(format!("{fault}: {topic}: {}", String::from_utf8_lossy(payload)));
        }
    }

    fn check(&mut self, topic: &str, payload: &[u8]) -> Result<(), &'static str> {
        let message: Value = serde_json::from_slice(payload).map_err(|_| "no JSON")?;
        let data = &message["data"];
        let id = message["id"].as_str().ok_or("no id")?;
        let sequence = data["seq"].as_u64().ok_or("no seq")?;
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        if data["id"] != id || !id.ends_with(&format!("-{sequence}")) {
            return Err("the id is not the event's");
        }
        if number(&message["sequence"]) != Some(sequence)
            || number(&message["terminalsequence"]) != data["terminal_seq"].as_u64()
        {
            return Err("the sequence is not the event's");
        }
        let kind = data["kind"].as_str().ok_or("no kind")?.replace('.', "/");
        if !topic.ends_with(&format!("/{}/event/{kind}", data["terminal"].as_str().ok_or("no terminal")?)) {
            return Err("the topic is not the event's");
        }
        match self.ids.insert(id.to_owned(), sequence) {
            Some(before) if before != sequence => return Err("one id, two sequence numbers"),
            _ => {}
        }
        match self.events.insert(sequence, data.clone()) {
            Some(before) if before != *data => Err("the same sequence number with other content"),
            Some(_) => {
                self.again += 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The first ranges of sequence numbers that are missing below the highest.
    pub(crate) fn gaps(&self) -> Vec<RangeInclusive<u64>> {
        let mut next = 1;
        let gaps = self.events.keys().filter_map(|seq| {
            let gap = next..=seq - 1;
            next = seq + 1;
            (!gap.is_empty()).then_some(gap)
        });
        gaps.take(10).collect()
    }
}

pub(crate) struct Subscriber {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
    _client: AsyncClient,
}

impl Subscriber {
    pub(crate) async fn start(port: u16) -> Subscriber {
        let mut options = MqttOptions::new("branch-subscriber", "127.0.0.1", port);
        options
            .set_clean_start(false)
            .set_session_expiry_interval(Some(u32::MAX))
            .set_receive_maximum(Some(u16::MAX))
            .set_max_packet_size(Some(4 * 1024 * 1024))
            // Nothing is ever written where that can be helped: see the broker.
            .set_keep_alive(Duration::from_secs(3600));
        let (client, mut connection) = AsyncClient::new(options, 16);
        client.subscribe("vestibule/v1/branch-001/+/event/#", QoS::AtMostOnce).await.unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                match connection.poll().await {
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                        shared.lock().unwrap().take(&topic, &publish.payload);
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => shared.lock().unwrap().subscribed = true,
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        Subscriber { seen, task, _client: client }
    }

    pub(crate) async fn subscribed(&self) {
        let missing = || "the broker does not answer the subscription".to_owned();
        until(Duration::from_secs(10), missing, async || self.look(|seen| seen.subscribed).then_some(())).await;
    }

    pub(crate) fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.lock().unwrap())
    }

    pub(crate) fn stop(self) -> Seen {
        self.task.abort();
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}
