//! One conversation over a byte stream, TCP or serial: read, decode, commit, answer.

use std::future::poll_fn;
use std::io;
use std::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use zeroize::Zeroize;

use super::intake::{Answer, Intake};
use super::lines::Line;
use super::tls::Pin;
use crate::command::Order;
use crate::log::LogError;
use crate::protocol::{self, Fault, Message, Outcome, Stream};
use crate::terminals::Terminal;

/// Bytes read at once.
const READ_BYTES: usize = 4096;
/// A peer that does not take our answers for this long has gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a session waits for a commit before it gives up; a healthy log takes milliseconds.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the answer to a command is waited for although nobody wants it any more: until then it would be taken for that
/// to the next.
const LATE: Duration = Duration::from_secs(120);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The other side hung up, or the port was unplugged.
    #[error("the other side hung up")]
    HungUp,
    /// Nothing was said for too long.
    #[error("nothing was said for {0:?}")]
    Idle(Duration),
    /// The stream failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The frames cannot be told apart any more.
    #[error("the frames cannot be told apart any more")]
    Broken,
    /// The terminal may not speak here.
    #[error("{0}")]
    Unwelcome(String),
    /// The log takes nothing any more.
    #[error("the event log takes nothing any more")]
    Log,
    /// The configuration has another terminal of this name now, or none.
    #[error("the terminal's configuration has changed")]
    Reconfigured,
    /// The gateway or the link stops.
    #[error("the link stops")]
    Stopping,
}

struct Session<S> {
    stream: S,
    intake: Arc<Intake>,
    decoder: Stream,
    /// Who speaks, once that is known.
    terminal: Option<Arc<Terminal>>,
    /// The certificate that the other side has shown.
    peer: Option<Pin>,
    decoded: Vec<Result<Message, Fault>>,
    /// Where commands come from, once it is known who speaks.
    line: Option<Line>,
    /// The command that is out, and when it is forgotten.
    out: Option<(Order, Instant)>,
    /// Whether a customer's transaction is open at the terminal.
    in_transaction: bool,
    /// Changes with the configured terminals.
    inventory: watch::Receiver<u64>,
}

/// What happened first.
enum Next {
    Bytes,
    Quiet,
    Order(Order),
    Late,
}

