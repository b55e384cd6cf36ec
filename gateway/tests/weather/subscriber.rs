//! Who hears it all: a subscriber beside the broker, with a session that outlives it.
//!
//! It reads its socket to the end whatever becomes of what it says: where a broker dies, everything that it had
//! handed over counts.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::PATIENCE;
use crate::broker::{Broker, PORT};
use crate::fake_broker::{packet, topic_and_payload};
use crate::process::until;

/// CONNECT by MQTT 3.1.1 as `weather`: the session stays, and there is no keep-alive.
const CONNECT: &[u8] = b"\x10\x13\0\x04MQTT\x04\0\0\0\0\x07weather";
/// SUBSCRIBE at QoS 1 to `vestibule/v1/+/+/event/#`.
const SUBSCRIBE: &[u8] = b"\x82\x1d\0\x01\0\x18vestibule/v1/+/+/event/#\x01";
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBACK: u8 = 9;

/// What was heard.
#[derive(Default)]
struct Heard {
    subscribed: bool,
    /// The events by their place in the log.
    events: HashMap<u64, Value>,
    /// The last place that was new, critical events aside: those may overtake.
    last: u64,
    /// Messages with an id that was known.
    again: u64,
    faults: Vec<String>,
}

impl Heard {
    fn take(&mut self, topic: &str, payload: &[u8]) {
        let message: Value = serde_json::from_slice(payload).expect("payloads are JSON");
        let data = &message["data"];
        let seq = data["seq"].as_u64().expect("a place");
        if message["id"] != data["id"] || message["sequence"].as_str() != Some(&seq.to_string()) {
            self.faults.push(format!("id or place is not the event's: {topic} {message}"));
        }
        if let Some(known) = self.events.get(&seq) {
            self.again += 1;
            if known != data {
                self.faults.push(format!("{seq} came again as another: {data}"));
            }
            return;
        }
        if data["severity"] != "critical" {
            if seq < self.last {
                self.faults.push(format!("{seq} came behind {}", self.last));
            }
            self.last = seq;
        }
        self.events.insert(seq, data.clone());
    }
}

pub(crate) struct Subscriber {
    heard: Arc<Mutex<Heard>>,
    stop: Arc<AtomicBool>,
}

impl Subscriber {
    /// Subscribes, and returns once the broker has confirmed it.
    pub(crate) async fn start(broker: &Broker) -> Subscriber {
        let (heard, stop) = (Arc::<Mutex<Heard>>::default(), Arc::<AtomicBool>::default());
        let subscriber = Subscriber { heard: Arc::clone(&heard), stop: Arc::clone(&stop) };
        broker.network.inside(|| {
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Where there is no broker, there will be.
                    let _ = listen(&heard);
                    std::thread::sleep(Duration::from_millis(20));
                }
            })
        });
        let missing = || "the broker does not confirm the subscription".to_owned();
        until(PATIENCE, missing, async || subscriber.heard.lock().unwrap().subscribed.then_some(())).await;
        subscriber
    }

    /// Different events that were heard.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.heard.lock().unwrap().events.len()).unwrap()
    }

    pub(crate) fn summary(&self) -> String {
        let heard = self.heard.lock().unwrap();
        format!("{} events heard, {} messages again", heard.events.len(), heard.again)
    }

    /// Whether every line that was answered was heard in its place, everything else too, and in order.
    pub(crate) fn judge(&self, answered: &[(String, u64)]) {
        let heard = self.heard.lock().unwrap();
        let mut faults = heard.faults.clone();
        for (mark, seq) in answered {
            match heard.events.get(seq) {
                Some(event) if event["attributes"]["mark"] == *mark => {}
                other => faults.push(format!("{mark} was answered as {seq}, where there is {other:?}")),
            }
        }
        let last = u64::try_from(heard.events.len()).unwrap();
        faults.extend((1..=last).filter(|seq| !heard.events.contains_key(seq)).map(|seq| format!("{seq} is missing")));
        assert!(faults.is_empty(), "{} faults, the first: {:#?}", faults.len(), &faults[..faults.len().min(10)]);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One connection, from its beginning to its end.
fn listen(heard: &Mutex<Heard>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", PORT))?;
    stream.set_nodelay(true)?;
    stream.write_all(CONNECT)?;
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&chunk[..count]);
        let (mut at, mut says) = (0, Vec::new());
        while let Some((kind, body, used)) = packet(&bytes[at..]) {
            match kind >> 4 {
                CONNACK => says.extend_from_slice(SUBSCRIBE),
                SUBACK => heard.lock().unwrap().subscribed = true,
                PUBLISH => {
                    let (topic, id, payload) = topic_and_payload(body, false);
                    heard.lock().unwrap().take(&topic, payload);
                    says.extend_from_slice(&[0x40, 2]);
                    says.extend(id.to_be_bytes());
                }
                other => panic!("packet {other}"),
            }
            at += used;
        }
        bytes.drain(..at);
        // A broker that has died may have handed over more than was read.
        let _ = stream.write_all(&says);
    }
}
