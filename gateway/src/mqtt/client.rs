//! One TCP or TLS connection that speaks MQTT: words in, packets out. It knows no events and decides nothing.
//!
//! Everything unfinished (half a packet read, half a packet written) stands in the client, so that whoever waits for a
//! word may stop waiting at any moment. Reading never waits for writing: a broker that acknowledges before it reads on
//! cannot lock us up.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls;
use super::wire::{Garbled, Greeting, Limits, Login, Packet, Reader, Version, Word};

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// While so many bytes wait to be written, nothing is added: memory stays bounded where the line is slow.
const ENOUGH: usize = 256 * 1024;
/// Longest time that a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where to connect, and how.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Settings of TLS and the name that the broker's certificate must bear; none for plain TCP.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// When our own certificate ends, where we have one to show, in seconds of Unix time.
    pub(crate) own_expiry: Option<i64>,
}

/// When the certificates of a connection end, in seconds of Unix time; none where none was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expiries {
    /// Ours.
    pub(crate) own: Option<i64>,
    /// The broker's.
    pub(crate) peer: Option<i64>,
}

/// Why there is no connection, or no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the broker cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("no TLS with the broker: {0}")]
    Tls(String),
    #[error("the broker did not answer in time")]
    Timeout,
    #[error("the broker refused us: {0}")]
    Refused(String),
    #[error("the broker ended the connection: {0}")]
    Ended(String),
    #[error("the broker closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Failed(io::Error),
    #[error("the broker did not answer a ping")]
    Silent,
    #[error("{0}")]
    Garbled(#[from] Garbled),
}

impl Broken {
    /// Whether it was the broker, or the line, that ended a connection, and not we.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self, Broken::Ended(_) | Broken::Closed | Broken::Failed(_))
    }

    /// The outcome of a connection attempt, as a metric label.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Broken::Unreachable(_) => "unreachable",
            Broken::Tls(_) => "tls",
            Broken::Timeout => "timeout",
            Broken::Refused(_) | Broken::Ended(_) => "refused",
            Broken::Closed | Broken::Failed(_) | Broken::Silent | Broken::Garbled(_) => "failed",
        }
    }
}

/// A connection that the broker has accepted.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    expiries: Expiries,
    version: Version,
    reader: Reader,
    heard: BytesMut,
    unsaid: BytesMut,
    /// Whether the stream may hold bytes back that were written to it.
    unflushed: bool,
    keep_alive: Duration,
    heard_at: Instant,
    said_at: Instant,
    pinged_at: Option<Instant>,
}

impl Client {
    /// Connects and waits for the broker's welcome, all within `patience`.
    pub(crate) async fn connect(
        route: &Route,
        version: Version,
        greeting: &Greeting,
        login: &Login,
        patience: Duration,
    ) -> Result<(Client, Limits), Broken> {
        tokio::time::timeout(patience, Client::establish(route, version, greeting, login))
            .await
            .unwrap_or(Err(Broken::Timeout))
    }

