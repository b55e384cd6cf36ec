//! Commands by a broker that brings them twice, cuts the line anywhere, and forgets what it was told: none is acknowledged
//! before it is kept, each is taken once, and the end of each is told until the broker has it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use vestibule::event::Kind;
use vestibule::log::Log;

use crate::commands::terminal;
use crate::fake_broker::{packet, topic_and_payload};
use crate::gateway::{DEADLINE, Running, free_port};
use crate::hostile_broker::Dice;

const COMMANDS: usize = 40;
/// Connections that end badly; those after them do not.
const CUT: u64 = 4;
/// Commands under way at once: the gateway allows no more.
const AT_ONCE: usize = 8;

/// What the broker knows.
#[derive(Default)]
struct Ledger {
    /// Commands that were not acknowledged, by their topics.
    due: BTreeMap<String, String>,
    /// How each command ended, as far as it was told, and how often.
    results: BTreeMap<String, usize>,
    connections: u64,
    /// Commands that came twice on the same connection.
    doubled: usize,
    faults: Vec<String>,
}

#[derive(Clone, Default)]
struct Broker {
    ledger: Arc<Mutex<Ledger>>,
    /// The log of the gateway that runs, as soon as it does.
    log: Arc<OnceLock<Log>>,
}

impl Broker {
    /// Starts it; the port.
    async fn start(&self, seed: u64) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let broker = self.clone();
        tokio::spawn(async move {
            let mut dice = Dice::new(seed);
            while let Ok((stream, _)) = listener.accept().await {
                let line = Line { broker: broker.clone(), dice: Dice::new(dice.below(u64::MAX)), left: None };
                tokio::spawn(line.serve(stream));
            }
        });
        port
    }

    fn look<T>(&self, at: impl FnOnce(&mut Ledger) -> T) -> T {
        at(&mut self.ledger.lock().expect("not poisoned"))
    }

    /// Whether the gateway has kept the command of this topic.
    fn is_kept(&self, topic: &str) -> bool {
        let id = topic.rsplit('/').next().expect("a topic");
        requested(self.log.get().expect("the gateway runs")).contains_key(id)
    }
}

