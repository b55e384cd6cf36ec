//! One WebSocket to one service, over TCP or TLS.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::reset::{Board, Seat, Wish};
use crate::event::Device;
use crate::link::address::Address;
use crate::link::dial::connect;
use crate::link::intake::Intake;
use crate::link::session::{End, committed};
use crate::protocol::xfs4iot::{Message, Query, Reset, Service, Type, decode};
use crate::protocol::{self, Fault};
use crate::terminals::Terminal;

/// How long the opening handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often the other side is asked for a sign of life.
const PING: Duration = Duration::from_secs(20);
/// Silence after which it counts as gone.
const SILENCE: Duration = Duration::from_secs(50);
/// A peer that does not take what we say for this long has gone.
const WRITE: Duration = Duration::from_secs(30);

/// The next wish for a reset; for ever where none can come.
async fn wish(seat: &mut Option<Seat>) -> Option<Wish> {
    match seat {
        Some(seat) => seat.wishes.recv().await,
        None => std::future::pending().await,
    }
}

/// A byte stream of any kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An open connection to a service.
pub(super) struct Socket {
    socket: WebSocketStream<Box<dyn Stream>>,
    /// Numbers of commands that were given out.
    numbers: u32,
    /// The device, as far as name and capabilities of the service say.
    device: Option<Device>,
}

/// What came on a connection.
pub(super) enum Heard {
    /// A message, or what is wrong with it, and its bytes.
    Said(Result<Box<Message>, Fault>, usize),
    /// A sign of life.
    Alive,
}