    async fn establish(
        route: &Route,
        version: Version,
        greeting: &Greeting,
        login: &Login,
    ) -> Result<(Client, Limits), Broken> {
        let tcp = TcpStream::connect((route.host.as_str(), route.port)).await.map_err(Broken::Unreachable)?;
        // Single events must not wait for the acknowledgement of the segment before.
        tcp.set_nodelay(true).map_err(Broken::Unreachable)?;
        let mut expiries = Expiries::default();
        let stream: Box<dyn Stream> = match &route.tls {
            None => Box::new(tcp),
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), tcp).await.map_err(failed)?;
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                expiries = Expiries { own: route.own_expiry, peer: shown.and_then(crate::tls::expiry) };
                Box::new(stream)
            }
        };
        let now = Instant::now();
        let mut client = Client {
            stream,
            expiries,
            version,
            reader: Reader::new(version),
            heard: BytesMut::with_capacity(CHUNK),
            unsaid: BytesMut::new(),
            unflushed: false,
            keep_alive: Duration::from_secs(u64::from(greeting.keep_alive_s)),
            heard_at: now,
            said_at: now,
            pinged_at: None,
        };
        version.greet(greeting, login, &mut client.unsaid)?;
        match client.hear().await? {
            Word::Welcome(limits) => {
                if let Some(seconds) = limits.keep_alive_s {
                    client.keep_alive = Duration::from_secs(u64::from(seconds));
                }
                Ok((client, limits))
            }
            Word::Refusal(why) => Err(Broken::Refused(why)),
            Word::Goodbye(why) => Err(Broken::Ended(why)),
            Word::Ack(..) | Word::Subscribed(..) | Word::Delivery(_) | Word::Pong => {
                Err(Broken::Refused("it answered before it accepted us".to_owned()))
            }
        }
    }

    /// When the certificates end that both sides have shown.
    pub(crate) fn expiries(&self) -> Expiries {
        self.expiries
    }

    /// Whether the line keeps up with what is said.
    pub(crate) fn is_ready(&self) -> bool {
        self.unsaid.len() < ENOUGH
    }

    /// Puts a packet behind what is to be written; [`Client::hear`] writes it.
    pub(crate) fn say(&mut self, packet: Packet, id: u16) -> Result<(), Broken> {
        Ok(packet.write(id, &mut self.unsaid)?)
    }

    /// Puts a subscription behind what is to be written.
    pub(crate) fn subscribe(&mut self, filter: String, id: u16) -> Result<(), Broken> {
        Ok(self.version.subscribe(filter, id, &mut self.unsaid)?)
    }

    /// Puts an acknowledgement behind what is to be written.
    pub(crate) fn acknowledge(&mut self, id: u16) {
        self.version.acknowledge(id, &mut self.unsaid);
    }

    /// Pings a broker that we did not speak to, or that did not speak to us, for the time of the keep-alive.
    pub(crate) fn keep_alive(&mut self, now: Instant, patience: Duration) -> Result<(), Broken> {
        if self.pinged_at.is_some_and(|at| now.saturating_duration_since(at) > patience) {
            return Err(Broken::Silent);
        }
        let quiet = now.saturating_duration_since(self.heard_at.min(self.said_at));
        if self.pinged_at.is_none() && !self.keep_alive.is_zero() && quiet >= self.keep_alive {
            self.version.ping(&mut self.unsaid);
            self.pinged_at = Some(now);
        }
        Ok(())
    }

    /// A word that has arrived whole.
    pub(crate) fn heard(&mut self) -> Result<Option<Word>, Broken> {
        let word = self.reader.read(&mut self.heard)?;
        if word == Some(Word::Pong) {
            self.pinged_at = None;
        }
        Ok(word)
    }

    /// Writes what is to be written, and returns with the next word. May be dropped and called again at any moment.
    pub(crate) async fn hear(&mut self) -> Result<Word, Broken> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Word, Broken>> {
        // What a broker says before it hangs up is heard, although nothing can be written any more.
        let mut mute = self.poll_write(context).err();
        loop {
            if let Some(word) = self.heard()? {
                return Poll::Ready(Ok(word));
            }
            let mut chunk = [std::mem::MaybeUninit::uninit(); CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            match (Pin::new(&mut self.stream).poll_read(context, &mut chunk), mute.take()) {
                (Poll::Pending, Some(error)) => return Poll::Ready(Err(failed(error))),
                (read, broken) => {
                    mute = broken;
                    ready!(read).map_err(failed)?;
                }
            }
            if chunk.filled().is_empty() {
                return Poll::Ready(Err(Broken::Closed));
            }
            self.heard.extend_from_slice(chunk.filled());
            self.heard_at = Instant::now();
        }
    }

    /// Writes as much as the stream takes now.
    fn poll_write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while !self.unsaid.is_empty() {
            let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, &self.unsaid)? else {
                return Ok(());
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unsaid.advance(written);
            self.unflushed = true;
            self.said_at = Instant::now();
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(context)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    /// Says farewell, after which the broker drops our will. Whether it arrives is not known, and changes nothing.
    pub(crate) async fn leave(mut self) {
        self.version.leave(&mut self.unsaid);
        let farewell = async {
            self.stream.write_all(&self.unsaid).await?;
            self.stream.flush().await?;
            self.stream.shutdown().await
        };
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
            tracing::debug!("the broker did not hear our farewell");
        }
    }
}

