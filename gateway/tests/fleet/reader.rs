//! The subscriber of `docs/subscriber.py` as a process, and its table.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::process::{Process, until};
use crate::python::{docs, python};
use crate::recipes::{READER, READERS_PASSWORD};

/// Seconds without a message after which it makes another connection to a cluster: far less than in a branch's day.
const SILENCE: &str = "8";
const STALLED: Duration = Duration::from_secs(90);

/// The running subscriber.
pub(crate) struct Reader {
    dir: PathBuf,
    brokers: Vec<SocketAddr>,
    version: &'static str,
    more: Vec<String>,
    process: Option<Process>,
}

impl Reader {
    /// Starts it, and waits until a broker keeps its session.
    pub(crate) async fn start(dir: &Path, brokers: Vec<SocketAddr>, version: &'static str) -> Reader {
        let password = dir.join("reader.password");
        std::fs::write(&password, READERS_PASSWORD).unwrap();
        let login = ["--username", READER, "--password-file", password.to_str().unwrap()];
        Reader::start_as(dir, "reader", brokers, version, &login).await
    }

    /// Starts another one, with arguments of its own.
    pub(crate) async fn start_as(
        dir: &Path,
        name: &str,
        brokers: Vec<SocketAddr>,
        version: &'static str,
        more: &[&str],
    ) -> Reader {
        let dir = dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        let more = ["--client-id", name].iter().chain(more).map(|word| (*word).to_owned()).collect();
        let mut reader = Reader { dir, brokers, version, more, process: None };
        reader.restart().await;
        reader
    }

    /// Starts it, or starts it again, and waits until its subscription is answered.
    pub(crate) async fn restart(&mut self) {
        let mut command = python();
        command.arg(docs("subscriber.py")).arg("--table").arg(self.table());
        for broker in &self.brokers {
            command.arg("--broker").arg(broker.to_string());
        }
        command.args(["--mqtt", self.version, "--receive-maximum", "65535"]).args(&self.more);
        if self.brokers.len() > 1 {
            command.args(["--silence", SILENCE]);
        }
        let log = self.dir.join("reader.log");
        let times = || std::fs::read_to_string(&log).unwrap_or_default().matches("subscribed").count();
        let before = times();
        self.process = Some(Process::start("reader", command, &self.dir));
        until(
            STALLED,
            || format!("no broker takes the subscription: {}", self.tail()),
            async || (times() > before).then_some(()),
        )
        .await;
    }

    /// Kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Ends it in order.
    pub(crate) async fn stop(mut self) {
        let mut process = self.process.take().expect("it runs");
        kill(Pid::from_raw(process.id()), Signal::SIGTERM).unwrap();
        let status = until(STALLED, || "the subscriber does not end".into(), async || process.ended()).await;
        assert!(status.success(), "the subscriber ended with {status}:\n{}", process.tail());
    }

    /// Where it keeps events.
    fn table(&self) -> PathBuf {
        self.dir.join("events.db")
    }

    /// One figure of its table.
    pub(crate) fn figure(&self, question: &str) -> u64 {
        self.rows(question, |row| row.get::<_, i64>(0)).first().map_or(0, |figure| u64::try_from(*figure).unwrap())
    }

    /// What its table answers.
    pub(crate) fn rows<T>(
        &self,
        question: &str,
        of: impl FnMut(&rusqlite::Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Vec<T> {
        let table = Connection::open_with_flags(self.table(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        table.busy_timeout(Duration::from_secs(10)).unwrap();
        let mut question = table.prepare(question).unwrap();
        question.query_map([], of).unwrap().map(Result::unwrap).collect()
    }

    /// How many events it has.
    pub(crate) fn count(&self) -> u64 {
        self.figure("SELECT count(*) FROM events")
    }

    /// Waits until it has so many events at least.
    pub(crate) async fn reaches(&mut self, count: u64) {
        let (mut seen, mut moved) = (self.count(), std::time::Instant::now());
        while seen < count {
            let now = self.count();
            if now > seen {
                (seen, moved) = (now, std::time::Instant::now());
            }
            assert!(moved.elapsed() < STALLED, "{seen} of {count} events, and no more: {}", self.tail());
            if let Some(process) = &mut self.process {
                process.assert_alive();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Numbers that are missing, as its `--gaps` says.
    pub(crate) fn gaps(&self) -> Value {
        let output =
            python().arg(docs("subscriber.py")).arg("--table").arg(self.table()).arg("--gaps").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The end of what it said.
    pub(crate) fn tail(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::tail)
    }
}
