//! A broker with a session for commands, which means harm as a seed decides: it delivers again with or without a reason,
//! forgets its session, withholds and doubles acknowledgements, puts results off, and cuts the line at any byte.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fake_broker::{packet, topic_and_payload, varint};
use crate::hostile_broker::Dice;

/// Messages in flight to a client that cannot say how many it takes.
const UNTOLD: usize = 20;
/// How often it looks for something to do while nothing comes.
const TICK: Duration = Duration::from_millis(5);

/// What somebody wants the gateway to have.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Its topic.
    pub(crate) topic: String,
    /// What it says.
    pub(crate) payload: Vec<u8>,
    /// Whether it was kept for whoever comes.
    pub(crate) retained: bool,
}

/// What is asked of each message that the gateway acknowledges: what is wrong with that, if anything is.
type Judge = Box<dyn Fn(&Message, &Books) -> Option<String> + Send + Sync>;

/// What the broker knows.
#[derive(Default)]
pub(crate) struct Books {
    messages: Vec<Message>,
    acknowledged: Vec<bool>,
    subscribed: bool,
    /// Results that it took, by topic.
    pub(crate) told: BTreeMap<String, Vec<serde_json::Value>>,
    /// What ought not to have happened.
    pub(crate) wrong: Vec<String>,
    /// Messages that were delivered, all in all.
    pub(crate) delivered: usize,
    /// Connections for commands that it accepted.
    pub(crate) connections: usize,
    /// Sessions that it forgot.
    pub(crate) forgotten: usize,
}

/// How it behaves.
#[derive(Clone)]
pub(crate) struct Manners {
    /// MQTT 5, or 3.1.1.
    pub(crate) five: bool,
    /// How long a line lives, in bytes, about; for ever where it means no harm.
    pub(crate) span: Option<u64>,
    /// TLS, where it speaks it.
    pub(crate) tls: Option<TlsAcceptor>,
}

/// The broker.
pub(crate) struct CommandBroker {
    /// TCP port.
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    books: Mutex<Books>,
    judge: Mutex<Judge>,
}

impl CommandBroker {
    /// One with these messages for the gateway.
    pub(crate) async fn start(seed: u64, manners: Manners, messages: Vec<Message>) -> CommandBroker {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let books = Books { acknowledged: vec![false; messages.len()], messages, ..Books::default() };
        let judge: Judge = Box::new(|_, _| None);
        let shared = Arc::new(Shared { books: Mutex::new(books), judge: Mutex::new(judge) });
        let all = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut dice = Dice::new(seed);
            while let Ok((stream, _)) = listener.accept().await {
                let dice = Dice::new(dice.below(u64::MAX));
                let line = Line::new(manners.clone(), dice, Arc::clone(&all));
                let tls = manners.tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => line.serve(stream).await,
                        Some(tls) => line.serve(tls.accept(stream).await?).await,
                    }
                });
            }
        });
        CommandBroker { port, shared }
    }

    /// Asks this of each acknowledgement from now on.
    pub(crate) fn judge(&self, judge: impl Fn(&Message, &Books) -> Option<String> + Send + Sync + 'static) {
        *self.shared.judge.lock().expect("not poisoned") = Box::new(judge);
    }

    /// What it knows.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.shared.books.lock().expect("not poisoned")
    }
}

impl Books {
    /// Whether all messages were acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.acknowledged.iter().all(|acknowledged| *acknowledged)
    }

    /// Messages that were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.iter().filter(|acknowledged| **acknowledged).count()
    }
}

struct Line {
    manners: Manners,
    dice: Dice,
    shared: Arc<Shared>,
    /// Bytes until the line is cut.
    left: u64,
    /// Whether this is the connection for commands, and how many it takes at once.
    window: Option<usize>,
    /// Messages that are on their way by this line.
    flying: Vec<usize>,
    /// All that it has brought.
    brought: HashSet<usize>,
    out: Vec<u8>,
}

impl Line {
    fn new(manners: Manners, mut dice: Dice, shared: Arc<Shared>) -> Line {
        let left = manners.span.map_or(u64::MAX, |span| match dice.below(6) {
            0 => dice.below(120),
            _ => span / 2 + dice.below(span),
        });
        Line { manners, dice, shared, left, window: None, flying: Vec::new(), brought: HashSet::new(), out: Vec::new() }
    }

    fn harm(&mut self, one_of: u64) -> bool {
        self.manners.span.is_some() && self.dice.below(one_of) == 0
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.shared.books.lock().expect("not poisoned")
    }

