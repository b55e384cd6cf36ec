//! A broker that misbehaves on request: just enough MQTT 5 to take publishes at QoS 1.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What happens to one publish.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// A PUBACK with this reason code.
    Ack(u8),
    /// No answer at all.
    Silence,
    /// The connection is closed.
    HangUp,
}

/// A publish that was read.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Connection, from 0.
    pub(crate) connection: usize,
    /// Place within the connection, from 0.
    pub(crate) place: usize,
    /// The topic.
    pub(crate) topic: String,
    /// The payload.
    pub(crate) json: serde_json::Value,
}

type Policy = Arc<dyn Fn(&Taken) -> Answer + Send + Sync>;
type Faults = Arc<Mutex<Vec<String>>>;

/// The broker; publishes that were answered with success are told to `accepted`.
pub(crate) struct FakeBroker {
    /// TCP port.
    pub(crate) port: u16,
    /// What was acknowledged.
    pub(crate) accepted: mpsc::UnboundedReceiver<Taken>,
    /// What no client may do.
    faults: Faults,
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        let faults = self.faults.lock().expect("not poisoned");
        assert!(faults.is_empty() || std::thread::panicking(), "{faults:?}");
    }
}

impl FakeBroker {
    /// A broker that allows `receive_max` messages in flight and asks `policy` what to do with each. It acknowledges what
    /// it read at once in reverse order.
    pub(crate) async fn start(
        receive_max: Option<u16>,
        policy: impl Fn(&Taken) -> Answer + Send + Sync + 'static,
    ) -> FakeBroker {
        FakeBroker::allowing(move |_| receive_max, policy).await
    }

    /// The same, where each connection has a number of messages that it allows in flight.
    pub(crate) async fn allowing(
        receive_max: impl Fn(usize) -> Option<u16> + Send + 'static,
        policy: impl Fn(&Taken) -> Answer + Send + Sync + 'static,
    ) -> FakeBroker {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let (sender, accepted) = mpsc::unbounded_channel();
        let (policy, faults): (Policy, Faults) = (Arc::new(policy), Faults::default());
        let found = Arc::clone(&faults);
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                // A client that vanishes is an error here, and nothing to this broker.
                let receive_max = receive_max(connection);
                let (policy, found, sender) = (Arc::clone(&policy), Arc::clone(&found), sender.clone());
                tokio::spawn(serve(stream, connection, receive_max, policy, sender, found));
                connection += 1;
            }
        });
        FakeBroker { port, accepted, faults }
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    receive_max: Option<u16>,
    policy: Policy,
    accepted: mpsc::UnboundedSender<Taken>,
    faults: Faults,
) -> std::io::Result<()> {
    let fault = |text: String| faults.lock().expect("not poisoned").push(text);
    let mut bytes = Vec::new();
    let (mut place, mut silent) = (0, 0);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let mut acks = Vec::new();
        while let Some((kind, body, used)) = packet(&bytes) {
            match kind >> 4 {
                1 => {
                    let mut properties = Vec::new();
                    if let Some(receive_max) = receive_max {
                        properties.push(0x21);
                        properties.extend(receive_max.to_be_bytes());
                    }
                    let length = u8::try_from(properties.len()).expect("short");
                    let mut connack = vec![0x20, 3 + length, 0, 0, length];
                    connack.extend(properties);
                    stream.write_all(&connack).await?;
                }
                3 => {
                    if (kind >> 1) & 3 != 1 {
                        fault(format!("everything is published at QoS 1, and this was {kind:#x}"));
                    }
                    let (taken, id) = publish(body, connection, place);
                    place += 1;
                    match policy(&taken) {
                        Answer::Ack(reason) => {
                            acks.push((id, reason));
                            if reason < 0x80 {
                                let _ = accepted.send(taken);
                            }
                        }
                        Answer::Silence => silent += 1,
                        Answer::HangUp => return Ok(()),
                    }
                }
                12 => stream.write_all(&[0xd0, 0]).await?,
                14 => return Ok(()),
                other => fault(format!("a forwarder sends no packet of type {other}")),
            }
            bytes.drain(..used);
        }
        // What was read now is not acknowledged yet: all of it was in flight at once.
        if receive_max.is_some_and(|most| acks.len() + silent > usize::from(most)) {
            fault(format!("{} in flight where {receive_max:?} are allowed", acks.len() + silent));
        }
        for (id, reason) in acks.iter().rev() {
            let [high, low] = id.to_be_bytes();
            stream.write_all(&[0x40, 3, high, low, *reason]).await?;
        }
    }
}

/// The first whole packet: its first byte, its body, and its length.
pub(crate) fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (length, width) = varint(bytes.get(1..)?)?;
    let used = 1 + width + length;
    Some((bytes[0], bytes.get(1 + width..used)?, used))
}

pub(crate) fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// What a PUBLISH at QoS 1 holds, in MQTT 5 or 3.1.1: topic, packet id, payload.
pub(crate) fn topic_and_payload(body: &[u8], five: bool) -> (String, u16, &[u8]) {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let (topic, rest) = body[2..].split_at(length);
    let id = u16::from_be_bytes([rest[0], rest[1]]);
    let (properties, width) = if five { varint(&rest[2..]).expect("a property length") } else { (0, 0) };
    (String::from_utf8(topic.to_vec()).expect("topics are UTF-8"), id, &rest[2 + width + properties..])
}

fn publish(body: &[u8], connection: usize, place: usize) -> (Taken, u16) {
    let (topic, id, payload) = topic_and_payload(body, true);
    let json = serde_json::from_slice(payload).expect("payloads are JSON");
    (Taken { connection, place, topic, json }, id)
}
