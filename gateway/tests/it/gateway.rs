//! A whole gateway inside the test, on free ports and a fresh folder.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vestibule::config::Config;
use vestibule::event::Kind;
use vestibule::gateway::{End, Gateway};
use vestibule::log::{Log, Stored};

/// How long anything that must happen may take; these machines are shared.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running gateway; its folder goes away with it.
pub(crate) struct Running {
    pub(crate) log: Log,
    pub(crate) http: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<End>,
    dir: TempDir,
}

/// A loopback port that is free now.
pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("has an address")
}

/// The configuration of a gateway in this folder, with more of it in `rest`.
pub(crate) fn config(dir: &Path, rest: &str) -> Config {
    let text = format!("log.dir = {dir:?}\nhttp.listen = \"127.0.0.1:0\"\nrules.bundled = []\n{rest}");
    Config::parse(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

impl Running {
    /// One that lets this machine in without a token.
    pub(crate) async fn start(rest: &str) -> Running {
        Running::closed(&format!("auth.loopback = \"open\"\n{rest}")).await
    }

    /// One that lets in whom its settings name.
    pub(crate) async fn closed(rest: &str) -> Running {
        Running::start_in(tempfile::tempdir().expect("temp dir"), rest).await
    }

    /// The same in a folder that has been used before.
    pub(crate) async fn start_in(dir: TempDir, rest: &str) -> Running {
        let settings = config(dir.path(), rest);
        Running::begin(dir, settings).await
    }

    /// One with these settings, whose data are in this folder.
    pub(crate) async fn begin(dir: TempDir, settings: Config) -> Running {
        let gateway = Gateway::start(settings).await.expect("starts");
        let (log, http) = (gateway.log.clone(), gateway.http);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(gateway.run(async move {
            let _ = stopped.await;
        }));
        Running { log, http, stop, task, dir }
    }

    /// Waits for an event that `wanted` takes, from the beginning of the log.
    pub(crate) async fn event(&self, what: &str, wanted: impl Fn(&Stored) -> bool) -> Arc<Stored> {
        let mut head = self.log.head();
        let search = async {
            let mut at = 0;
            loop {
                for stored in self.log.read_after(at, 500).expect("reads") {
                    at = stored.seq;
                    if wanted(&stored) {
                        return stored;
                    }
                }
                head.changed().await.expect("the log runs");
            }
        };
        timeout(DEADLINE, search).await.unwrap_or_else(|_| panic!("no {what}: {:#?}", self.kinds()))
    }

    /// Waits for an event of this kind.
    pub(crate) async fn kind(&self, kind: Kind) -> Arc<Stored> {
        self.event(kind.name(), |stored| stored.event.kind == kind).await
    }

    /// What is in the log, briefly.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let events = self.log.read_after(0, 10_000).expect("reads");
        events.iter().map(|stored| format!("{} {} {}", stored.seq, stored.event.kind, stored.event.detail)).collect()
    }

    /// Its data folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) {
        self.stop_and_keep().await;
    }

    /// Stops it in order; its folder stays.
    pub(crate) async fn stop_and_keep(self) -> TempDir {
        self.stop.send(()).expect("it still runs");
        let end = timeout(DEADLINE, self.task).await.expect("in time").expect("no panic");
        assert_eq!(end, End::Stopped);
        self.dir
    }
}

/// A source of JSON lines.
pub(crate) struct Source(BufReader<TcpStream>);

impl Source {
    /// Connects, as soon as somebody listens.
    pub(crate) async fn connect(address: SocketAddr) -> Source {
        let attempt = async {
            loop {
                if let Ok(stream) = TcpStream::connect(address).await {
                    return Source(BufReader::new(stream));
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, attempt).await.expect("somebody listens")
    }

    /// Says something, as it is.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("is taken");
    }

    /// The same to somebody who may have hung up.
    pub(crate) async fn try_say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// The next answer; `None` where the gateway hung up.
    pub(crate) async fn answer(&mut self) -> Option<serde_json::Value> {
        let mut line = String::new();
        let read = timeout(DEADLINE, self.0.read_line(&mut line)).await.expect("an answer in time");
        match read {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).expect("answers are JSON")),
        }
    }
}