    async fn serve(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            self.deliver();
            if !self.flush(&mut stream).await? {
                return Ok(());
            }
            let read = match tokio::time::timeout(TICK, stream.read(&mut chunk)).await {
                Ok(read) => read?,
                Err(_) => continue,
            };
            let whole = u64::try_from(read).expect("small");
            if read == 0 || whole >= self.left {
                return Ok(());
            }
            self.left -= whole;
            bytes.extend_from_slice(&chunk[..read]);
            while let Some((kind, body, used)) = packet(&bytes) {
                self.hear(kind, body)?;
                bytes.drain(..used);
            }
        }
    }

    /// Writes what there is to write; false where the line was cut meanwhile.
    async fn flush(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
        let out = std::mem::take(&mut self.out);
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        stream.write_all(&out[..most]).await?;
        stream.flush().await?;
        if most < out.len() {
            return Ok(false);
        }
        self.left -= u64::try_from(most).expect("small");
        Ok(true)
    }

    fn hear(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        match kind >> 4 {
            1 => self.welcome(body),
            3 => self.told(body),
            4 => self.acknowledged(u16::from_be_bytes([body[0], body[1]])),
            8 => self.subscribe(body),
            12 => self.out.extend([0xd0, 0]),
            14 => return Err(io::ErrorKind::ConnectionAborted.into()),
            other => self.books().wrong.push(format!("a packet of type {other}")),
        }
        Ok(())
    }

    fn welcome(&mut self, body: &[u8]) {
        let (five, flags) = (body[6] == 5, body[7]);
        let mut rest = &body[10..];
        let mut window = UNTOLD;
        if five {
            let (length, width) = varint(rest).expect("a property length");
            let properties = &rest[width..width + length];
            window = properties
                .windows(3)
                .find(|window| window[0] == 0x21)
                .map_or(window, |window| usize::from(u16::from_be_bytes([window[1], window[2]])));
            rest = &rest[width + length..];
        }
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let commands = rest[2..2 + length].ends_with(b"-commands");
        let forgets = self.harm(5);
        let mut books = self.books();
        if five != self.manners.five {
            books.wrong.push("another version than it was told".to_owned());
        }
        let mut present = false;
        if commands {
            books.connections += 1;
            if flags & 0b10 != 0 {
                books.wrong.push("a clean session".to_owned());
            }
            if forgets && books.subscribed {
                books.subscribed = false;
                books.forgotten += 1;
            }
            present = books.subscribed;
        }
        drop(books);
        self.window = commands.then_some(window);
        if five {
            self.out.extend([0x20, 6, u8::from(present), 0, 3, 0x21, 0, 20]);
        } else {
            self.out.extend([0x20, 2, u8::from(present), 0]);
        }
    }

    fn subscribe(&mut self, body: &[u8]) {
        self.books().subscribed = true;
        let id = [body[0], body[1]];
        if self.manners.five {
            self.out.extend([0x90, 4, id[0], id[1], 0, 1]);
        } else {
            self.out.extend([0x90, 3, id[0], id[1], 1]);
        }
    }

    /// Takes what the gateway publishes.
    fn told(&mut self, body: &[u8]) {
        let (topic, id, payload) = topic_and_payload(body, self.manners.five);
        let [high, low] = id.to_be_bytes();
        let result = topic.ends_with("/result");
        if result && self.harm(200) {
            return;
        }
        let code = if result && self.manners.five && self.harm(60) { 0x97 } else { 0 };
        if result && code == 0 {
            match serde_json::from_slice(payload) {
                Ok(json) => self.books().told.entry(topic).or_default().push(json),
                Err(error) => self.books().wrong.push(format!("a result that is no JSON: {error}")),
            }
        }
        let ack = if code == 0 { vec![0x40, 2, high, low] } else { vec![0x40, 3, high, low, code] };
        if result && self.harm(10) {
            self.out.extend(&ack);
        }
        self.out.extend(ack);
    }

    fn acknowledged(&mut self, id: u16) {
        let place = usize::from(id) - 1;
        let lost = self.harm(25);
        let mut books = self.shared.books.lock().expect("not poisoned");
        let Some(message) = books.messages.get(place).cloned() else {
            return books.wrong.push(format!("an acknowledgement of {id}, which there is not"));
        };
        if !books.acknowledged[place] {
            match self.flying.iter().position(|flying| *flying == place) {
                None if self.brought.contains(&place) => {}
                None => books.wrong.push(format!("an acknowledgement of {id}, which was not delivered here")),
                Some(0) => {}
                Some(at) => books.wrong.push(format!("an acknowledgement of {id} before {at} others")),
            }
        }
        self.flying.retain(|flying| *flying != place);
        let judged = (self.shared.judge.lock().expect("not poisoned"))(&message, &books);
        books.wrong.extend(judged.map(|why| format!("an acknowledgement of {}: {why}", message.topic)));
        // One that is lost on its way comes to the broker never.
        books.acknowledged[place] |= !lost;
    }

    /// Brings what is not acknowledged and not on its way, as far as the window goes.
    fn deliver(&mut self) {
        let Some(window) = self.window else { return };
        while self.flying.len() < window {
            let next = {
                let books = self.books();
                let after = self.flying.last().map_or(0, |last| last + 1);
                let next = (after..books.messages.len()).find(|place| !books.acknowledged[*place]);
                next.filter(|_| books.subscribed).map(|place| (place, books.messages[place].clone()))
            };
            let Some((place, message)) = next else { return };
            self.flying.push(place);
            self.brought.insert(place);
            let again = self.harm(2);
            let bytes = self.packet(place, &message, again);
            self.books().delivered += 1;
            self.out.extend(&bytes);
            if self.harm(12) {
                // The same at once again, as if it had been lost.
                let bytes = self.packet(place, &message, true);
                self.out.extend(bytes);
            }
        }
    }

    fn packet(&self, place: usize, message: &Message, again: bool) -> Vec<u8> {
        let topic = message.topic.as_bytes();
        let mut body = u16::try_from(topic.len()).expect("short").to_be_bytes().to_vec();
        body.extend(topic);
        body.extend(u16::try_from(place + 1).expect("few").to_be_bytes());
        if self.manners.five {
            body.push(0);
        }
        body.extend(&message.payload);
        let mut packet = vec![0x32 | u8::from(message.retained) | u8::from(again) << 3];
        let mut left = body.len();
        loop {
            let low = u8::try_from(left % 128).expect("seven bits");
            left /= 128;
            packet.push(if left > 0 { low | 0x80 } else { low });
            if left == 0 {
                packet.extend(body);
                return packet;
            }
        }
    }
}
