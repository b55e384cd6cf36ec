//! A terminal that speaks Triton Standard on a serial line: polled, acknowledged, and asked again where the line is noisy.

mod voice;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use voice::Voice;

use super::figures::Figures;
use super::line::Line;
use super::pty::{self, Pty};
use super::script::{Act, Play, Step};
use super::talk::{Talks, overdue};
use super::tempo::Tempo;
use crate::protocol::triton::{Control, frame};

/// How long a terminal waits for its host before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it sends a frame again.
const RETRIES: u32 = 3;

/// A simulated terminal, and the line it is on.
#[derive(Debug)]
pub struct Terminal<S = pty::Near> {
    line: S,
    path: PathBuf,
    /// Of a line of our own: held open, so that bytes wait in it while nobody reads.
    _far_end: Option<File>,
    /// So many frames from now on are damaged on the line.
    pub damage: u32,
    /// So many acknowledgements from now on are lost on the line.
    pub deafness: u32,
}

impl Terminal {
    /// A terminal on a line of its own, whose far end is a device that the gateway can open. Must be called on a runtime.
    ///
    /// # Errors
    /// Where the system has no pseudo-terminal left.
    pub fn open() -> io::Result<Terminal> {
        let (line, path, far_end) = Pty::open()?.near()?;
        Ok(Terminal { path, _far_end: Some(far_end), ..Terminal::on(line) })
    }

    /// The serial device for the gateway's configuration.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Terminal<S> {
    /// A terminal on this line.
    pub fn on(line: S) -> Terminal<S> {
        Terminal { line, path: PathBuf::new(), _far_end: None, damage: 0, deafness: 0 }
    }

    /// Waits to be polled, sends one message, and ends the exchange; fields are separated by `|`. True where the host
    /// acknowledged it.
    ///
    /// # Errors
    /// Where the line is gone.
    pub async fn report(&mut self, body: &str) -> io::Result<bool> {
        if self.until(&[Control::Enq]).await?.is_none() {
            return Ok(false);
        }
        self.deliver(body).await
    }

    /// The same, once it is polled.
    async fn deliver(&mut self, body: &str) -> io::Result<bool> {
        let whole = frame(&body.replace('|', "\x1c"));
        for _ in 0..=RETRIES {
            let mut sent = whole.clone();
            if take_one(&mut self.damage)
                && let Some(byte) = sent.get_mut(2)
            {
                *byte ^= 0x03;
            }
            self.say(&sent).await?;
            match self.until(&[Control::Ack, Control::Nak, Control::Eot]).await? {
                Some(Control::Ack) if !take_one(&mut self.deafness) => {
                    self.say(&[Control::Eot.character() | 0x80]).await?;
                    return Ok(true);
                }
                Some(Control::Eot) | None => return Ok(false),
                Some(_) => {}
            }
        }
        Ok(false)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Where the line is gone.
    pub async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line.write_all(bytes).await
    }

    /// The next byte that the host says, without its parity; `None` where it says nothing for so long.
    ///
    /// # Errors
    /// Where the line is gone.
    pub async fn next(&mut self, patience: Duration) -> io::Result<Option<u8>> {
        let read = timeout(patience, self.line.read_u8()).await;
        read.map_or(Ok(None), |read| read.map(|byte| Some(byte & 0x7f)))
    }

    /// The next of these that the host says; everything else is not for us.
    async fn until(&mut self, wanted: &[Control]) -> io::Result<Option<Control>> {
        while let Some(byte) = self.next(PATIENCE).await? {
            if let Some(control) = Control::of(byte).filter(|control| wanted.contains(control)) {
                return Ok(Some(control));
            }
        }
        Ok(None)
    }
}

/// Takes one away, where there is one left.
fn take_one(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}

/// What is left to say, kept across connections.
pub(super) struct Talk {
    voice: Voice,
    play: Play,
    tempo: Tempo,
    /// The bodies of an act, the next one last.
    queue: Vec<String>,
    acknowledged: u64,
}

impl Talks for Talk {
    async fn call(mut self, mut line: Line, figures: &Figures, shutdown: &CancellationToken) {
        while let Some(stream) = line.connect(shutdown).await {
            let _connected = figures.connection();
            let before = self.acknowledged;
            let mut terminal = Terminal::on(stream);
            let ended = tokio::select! {
                ended = self.converse(&mut terminal, figures, shutdown) => ended,
                () = overdue(shutdown) => return,
            };
            match ended {
                Ok(()) => return,
                Err(_) => line.lost(self.acknowledged > before),
            }
        }
    }

    async fn keep_on<S: AsyncRead + AsyncWrite + Unpin + Send>(
        mut self,
        line: S,
        figures: &Figures,
        shutdown: &CancellationToken,
    ) -> io::Result<()> {
        let _connected = figures.connection();
        let mut terminal = Terminal::on(line);
        tokio::select! {
            ended = self.converse(&mut terminal, figures, shutdown) => ended,
            () = overdue(shutdown) => Ok(()),
        }
    }
}

impl Talk {
    /// A talk that begins.
    pub(super) fn new(voice: Voice, play: Play, tempo: Tempo) -> Talk {
        Talk { voice, play, tempo, queue: Vec::new(), acknowledged: 0 }
    }

    /// Until the script ends or `shutdown`. What is not acknowledged is said again.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        terminal: &mut Terminal<S>,
        figures: &Figures,
        shutdown: &CancellationToken,
    ) -> io::Result<()> {
        loop {
            while self.queue.is_empty() {
                let Some(Step { after_ms, act }) = self.play.next() else { return Ok(()) };
                let down = if act == Act::Restart { 1_500 } else { 0 };
                tokio::select! {
                    () = self.tempo.wait(after_ms.saturating_add(down)) => {}
                    () = shutdown.cancelled() => return Ok(()),
                }
                self.queue = self.voice.say(act);
                self.queue.reverse();
            }
            tokio::select! {
                () = self.tempo.turn() => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            let Some(body) = self.queue.last() else { continue };
            // The poll before it is the host's time, not the message's.
            if terminal.until(&[Control::Enq]).await?.is_none() {
                continue;
            }
            let sent = Instant::now();
            figures.sent();
            if terminal.deliver(body).await? {
                figures.accepted(sent.elapsed());
                self.acknowledged += 1;
                self.queue.pop();
            } else {
                figures.refused();
            }
        }
    }
}
