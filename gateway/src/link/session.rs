//! One conversation over a byte stream, TCP or serial: read, decode, commit, answer.

use std::future::poll_fn;
use std::io;
use std::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use zeroize::Zeroize;

use super::intake::{Answer, Intake};
use super::tls::Pin;
use crate::log::LogError;
use crate::protocol::{Fault, Message, Outcome, Stream};
use crate::terminals::Terminal;

/// Bytes read at once.
const READ_BYTES: usize = 4096;
/// A peer that does not take our answers for this long has gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a session waits for a commit before it gives up; a healthy log takes milliseconds.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);

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
    /// The gateway stops.
    #[error("the gateway stops")]
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
        intake.count(terminal, true, opened);
    }
    let mut session = Session { stream, intake, decoder, terminal, peer, decoded: Vec::new() };
    let end = session.run().await.err().unwrap_or(End::HungUp);
    if let Some(terminal) = &session.terminal {
        session.intake.count(terminal, false, &end.to_string());
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
                Ok(Some(())) => heard = Instant::now(),
                Ok(None) => then = self.decoder.quiet(&mut |message| self.decoded.push(message)),
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

    /// Reads at least one byte, and decodes it; `None` where the line was quiet for longer than the protocol likes. Nothing read at all
    /// is the end: for a serial port, an unplugged one.
    async fn read(&mut self, heard: Instant) -> Result<Option<()>, End> {
        let stop = self.intake.stop().clone();
        let quiet = self.decoder.patience().map(|patience| Instant::now() + patience);
        let idle = self.intake.idle.map(|limit| heard + limit);
        let count = tokio::select! {
            count = self.take_in() => count?,
            () = at(quiet) => return Ok(None),
            () = at(idle) => return Err(End::Idle(self.intake.idle.unwrap_or_default())),
            () = stop.cancelled() => return Err(End::Stopping),
        };
        if count == 0 {
            return Err(End::HungUp);
        }
        let received = self.intake.shared.metrics.link_received_bytes.with_label_values(&self.intake.labels());
        received.inc_by(u64::try_from(count).unwrap_or(0));
        Ok(Some(()))
    }

    /// Reads once and decodes on the spot. The buffer is there only while something is read: a connection that waits
    /// costs nothing for it, and no card data stays in it.
    async fn take_in(&mut self) -> io::Result<usize> {
        let Session { stream, decoder, decoded, .. } = self;
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
                        self.intake.count(known, false, "another terminal speaks");
                        self.intake.count(&terminal, true, "connected");
                        self.terminal = Some(Arc::clone(&terminal));
                        Some(terminal)
                    }
                    Ok(terminal) => Some(terminal),
                    Err(reason) => return Ok(Answer::Unwelcome(reason)),
                }
            }
            (Some(name), None) => match self.intake.identify(name, self.peer) {
                Ok(terminal) => {
                    self.intake.count(&terminal, true, "connected");
                    self.terminal = Some(Arc::clone(&terminal));
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
            _ => Err((String::new(), Some(End::Log))),
        },
    }
}