/// Serves one stream until it ends.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    intake: Arc<Intake>,
    opened: &str,
    peer: Option<Pin>,
) -> End {
    let decoder = match intake.stream() {
        Ok(decoder) => decoder,
        // A configuration that was checked names a dialect that there is.
        Err(error) => return End::Unwelcome(error.to_string()),
    };
    let terminal = intake.expected();
    if let Some(terminal) = &terminal {
        intake.begin(terminal, opened);
    }
    let inventory = intake.shared.inventory.changes();
    let mut session = Session {
        stream,
        intake,
        decoder,
        terminal,
        peer,
        decoded: Vec::new(),
        line: None,
        out: None,
        in_transaction: false,
        inventory,
    };
    session.connect();
    let end = session.run().await.err().unwrap_or(End::HungUp);
    match (&session.terminal, &end) {
        (Some(terminal), End::Reconfigured) => session.intake.forget(terminal),
        (Some(terminal), _) => session.intake.end(terminal, matches!(end, End::HungUp), &end.to_string()),
        (None, _) => {}
    }
    end
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(&mut self) -> Result<(), End> {
        if !self.intake.listen_only {
            let opening = self.decoder.opening();
            self.say(&opening).await?;
        }
        let mut heard = Instant::now();
        loop {
            let read = self.read(heard).await;
            let mut then = Vec::new();
            match read {
                Ok(Next::Bytes) => heard = Instant::now(),
                Ok(Next::Order(order)) => {
                    self.send(order).await?;
                    continue;
                }
                Ok(Next::Late) => {
                    self.settle(None);
                    continue;
                }
                Ok(Next::Quiet) => then = self.decoder.quiet(&mut |message| self.decoded.push(message)),
                // Where it is we who go, half a line is no bad one: its source says it again.
                Err(End::Stopping | End::Reconfigured) if self.decoder.is_kept_until_answered() => {}
                // Half a frame at the end is an event too.
                Err(_) => self.decoder.finish(&mut |message| self.decoded.push(message)),
            }
            self.deal().await?;
            read?;
            self.say(&then).await?;
            if self.decoder.is_broken() {
                return Err(End::Broken);
            }
        }
    }

    /// Reads at least one byte and decodes it, unless the line is quiet for longer than the protocol likes, or a command is
    /// to be sent. Nothing read at all is the end: for a serial port, an unplugged one.
    async fn read(&mut self, heard: Instant) -> Result<Next, End> {
        let stop = self.intake.stop().clone();
        let quiet = self.decoder.patience().map(|patience| Instant::now() + patience);
        let idle = self.intake.idle.map(|limit| heard + limit);
        let late = self.out.as_ref().map(|(_, late)| *late);
        let count = tokio::select! {
            order = order(&mut self.line), if late.is_none() => return Ok(Next::Order(order)),
            () = at(late) => return Ok(Next::Late),
            count = take_in(&mut self.stream, &mut self.decoder, &mut self.decoded) => count?,
            () = at(quiet) => return Ok(Next::Quiet),
            () = at(idle) => return Err(End::Idle(self.intake.idle.unwrap_or_default())),
            () = stop.cancelled() => return Err(End::Stopping),
            () = outdated(&mut self.inventory, &self.intake, self.terminal.as_ref()) => return Err(End::Reconfigured),
        };
        if count == 0 {
            return Err(End::HungUp);
        }
        let received = self.intake.shared.metrics.link_received_bytes.with_label_values(&self.intake.labels());
        received.inc_by(u64::try_from(count).unwrap_or(0));
        Ok(Next::Bytes)
    }

    /// Lets commands for whoever speaks come here, where the link takes any.
    fn connect(&mut self) {
        let Some(terminal) = self.terminal.as_ref().filter(|_| self.intake.commands) else { return };
        if !self.line.as_ref().is_some_and(|line| line.is_of(&terminal.name)) {
            self.out = None;
            self.in_transaction = false;
            self.line = Some(self.intake.shared.lines.connect(&terminal.name, self.intake.protocol));
        }
    }

    /// Sends a command that nobody has given up yet.
    async fn send(&mut self, order: Order) -> Result<(), End> {
        let Some(frame) = self.decoder.wrap(&order.message).filter(|_| !order.told.is_closed()) else { return Ok(()) };
        self.out = Some((order, Instant::now() + LATE));
        if let Some(line) = &self.line {
            line.set_busy(true);
        }
        self.say(&frame).await
    }

    /// The command that is out is out no more.
    fn settle(&mut self, told: Option<crate::command::Told>) {
        if let (Some((order, _)), Some(told)) = (self.out.take(), told) {
            // Whoever gave it up does not listen.
            let _ = order.told.send(told);
        }
        if let Some(line) = &self.line {
            line.set_busy(false);
        }
    }

    /// Takes a message for the answer to the command that is out, where it is.
    fn note(&mut self, message: &Message) {
        let other = |name: &str| {
            !self.terminal.as_ref().is_some_and(|known| known.name == name || known.luno.as_deref() == Some(name))
        };
        if self.line.is_none() || (self.intake.expected().is_none() && message.speaker().is_some_and(other)) {
            return;
        }
        let told =
            self.out.as_ref().and_then(|(order, _)| protocol::command::told(message, order.ask, self.in_transaction));
        if told.is_some() {
            self.settle(told);
        }
        self.in_transaction = protocol::command::transaction(message).unwrap_or(self.in_transaction);
    }

    /// Has everything decoded so far committed, and answered in order.
    async fn deal(&mut self) -> Result<(), End> {
        let decoded = std::mem::take(&mut self.decoded);
        let mut answers = Vec::with_capacity(decoded.len());
        for heard in decoded {
            let answer = match &heard {
                Ok(message) => self.hear(message)?,
                Err(fault) => {
                    let labels = self.intake.labels();
                    self.intake.shared.metrics.link_faults.with_label_values(&labels).inc();
                    self.intake.take_fault(self.terminal.as_deref(), fault)
                }
            };
            answers.push((heard, answer));
        }
        let mut said = Vec::new();
        let mut end = Ok(());
        for (heard, answer) in answers {
            let outcome = committed(answer).await;
            // Whether the event is kept is not known: the source must send it again, and so gets no answer.
            if let Err((_, Some(End::Log))) = outcome {
                end = Err(End::Log);
                break;
            }
            let told = match &outcome {
                Ok(Some(seq)) => Outcome::Committed(*seq),
                Ok(None) => Outcome::Heard,
                Err((reason, _)) => Outcome::Refused(reason),
            };
            said.extend(self.decoder.answer(&heard, told, self.intake.protocol));
            // An answer to a command is one even where there is no room to keep it.
            if let (Ok(message), Ok(_) | Err((_, None))) = (&heard, &outcome) {
                self.note(message);
            }
            if let Err((_, Some(fatal))) = outcome {
                end = Err(fatal);
                break;
            }
        }
        self.say(&said).await?;
        end
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), End> {
        if bytes.is_empty() || self.intake.listen_only {
            return Ok(());
        }
        timeout(WRITE_TIMEOUT, self.stream.write_all(bytes)).await.map_err(|_| End::Idle(WRITE_TIMEOUT))??;
        Ok(())
    }

    /// Hands one message on.
    fn hear(&mut self, message: &Message) -> Result<Answer, End> {
        self.intake.shared.metrics.link_messages.with_label_values(&self.intake.labels()).inc();
        if let Message::Upload(document) = message {
            return Ok(self.intake.take_upload(document));
        }
        let speaker = match (message.speaker(), &self.terminal) {
            (Some(name), Some(known)) if known.name != name && known.luno.as_deref() != Some(name) => {
                match self.intake.identify(name, self.peer) {
                    Ok(terminal) if message.is_hello() => {
                        // From now on somebody else speaks.
                        self.intake.end(known, true, "another terminal speaks");
                        self.intake.begin(&terminal, "connected");
                        self.terminal = Some(Arc::clone(&terminal));
                        self.connect();
                        Some(terminal)
                    }
                    Ok(terminal) => Some(terminal),
                    Err(reason) => return Ok(Answer::Unwelcome(reason)),
                }
            }
            (Some(name), None) => match self.intake.identify(name, self.peer) {
                Ok(terminal) => {
                    self.intake.begin(&terminal, "connected");
                    self.terminal = Some(Arc::clone(&terminal));
                    self.connect();
                    Some(terminal)
                }
                Err(reason) => return Ok(Answer::Unwelcome(reason)),
            },
            (_, known) => known.clone(),
        };
        if message.is_hello() {
            return Ok(Answer::Heard);
        }
        let Some(terminal) = speaker else {
            return Ok(Answer::Unwelcome("say who you are first: {\"hello\":\"<terminal>\"}".to_owned()));
        };
        Ok(self.intake.take(&terminal, message))
    }
}

