//! A terminal that talks over a stream of bytes: what its voice says, at its tempo, and what it makes of what comes back.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::figures::Figures;
use super::line::Line;
use super::script::{Act, Play};
use super::tempo::Tempo;
use crate::protocol::framing::{Framer, Framing};

/// How long a terminal that was told to stop may take for the message that is under way, and its answer.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes read at once: what comes back is short.
const PIECE: usize = 512;

/// A part of what a terminal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing, for so many milliseconds of the script.
    Wait(u32),
    /// A message, without its frame.
    Message(Vec<u8>),
    /// The terminal is down, for so many milliseconds of the script.
    Down(u32),
}

/// What a terminal makes of something that it hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// A command that wants this answer, without its frame.
    Command(Vec<u8>),
    /// The message before was taken.
    Accepted,
    /// The message before was refused.
    Refused,
}

/// Turns acts into what a terminal of one protocol says; without I/O, and the same for the same seed and clock.
pub trait Voice: Send {
    /// Whether every message is answered, so that the next one waits for it.
    const ANSWERED: bool = false;

    /// What the terminal says at this act, at this time of its clock.
    fn act(&mut self, act: Act, now: &Zoned) -> Vec<Said>;

    /// What it makes of a frame that it hears.
    fn hear(&mut self, _frame: &[u8]) -> Heard {
        Heard::Nothing
    }
}

/// A terminal's own clock.
#[derive(Clone, Debug)]
pub enum Clock {
    /// That of this machine, in the terminal's zone.
    Real(TimeZone),
    /// One that only the script moves, for messages that are the same at every run.
    Script(Zoned),
}

impl Clock {
    pub(super) fn now(&self) -> Zoned {
        match self {
            Clock::Real(zone) => Timestamp::now().to_zoned(zone.clone()),
            Clock::Script(now) => now.clone(),
        }
    }

    pub(super) fn pass(&mut self, script_ms: u32) {
        if let Clock::Script(now) = self {
            let later = now.checked_add(SignedDuration::from_millis(i64::from(script_ms)));
            *now = later.unwrap_or_else(|_| now.clone());
        }
    }
}

/// What is left to say, kept across connections, and how it is said.
pub(super) struct Talk<V> {
    voice: V,
    play: Play,
    tempo: Tempo,
    clock: Clock,
    /// How its messages are framed.
    framing: Framing,
    /// How those are that come back.
    pub(super) back: Framing,
    queue: VecDeque<Said>,
    /// Messages that have gone out.
    sent: u64,
}

/// How a conversation ended.
enum End {
    /// The script is over, or it was told to stop.
    Done,
    /// The terminal went down by itself, for so many milliseconds of the script.
    Down(u32),
}

/// Whoever has something to say, and says it on whatever line there is.
pub(super) trait Talks {
    /// Over connections to the line's address, until the script ends or `shutdown`.
    fn call(self, line: Line, figures: &Figures, shutdown: &CancellationToken) -> impl Future<Output = ()> + Send;

    /// Over a line that is always there, until the script ends or `shutdown`.
    fn keep_on<S: AsyncRead + AsyncWrite + Unpin + Send>(
        self,
        stream: S,
        figures: &Figures,
        shutdown: &CancellationToken,
    ) -> impl Future<Output = io::Result<()>> + Send;
}

impl<V: Voice> Talks for Talk<V> {
    async fn call(mut self, mut line: Line, figures: &Figures, shutdown: &CancellationToken) {
        while let Some(mut stream) = line.connect(shutdown).await {
            let _connected = figures.connection();
            let before = self.sent;
            let ended = tokio::select! {
                ended = self.converse(&mut stream, figures, shutdown) => ended,
                () = overdue(shutdown) => return,
            };
            drop(stream);
            match ended {
                Ok(End::Done) => return,
                Ok(End::Down(ms)) => {
                    self.rest(ms, shutdown).await;
                    line.hung_up();
                }
                Err(_) => line.lost(self.sent > before),
            }
        }
    }

    async fn keep_on<S: AsyncRead + AsyncWrite + Unpin + Send>(
        mut self,
        mut stream: S,
        figures: &Figures,
        shutdown: &CancellationToken,
    ) -> io::Result<()> {
        let _connected = figures.connection();
        loop {
            let ended = tokio::select! {
                ended = self.converse(&mut stream, figures, shutdown) => ended?,
                () = overdue(shutdown) => return Ok(()),
            };
            match ended {
                End::Done => return Ok(()),
                End::Down(ms) => self.rest(ms, shutdown).await,
            }
        }
    }
}

