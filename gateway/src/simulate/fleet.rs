//! Many terminals of one protocol at once: tasks, not threads, that come one after another.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_serial::SerialStream;
use tokio_util::sync::CancellationToken;

use super::figures::Figures;
use super::journal::Words;
use super::line::Line;
use super::pty::{self, Near, Pty};
use super::script::{Play, Script};
use super::talk::{Clock, Talk, Talks, Voice, overdue};
use super::tempo::Tempo;
use super::{Retry, iso8583, journal, jsonl, ndc, triton, upload, xfs4iot};
use crate::profile::Profile;
use crate::protocol::Protocol;
use crate::protocol::framing::Framing;
use crate::protocol::iso8583::Spec;

/// How long after one terminal the next one comes: a gateway's queue of new connections is not for all at once.
const STAGGER: Duration = Duration::from_micros(500);

/// What all terminals of a fleet have in common.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// What they speak.
    pub protocol: Protocol,
    /// The model: framing, ISO 8583 spec.
    pub profile: Profile,
    /// What happens at each.
    pub script: Script,
    /// Decides cards, amounts and waits; each terminal has its own from it.
    pub seed: u64,
    /// How fast they say it.
    pub tempo: Tempo,
    /// Their clock.
    pub clock: Clock,
    /// Begins the ids of JSON lines: a gateway takes an id once.
    pub source: String,
    /// What they count.
    pub figures: Arc<Figures>,
}

/// Who one terminal of a fleet is.
#[derive(Clone, Debug)]
pub struct Name {
    /// Its number: of uploads, and for its seed.
    pub number: u32,
    /// What it calls itself: name, LUNO, field 41.
    pub text: String,
}

/// Where a terminal is.
#[derive(Debug)]
pub enum Place {
    /// It connects to this address.
    Call(SocketAddr),
    /// It listens (XFS4IoT).
    Listen(TcpListener),
    /// It is on a pseudo-terminal.
    Pty(PtyLine),
    /// It is on a serial port.
    Serial(Box<SerialStream>),
}

/// A pseudo-terminal whose far end a gateway opens.
#[derive(Debug)]
pub struct PtyLine {
    near: Near,
    /// Held open, so that bytes wait in the line while nobody reads.
    far_end: File,
}

impl Place {
    /// A new pseudo-terminal, and the device that a gateway opens. Must be called on a runtime.
    ///
    /// # Errors
    /// Where the system has none left.
    pub fn pty() -> io::Result<(Place, PathBuf)> {
        let (near, path, far_end) = Pty::open()?.near()?;
        Ok((Place::Pty(PtyLine { near, far_end }), path))
    }
}

impl PtyLine {
    /// Waits until all of it has been read, if that does not take long once it is to stop.
    async fn emptied(&self, shutdown: &CancellationToken) {
        tokio::select! {
            () = pty::emptied(&self.far_end) => {}
            () = overdue(shutdown) => {}
        }
    }
}

impl Fleet {
    /// Lets these terminals play until their script ends, or until `shutdown`.
    pub fn start(&self, terminals: Vec<(Name, Place)>, shutdown: &CancellationToken) -> JoinSet<io::Result<()>> {
        let mut tasks = JoinSet::new();
        for ((name, place), turn) in terminals.into_iter().zip(0_u32..) {
            let (fleet, shutdown) = (self.clone(), shutdown.clone());
            tasks.spawn(async move {
                tokio::time::sleep(STAGGER * turn).await;
                fleet.play(name, place, &shutdown).await
            });
        }
        tasks
    }

    async fn play(self, name: Name, place: Place, shutdown: &CancellationToken) -> io::Result<()> {
        let seed = self.seed.wrapping_add(u64::from(name.number));
        let framing = self.profile.framing;
        match self.protocol {
            Protocol::Ndc => self.talk(ndc::Voice::new(name.text, seed), seed, framing, framing, place, shutdown).await,
            Protocol::Iso8583 => {
                let spec = self.spec()?;
                let voice = iso8583::Voice::new(spec, &name.text, seed);
                self.talk(voice, seed, framing, framing, place, shutdown).await
            }
            // Its lines have their own ends.
            Protocol::Journal => {
                let (none, line) = (Framing::NONE, Framing::LINE);
                match Words::of(&self.profile)? {
                    Words::Ncr => self.talk(journal::Voice::new(seed), seed, none, line, place, shutdown).await,
                    Words::Wincor => self.talk(journal::Wincor::new(seed), seed, none, line, place, shutdown).await,
                    Words::Hyosung => self.talk(journal::Hyosung::new(seed), seed, none, line, place, shutdown).await,
                }
            }
            Protocol::Upload => {
                let voice = upload::Voice::new(name.number, name.text, seed);
                self.talk(voice, seed, framing, Framing::LINE, place, shutdown).await
            }
            Protocol::Jsonl => {
                let Place::Call(address) = place else { return Err(io::ErrorKind::Unsupported.into()) };
                let client =
                    jsonl::Client { hello: Some(name.text), figures: self.figures, ..jsonl::Client::new(address) };
                let source = format!("{}-{}", self.source, name.number);
                let Fleet { script, tempo, clock, .. } = self;
                jsonl::Terminal { client, script, seed, source, tempo, clock }.run(shutdown.clone()).await;
                Ok(())
            }
            Protocol::Triton => {
                let voice = triton::Voice::new(name.text, seed);
                let talk = triton::Talk::new(voice, Play::new(self.script, seed), self.tempo);
                on(place, talk, &self.figures, shutdown).await
            }
            Protocol::Xfs4iot => {
                let Place::Listen(listener) = place else { return Err(io::ErrorKind::Unsupported.into()) };
                let terminal = xfs4iot::Terminal::new(xfs4iot::Voice::default().services());
                tokio::select! {
                    () = terminal.serve(listener, None) => {}
                    () = terminal.play(Play::new(self.script, seed), &self.tempo, &self.figures, shutdown) => {}
                }
                Ok(())
            }
        }
    }

    async fn talk(
        self,
        voice: impl Voice,
        seed: u64,
        framing: Framing,
        back: Framing,
        place: Place,
        shutdown: &CancellationToken,
    ) -> io::Result<()> {
        let talk = Talk::new(voice, Play::new(self.script, seed), self.tempo, self.clock, framing).hearing(back);
        on(place, talk, &self.figures, shutdown).await
    }

    /// The spec that the model names, else the first that there is.
    fn spec(&self) -> io::Result<Arc<Spec>> {
        let named = self.profile.iso8583.named();
        let spec = named.or_else(|| Spec::builtin().first()).cloned();
        spec.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Has it talk at this place.
async fn on(place: Place, talk: impl Talks, figures: &Figures, shutdown: &CancellationToken) -> io::Result<()> {
    match place {
        Place::Call(address) => {
            talk.call(Line::new(address, Retry::default()), figures, shutdown).await;
            Ok(())
        }
        Place::Pty(mut line) => {
            talk.keep_on(&mut line.near, figures, shutdown).await?;
            line.emptied(shutdown).await;
            Ok(())
        }
        Place::Serial(port) => talk.keep_on(*port, figures, shutdown).await,
        Place::Listen(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}