/// A fault of the stream: of TLS where it says so, else of the line.
fn failed(error: io::Error) -> Broken {
    match tls::explain(&error) {
        Some(why) => Broken::Tls(why),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Broken::Closed,
        None => Broken::Failed(error),
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("version", &self.version).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::mqtt::wire::{Publication, Resume};

    fn greeting() -> Greeting {
        let will = Publication { topic: "h".to_owned(), payload: bytes::Bytes::new(), retain: false, content: None };
        Greeting { client_id: "id".to_owned(), keep_alive_s: 15, will: Some(will), session: Resume::Never }
    }

    /// A client, and the other end of its line after the welcome.
    async fn pair() -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let route = Route {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().expect("bound").port(),
            tls: None,
            own_expiry: None,
        };
        let greeting = greeting();
        let connect = Client::connect(&route, Version::V5, &greeting, &None, Duration::from_secs(5));
        let accept = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(&[0x20, 3, 0, 0, 0]).await.expect("writes");
            let mut greeting = [0; 256];
            assert!(stream.read(&mut greeting).await.expect("reads") > 0);
            stream
        };
        let (connected, stream) = tokio::join!(connect, accept);
        (connected.expect("is welcome").0, stream)
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_no_byte_either_way() {
        let (mut client, mut broker) = pair().await;
        let publication =
            Publication { topic: "t".to_owned(), payload: vec![b'x'; 4_000_000].into(), retain: false, content: None };
        let packet = Version::V5.packet(publication);
        let size = packet.size();
        client.say(packet, 1).expect("fits");
        assert!(!client.is_ready(), "a slow line is given no more");
        let reader = tokio::spawn(async move {
            let mut all = vec![0; size];
            broker.read_exact(&mut all).await.expect("the whole packet");
            for byte in [0x40, 2, 0, 1] {
                broker.write_all(&[byte]).await.expect("writes");
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            broker
        });
        let mut given_up = 0;
        let word = loop {
            match tokio::time::timeout(Duration::from_millis(1), client.hear()).await {
                Ok(word) => break word.expect("a word"),
                Err(_) => given_up += 1,
            }
        };
        assert_eq!(word, Word::Ack(1, super::super::wire::Verdict::Accepted));
        assert!(given_up > 1);
        drop(reader.await.expect("reads"));
        assert!(matches!(client.hear().await, Err(Broken::Closed | Broken::Failed(_))));
    }

    #[tokio::test]
    async fn what_a_broker_says_is_heard_while_it_reads_nothing() {
        let (mut client, mut broker) = pair().await;
        let payload = bytes::Bytes::from(vec![b'x'; 32_000_000]);
        let publication = Publication { topic: "t".to_owned(), payload, retain: false, content: None };
        client.say(Version::V5.packet(publication), 1).expect("fits");
        for id in 7..=9 {
            broker.write_all(&[0x40, 2, 0, id]).await.expect("writes");
            let word = tokio::time::timeout(Duration::from_secs(20), client.hear()).await.expect("in time");
            assert_eq!(word.expect("a word"), Word::Ack(u16::from(id), super::super::wire::Verdict::Accepted));
            assert!(!client.is_ready(), "what it does not read is still to be written");
        }
    }

    #[tokio::test]
    async fn a_silent_broker_is_pinged_and_then_given_up() {
        let (mut client, mut broker) = pair().await;
        let (start, patience) = (Instant::now(), Duration::from_secs(10));
        client.keep_alive(start, patience).expect("nothing is due");
        client.keep_alive(start + Duration::from_secs(16), patience).expect("a ping");
        let mut ping = [0; 2];
        let hear = async { client.hear().await.map(drop) };
        tokio::select! {
            heard = hear => panic!("nothing was said: {heard:?}"),
            read = broker.read_exact(&mut ping) => { read.expect("reads"); }
        }
        assert_eq!(ping, [0xc0, 0]);
        assert!(matches!(client.keep_alive(start + Duration::from_secs(27), patience), Err(Broken::Silent)));
        broker.write_all(&[0xd0, 0]).await.expect("writes");
        assert_eq!(client.hear().await.expect("a word"), Word::Pong);
        client.keep_alive(start + Duration::from_secs(27), patience).expect("it has answered");
    }
}