/// How often each command was requested.
fn requested(log: &Log) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for stored in log.read_after(0, 10_000).expect("reads") {
        if stored.event.kind == Kind::CommandRequested {
            *counts.entry(stored.event.attributes["command_id"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
    }
    counts
}

struct Line {
    broker: Broker,
    dice: Dice,
    /// Packets until the line is cut, once somebody subscribes; the forwarder's line is left alone.
    left: Option<u64>,
}

impl Line {
    async fn serve(mut self, mut stream: TcpStream) -> io::Result<()> {
        let mut bytes = Vec::new();
        // What is under way, by packet id.
        let mut flying = BTreeMap::<u16, String>::new();
        let mut subscribed = false;
        loop {
            // There may be something to bring although nothing is said.
            if let Ok(read) = timeout(Duration::from_millis(20), stream.read_buf(&mut bytes)).await
                && read? == 0
            {
                return Ok(());
            }
            while let Some((kind, body, used)) = packet(&bytes) {
                match kind >> 4 {
                    // Whether there is a session is what chance says.
                    1 => {
                        // Behind name, version, flags, keep-alive and properties comes the client id.
                        let id = 11 + usize::from(body[10]);
                        if body[id..id + 2] == [0, 0] {
                            self.broker.look(|ledger| ledger.faults.push("a client without an id".to_owned()));
                        }
                        stream.write_all(&[0x20, 3, u8::from(self.dice.below(2) == 0), 0, 0]).await?;
                    }
                    3 => self.heard(&mut stream, body).await?,
                    4 => self.acknowledged(&mut flying, u16::from_be_bytes([body[0], body[1]])),
                    8 => {
                        stream.write_all(&[0x90, 4, body[0], body[1], 0, 1]).await?;
                        subscribed = true;
                        let bad = self.broker.look(|ledger| {
                            ledger.connections += 1;
                            ledger.connections <= CUT
                        });
                        self.left = bad.then(|| 3 + self.dice.below(12));
                    }
                    12 => stream.write_all(&[0xd0, 0]).await?,
                    14 => return Ok(()),
                    other => self.broker.look(|ledger| ledger.faults.push(format!("packet {other}"))),
                }
                bytes.drain(..used);
                match &mut self.left {
                    // Half a packet may be on its way.
                    Some(0) => {
                        return stream.write_all(&[0x32, 90, 0, 4][..usize::from(self.dice.below(2) == 0) * 4]).await;
                    }
                    Some(left) => *left -= 1,
                    None => {}
                }
            }
            if subscribed {
                self.bring(&mut stream, &mut flying).await?;
            }
        }
    }

    /// Brings what is not acknowledged, some of it twice.
    async fn bring(&mut self, stream: &mut TcpStream, flying: &mut BTreeMap<u16, String>) -> io::Result<()> {
        let under_way: BTreeSet<String> = flying.values().cloned().collect();
        let due: Vec<_> = self.broker.look(|ledger| {
            let due = ledger.due.iter().filter(|(topic, _)| !under_way.contains(*topic));
            due.take(AT_ONCE.saturating_sub(flying.len()))
                .map(|(topic, payload)| (topic.clone(), payload.clone()))
                .collect()
        });
        for (topic, payload) in due {
            for again in [false, true] {
                if again && (flying.len() >= AT_ONCE || self.dice.below(4) > 0) {
                    continue;
                }
                let id = (1..).find(|id| !flying.contains_key(id)).expect("one is free");
                flying.insert(id, topic.clone());
                self.broker.look(|ledger| ledger.doubled += usize::from(again));
                stream.write_all(&publish(&topic, id, &payload)).await?;
            }
        }
        Ok(())
    }

    fn acknowledged(&self, flying: &mut BTreeMap<u16, String>, id: u16) {
        let topic = flying.remove(&id);
        let kept = topic.as_ref().is_some_and(|topic| self.broker.is_kept(topic));
        self.broker.look(|ledger| match topic {
            Some(topic) if kept => drop(ledger.due.remove(&topic)),
            other => ledger.faults.push(format!("{other:?} ({id}) was acknowledged and is not kept")),
        });
    }

    /// What the gateway says: events of its forwarder, and how commands ended, some of which is not acknowledged.
    async fn heard(&mut self, stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
        let (topic, id, payload) = topic_and_payload(body, true);
        if topic.ends_with("/result") {
            if self.left.is_some() && self.dice.below(3) == 0 {
                return Ok(());
            }
            let told: Value = serde_json::from_slice(payload).expect("results are JSON");
            let id = told["id"].as_str().expect("an id").to_owned();
            self.broker.look(|ledger| *ledger.results.entry(id).or_default() += 1);
        }
        let [high, low] = id.to_be_bytes();
        stream.write_all(&[0x40, 2, high, low]).await
    }
}

/// A PUBLISH at QoS 1, by MQTT 5.
fn publish(topic: &str, id: u16, payload: &str) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).expect("short").to_be_bytes().to_vec();
    body.extend(topic.bytes().chain(id.to_be_bytes()).chain([0]).chain(payload.bytes()));
    let length = u8::try_from(body.len()).ok().filter(|length| *length < 128).expect("short");
    [vec![0x32, length], body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_acknowledged_before_it_is_kept_and_each_is_taken_once() {
    let broker = Broker::default();
    let port = broker.start(11).await;
    let rest = format!(
        "[forward]\nport = {port}\nack_timeout_s = 1\n[commands]\nmqtt = true\nmqtt_trust = \"broker\"\n\
         max_waiting = 1000\n{}",
        terminal(free_port(), "")
    );
    let gateway = Running::start(&rest).await;
    assert!(broker.log.set(gateway.log.clone()).is_ok());
    // Nobody is at the terminal: each waits for a second, and expires.
    let command = json!({"verb": "out_of_service", "ttl_s": 1}).to_string();
    let topic = |n: usize| format!("vestibule/v1/branch/atm-01/command/h{n:02}");
    broker.look(|ledger| ledger.due = (0..COMMANDS).map(|n| (topic(n), command.clone())).collect());
    let begun = Instant::now();
    while !broker.look(|ledger| ledger.due.is_empty() && ledger.results.len() == COMMANDS) {
        let summary = broker.look(|ledger| (ledger.due.len(), ledger.results.len(), ledger.connections));
        assert!(begun.elapsed() < 6 * DEADLINE, "{summary:?} are due, told, and connections");
        sleep(Duration::from_millis(20)).await;
    }
    let counts = requested(&gateway.log);
    assert_eq!(counts.len(), COMMANDS);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    broker.look(|ledger| {
        assert!(ledger.faults.is_empty(), "{:?}", ledger.faults);
        assert!(ledger.connections > CUT && ledger.doubled > 0, "{} {}", ledger.connections, ledger.doubled);
    });
    gateway.stop().await;
}