impl<V: Voice> Talk<V> {
    /// A talk that begins, framed in this way in both directions.
    pub(super) fn new(voice: V, play: Play, tempo: Tempo, clock: Clock, framing: Framing) -> Talk<V> {
        Talk { voice, play, tempo, clock, framing, back: framing, queue: VecDeque::new(), sent: 0 }
    }

    /// The same, where what comes back is framed in another way.
    pub(super) fn hearing(mut self, back: Framing) -> Talk<V> {
        self.back = back;
        self
    }

    async fn rest(&mut self, ms: u32, shutdown: &CancellationToken) {
        self.clock.pass(ms);
        tokio::select! {
            () = self.tempo.wait(ms) => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// What is said next. Nothing: the script is over.
    fn next(&mut self) -> Option<&Said> {
        while self.queue.is_empty() {
            let step = self.play.next()?;
            self.clock.pass(step.after_ms);
            self.queue.push_back(Said::Wait(step.after_ms));
            self.queue.extend(self.voice.act(step.act, &self.clock.now()));
        }
        self.queue.front()
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        figures: &Figures,
        shutdown: &CancellationToken,
    ) -> io::Result<End> {
        let mut ear = Ear { framer: Framer::new(self.back), framing: self.framing };
        loop {
            let next = if shutdown.is_cancelled() { None } else { self.next().cloned() };
            match next {
                None => {
                    stream.shutdown().await?;
                    return Ok(End::Done);
                }
                Some(Said::Down(ms)) => {
                    self.queue.pop_front();
                    return Ok(End::Down(ms));
                }
                Some(Said::Wait(ms)) => {
                    let wait = self.tempo.clone();
                    ear.listen(stream, &mut self.voice, figures, shutdown, wait.wait(ms)).await?;
                }
                Some(Said::Message(message)) => {
                    let turn = self.tempo.clone();
                    ear.listen(stream, &mut self.voice, figures, shutdown, turn.turn()).await?;
                    if shutdown.is_cancelled() {
                        continue;
                    }
                    stream.write_all(&ear.framed(&message)?).await?;
                    figures.sent();
                    self.sent += 1;
                    if V::ANSWERED {
                        let sent = Instant::now();
                        match ear.answer(stream, &mut self.voice, figures).await? {
                            Heard::Refused => figures.refused(),
                            _ => figures.accepted(sent.elapsed()),
                        }
                    }
                }
            }
            self.queue.pop_front();
        }
    }
}

/// Ends some time after it was told to stop.
pub(super) async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// Hears what comes back on one connection.
struct Ear {
    framer: Framer,
    framing: Framing,
}

impl Ear {
    /// Listens until something else is due.
    async fn listen<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        voice: &mut impl Voice,
        figures: &Figures,
        shutdown: &CancellationToken,
        due: impl Future<Output = ()>,
    ) -> io::Result<()> {
        tokio::pin!(due);
        loop {
            // Reading alone is given up where something else is due: then nothing is lost.
            let mut bytes = [0; PIECE];
            let count = tokio::select! {
                () = &mut due => return Ok(()),
                () = shutdown.cancelled() => return Ok(()),
                count = stream.read(&mut bytes) => count?,
            };
            self.hear(&bytes[..count], stream, voice, figures).await?;
        }
    }

    /// Listens until the message before is answered.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        voice: &mut impl Voice,
        figures: &Figures,
    ) -> io::Result<Heard> {
        loop {
            let mut bytes = [0; PIECE];
            let count = stream.read(&mut bytes).await?;
            let heard = self.hear(&bytes[..count], stream, voice, figures).await?;
            if let Some(answer) = heard.into_iter().find(|heard| matches!(heard, Heard::Accepted | Heard::Refused)) {
                return Ok(answer);
            }
        }
    }

    /// What these bytes complete; commands are answered already.
    async fn hear<S: AsyncWrite + Unpin>(
        &mut self,
        bytes: &[u8],
        stream: &mut S,
        voice: &mut impl Voice,
        figures: &Figures,
    ) -> io::Result<Vec<Heard>> {
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut heard = Vec::new();
        self.framer.push(bytes, &mut |frame| heard.extend(frame.map(|frame| voice.hear(frame))));
        for said in &heard {
            if let Heard::Command(answer) = said {
                stream.write_all(&self.framed(answer)?).await?;
                figures.sent();
                figures.command();
            }
        }
        Ok(heard)
    }

    fn framed(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.framing.wrap(message).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}
