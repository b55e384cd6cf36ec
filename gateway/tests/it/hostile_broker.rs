//! A broker that means harm, as a seed decides: it acknowledges backwards, late, twice or never, refuses at random, says
//! that it has a session of ours, cuts the line at any byte, stops half-way and sends bytes that are no MQTT.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fake_broker::{packet, topic_and_payload};

/// What it does, and how often: one of so many messages or connections.
const WITHHELD: u64 = 1500;
const DOUBLED: u64 = 40;
const PUT_OFF: u64 = 60;
const REFUSED: u64 = 700;

/// Random numbers of one seed.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most.max(1)
    }

    fn one_of(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// What the broker has seen.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Places of events that it read whole and answered with success.
    pub(crate) accepted: Mutex<HashSet<u64>>,
    /// Places of events that it said it never takes.
    pub(crate) refused: Mutex<HashSet<u64>>,
    /// Publishes that it read.
    pub(crate) published: AtomicUsize,
    /// Connections that it accepted.
    pub(crate) connections: AtomicUsize,
    /// Lines that it cut.
    pub(crate) cut: AtomicUsize,
    /// Acknowledgements that it never sent.
    pub(crate) withheld: AtomicUsize,
    /// Events that it put off.
    pub(crate) put_off: AtomicUsize,
}

/// Starts one; the port, and what it sees. A line lives for about `span` bytes.
pub(crate) async fn start(seed: u64, five: bool, span: u64, tls: Option<TlsAcceptor>) -> (u16, Arc<Ledger>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let ledger = Arc::<Ledger>::default();
    let seen = Arc::clone(&ledger);
    tokio::spawn(async move {
        let mut dice = Dice::new(seed);
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, tls) = (Arc::clone(&seen), tls.clone());
            let own = Dice::new(dice.below(u64::MAX));
            tokio::spawn(async move {
                let line = Line { dice: own, five, left: 0, half_open: false, seen };
                match tls {
                    None => line.serve(stream, span).await,
                    Some(tls) => line.serve(tls.accept(stream).await?, span).await,
                }
            });
        }
    });
    (port, ledger)
}

struct Line {
    dice: Dice,
    five: bool,
    /// Bytes until the line is cut.
    left: u64,
    /// It is not cut: nothing more is read or written.
    half_open: bool,
    seen: Arc<Ledger>,
}

impl Line {
    async fn serve(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin, span: u64) -> io::Result<()> {
        self.left = if self.dice.one_of(8) { self.dice.below(400) } else { span / 2 + self.dice.below(span) };
        self.half_open = self.dice.one_of(12);
        let (mut bytes, mut acks) = (Vec::new(), Vec::new());
        let mut chunk = [0; 4096];
        loop {
            // What is late is sent when nothing else comes.
            let read = match tokio::time::timeout(Duration::from_millis(20), stream.read(&mut chunk)).await {
                Ok(read) => read?,
                Err(_) => {
                    self.answer(&mut stream, &mut acks, true).await?;
                    continue;
                }
            };
            if read == 0 {
                return Ok(());
            }
            let whole = u64::try_from(read).expect("small");
            if whole >= self.left {
                self.seen.cut.fetch_add(1, Ordering::Relaxed);
                let rest = usize::try_from(self.left).expect("small");
                bytes.extend_from_slice(&chunk[..rest]);
                self.take(&mut stream, &mut bytes, &mut acks).await?;
                // Acknowledgements may be on their way when the line is cut, even half of one.
                if self.dice.one_of(2) {
                    self.answer(&mut stream, &mut acks, false).await?;
                    stream.write_all(&[0x40][..usize::from(self.dice.one_of(2))]).await?;
                }
                if self.half_open {
                    std::future::pending::<()>().await;
                }
                return Ok(());
            }
            self.left -= whole;
            bytes.extend_from_slice(&chunk[..read]);
            self.take(&mut stream, &mut bytes, &mut acks).await?;
            let late = self.dice.one_of(3);
            if !late {
                self.answer(&mut stream, &mut acks, false).await?;
            }
        }
    }