impl Socket {
    /// Connects to a service of this terminal.
    pub(super) async fn open(address: &Address, service: &Service, intake: &Intake) -> Result<Socket, String> {
        let stream = connect(address, service.port).await?;
        let stream: Box<dyn Stream> = match (&intake.tls, service.secure) {
            (_, false) => Box::new(stream),
            (Some(tls), true) => {
                let secured = tls.connect(&address.host, stream).await?;
                intake.show_peer(secured.expiry);
                Box::new(secured.stream)
            }
            (None, true) => return Err("the service wants TLS, and the link has no `tls`".to_owned()),
        };
        let scheme = if service.secure { "wss" } else { "ws" };
        let uri = format!("{scheme}://{}:{}{}", address.shown_host(), service.port, service.path);
        let limit = Some(intake.max_frame_bytes);
        let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
        match timeout(HANDSHAKE, client_async_with_config(uri, stream, Some(config))).await {
            Ok(Ok((socket, _))) => Ok(Socket { socket, numbers: 0, device: service.device() }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no WebSocket within {HANDSHAKE:?}")),
        }
    }

    /// Asks; the answer comes among everything else.
    pub(super) async fn ask(&mut self, query: Query) -> Result<(), End> {
        let number = self.number();
        self.say(Frame::text(query.message(number))).await
    }

    fn number(&mut self) -> u32 {
        self.numbers = self.numbers.saturating_add(1);
        self.numbers
    }

    async fn say(&mut self, frame: Frame) -> Result<(), End> {
        match timeout(WRITE, self.socket.send(frame)).await {
            Ok(said) => said.map_err(ended),
            Err(_) => Err(End::Idle(WRITE)),
        }
    }

    /// Whether a message is the completion of what was asked last.
    pub(super) fn answers_us(&self, message: &Message) -> bool {
        message.r#type == Type::Completion && message.request_id == Some(i64::from(self.numbers))
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Result<Heard, End> {
        Ok(match self.socket.next().await {
            None | Some(Ok(Frame::Close(_))) => return Err(End::HungUp),
            Some(Err(error)) => return Err(ended(error)),
            Some(Ok(Frame::Text(text))) => {
                let heard = Heard::Said(decode(text.as_bytes()).map(Box::new), text.len());
                // It may have held card data.
                if let Ok(mut bytes) = Bytes::from(text).try_into_mut() {
                    bytes.fill(0);
                }
                heard
            }
            Some(Ok(Frame::Binary(bytes))) => {
                Heard::Said(Err(Fault::new("a binary message; XFS4IoT has none", &[])), bytes.len())
            }
            Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => Heard::Alive,
        })
    }

    /// Asks how the service is, then hears what it has to say, until the connection ends.
    pub(super) async fn hear(
        &mut self,
        service: &Service,
        intake: &Arc<Intake>,
        terminal: &Terminal,
        board: &Arc<Board>,
    ) -> End {
        match self.listen(service, intake, terminal, board).await {
            Ok(()) => End::HungUp,
            Err(End::Stopping) => {
                // A polite end; the other side need not wait for it.
                let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
                End::Stopping
            }
            Err(end) => end,
        }
    }

    async fn listen(
        &mut self,
        service: &Service,
        intake: &Arc<Intake>,
        terminal: &Terminal,
        board: &Arc<Board>,
    ) -> Result<(), End> {
        for query in Query::OF_A_SERVICE {
            self.ask(query).await?;
        }
        let stop = intake.stop().clone();
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        // Where a reset is wanted, and the one that is under way.
        let (mut seat, mut out): (Option<Seat>, Option<(u32, Wish)>) = (None, None);
        loop {
            let reset = self.device.and_then(Reset::of).filter(|_| intake.commands);
            if reset.is_some() && seat.is_none() {
                seat = Some(board.sit(service.name()));
            }
            let next = tokio::select! {
                next = self.next() => next,
                Some(wish) = wish(&mut seat), if out.is_none() => {
                    if let Some(reset) = reset {
                        let number = self.number();
                        out = Some((number, wish));
                        self.say(Frame::text(reset.message(number))).await?;
                    }
                    continue;
                }
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(End::Idle(SILENCE));
                    }
                    self.say(Frame::Ping(Default::default())).await?;
                    continue;
                }
                () = stop.cancelled() => return Err(End::Stopping),
            };
            heard = Instant::now();
            let (decoded, bytes) = match next {
                Ok(Heard::Said(decoded, bytes)) => (decoded, bytes),
                Ok(Heard::Alive) => continue,
                Err(end) => {
                    if let End::Broken = end {
                        let reason = format!("a message of more than {} bytes", intake.max_frame_bytes);
                        self.fault(intake, terminal, &Fault::new(reason, &[])).await?;
                    }
                    return Err(end);
                }
            };
            let received = intake.shared.metrics.link_received_bytes.with_label_values(&intake.labels());
            received.inc_by(u64::try_from(bytes).unwrap_or(0));
            match decoded {
                Ok(message) => {
                    if let Some((number, wish)) = out.take() {
                        match Reset::told(&message, number) {
                            // Whoever gave it up does not listen.
                            Some(outcome) => drop(wish.send(outcome)),
                            None => out = Some((number, wish)),
                        }
                    }
                    if message.r#type == Type::Completion && message.name == Query::Capabilities.name() {
                        self.device = self.device.or(message.device);
                    }
                    let message = Box::new(message.of_service(self.device));
                    self.take(message, service, intake, terminal).await?;
                }
                Err(fault) => self.fault(intake, terminal, &fault).await?,
            }
        }
    }

    /// Has one message committed before the next is read.
    async fn take(
        &mut self,
        message: Box<Message>,
        service: &Service,
        intake: &Intake,
        terminal: &Terminal,
    ) -> Result<(), End> {
        intake.shared.metrics.link_messages.with_label_values(&intake.labels()).inc();
        let refused = message.completion_code.as_deref().is_some_and(|code| !code.eq_ignore_ascii_case("success"));
        if refused && message.r#type == Type::Completion {
            // Not every device has storage, and a question that was refused is no news of the terminal.
            tracing::debug!(
                link = intake.name,
                service = service.name(),
                name = message.name,
                "A question was refused."
            );
            return Ok(());
        }
        let message = protocol::Message::Xfs4iot(message);
        match committed(intake.take(terminal, &message)).await {
            Ok(_) | Err((_, None)) => Ok(()),
            Err((_, Some(end))) => Err(end),
        }
    }

    async fn fault(&mut self, intake: &Intake, terminal: &Terminal, fault: &Fault) -> Result<(), End> {
        intake.shared.metrics.link_faults.with_label_values(&intake.labels()).inc();
        match committed(intake.take_fault(Some(terminal), fault)).await {
            Ok(_) | Err((_, None)) => Ok(()),
            Err((_, Some(end))) => Err(end),
        }
    }
}

fn ended(error: Error) -> End {
    match error {
        Error::Io(error) => End::Io(error),
        Error::ConnectionClosed | Error::AlreadyClosed => End::HungUp,
        Error::Capacity(_) => End::Broken,
        error => End::Io(std::io::Error::other(error.to_string())),
    }
}