/// Completes where whoever speaks on a link that several share is no longer configured as they were: who they are now, they
/// have to say again. A link of its own is ended as a whole.
async fn outdated(changes: &mut watch::Receiver<u64>, intake: &Intake, terminal: Option<&Arc<Terminal>>) {
    while changes.changed().await.is_ok() {
        let Some(terminal) = terminal.filter(|_| intake.expected().is_none()) else { continue };
        if !intake.shared.inventory.has(terminal) {
            return;
        }
    }
    std::future::pending().await
}

/// The next command; never where none can come.
async fn order(line: &mut Option<Line>) -> Order {
    match line {
        // The list keeps the other end for as long as the line lasts.
        Some(line) => match line.orders.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The place of a committed event, or the reason against it and, where the session cannot go on, why. `None` where there
/// was nothing to keep.
pub(super) async fn committed(answer: Answer) -> Result<Option<u64>, (String, Option<End>)> {
    match answer {
        Answer::Heard => Ok(None),
        Answer::Refused(reason) => Err((reason, None)),
        Answer::Unwelcome(reason) => Err((reason.clone(), Some(End::Unwelcome(reason)))),
        Answer::Stopped => Err((String::new(), Some(End::Log))),
        Answer::Pending(receiver) => match timeout(COMMIT_TIMEOUT, receiver).await {
            Ok(Ok(Ok(receipt))) => Ok(Some(receipt.seqs.first().copied().unwrap_or(0))),
            Ok(Ok(Err(LogError::Refused(reason)))) => Err((reason, None)),
            // Nothing of it is kept, and whoever can hear that is told; the conversation goes on.
            Ok(Ok(Err(error @ LogError::NoRoom(_)))) => Err((error.to_string(), None)),
            _ => Err((String::new(), Some(End::Log))),
        },
    }
}

/// Reads once and decodes on the spot. The buffer is there only while something is read: a connection that waits costs
/// nothing for it, and no card data stays in it.
async fn take_in<S: AsyncRead + Unpin>(
    stream: &mut S,
    decoder: &mut Stream,
    decoded: &mut Vec<Result<Message, Fault>>,
) -> io::Result<usize> {
    poll_fn(|context| {
        let mut bytes = [0_u8; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(pin::Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        let count = buffer.filled().len();
        decoder.push(buffer.filled(), &mut |message| decoded.push(message));
        bytes.zeroize();
        Poll::Ready(Ok(count))
    })
    .await
}