    /// Reads what is whole.
    async fn take(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        bytes: &mut Vec<u8>,
        acks: &mut Vec<Vec<u8>>,
    ) -> io::Result<()> {
        while let Some((kind, body, used)) = packet(bytes) {
            match kind >> 4 {
                1 => {
                    let welcome = self.welcome();
                    stream.write_all(&welcome).await?;
                }
                3 => {
                    self.seen.published.fetch_add(1, Ordering::Relaxed);
                    let (topic, id, payload) = topic_and_payload(body, self.five);
                    let json: serde_json::Value = serde_json::from_slice(payload).expect("payloads are JSON");
                    let event = topic.contains("/event/");
                    let seq = json["sequence"].as_str().filter(|_| event).and_then(|seq| seq.parse().ok());
                    self.judge(id, seq, acks);
                }
                12 => acks.push(vec![0xd0, 0]),
                14 => return Err(io::ErrorKind::ConnectionAborted.into()),
                other => panic!("a forwarder sends no packet of type {other}"),
            }
            bytes.drain(..used);
        }
        Ok(())
    }

    fn welcome(&mut self) -> Vec<u8> {
        self.seen.connections.fetch_add(1, Ordering::Relaxed);
        let present = u8::from(self.dice.one_of(2));
        if self.dice.one_of(25) {
            return vec![0x77; 16];
        }
        match (self.five, self.dice.one_of(25)) {
            (true, true) => vec![0x20, 3, 0, 0x88, 0],
            (true, false) => {
                let receive = u8::try_from(1 + self.dice.below(200)).expect("small");
                vec![0x20, 6, present, 0, 3, 0x21, 0, receive]
            }
            (false, true) => vec![0x20, 2, 0, 3],
            (false, false) => vec![0x20, 2, present, 0],
        }
    }

    /// Decides about a publish that was read whole.
    fn judge(&mut self, id: u16, seq: Option<u64>, acks: &mut Vec<Vec<u8>>) {
        let [high, low] = id.to_be_bytes();
        if self.dice.one_of(WITHHELD) {
            self.seen.withheld.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut code = if self.dice.one_of(3) { 0x10 } else { 0x00 };
        if self.five && self.dice.one_of(PUT_OFF) {
            code = [0x80, 0x83, 0x87, 0x91, 0x97][usize::try_from(self.dice.below(5)).expect("small")];
        }
        if self.five && self.dice.one_of(REFUSED) {
            code = if self.dice.one_of(2) { 0x90 } else { 0x99 };
        }
        if let Some(seq) = seq {
            match code {
                0x00 | 0x10 => drop(self.seen.accepted.lock().expect("not poisoned").insert(seq)),
                0x90 | 0x99 => drop(self.seen.refused.lock().expect("not poisoned").insert(seq)),
                _ => drop(self.seen.put_off.fetch_add(1, Ordering::Relaxed)),
            }
        }
        let ack = if !self.five || (code == 0 && self.dice.one_of(2)) {
            vec![0x40, 2, high, low]
        } else {
            vec![0x40, 3, high, low, code]
        };
        if self.dice.one_of(DOUBLED) {
            acks.push(ack.clone());
        }
        acks.push(ack);
    }

    /// Sends acknowledgements, forwards, backwards or shuffled; some stay for later unless all must go.
    async fn answer(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        acks: &mut Vec<Vec<u8>>,
        all: bool,
    ) -> io::Result<()> {
        match self.dice.below(3) {
            0 => acks.reverse(),
            1 => {
                for at in (1..acks.len()).rev() {
                    let other = usize::try_from(self.dice.below(u64::try_from(at + 1).expect("small"))).expect("small");
                    acks.swap(at, other);
                }
            }
            _ => {}
        }
        let keep = if all { 0 } else { usize::try_from(self.dice.below(4)).expect("small").min(acks.len()) };
        let now: Vec<u8> = acks.drain(keep..).flatten().collect();
        stream.write_all(&now).await?;
        stream.flush().await
    }
}
