//! The gateway as a process of its own: signals, exit codes, a disk of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::client::{Answer, get, talk};
use crate::gateway::{DEADLINE, free_port};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A running `vestibule run`; killed where the test ends before it does.
pub(crate) struct Process {
    child: Child,
    pub(crate) http: SocketAddr,
    rest: String,
    /// Where its store is.
    data: PathBuf,
    /// Its folder, and what holds that where it is the process's own.
    dir: PathBuf,
    own: Option<TempDir>,
}

impl Process {
    /// Starts one with this configuration, and waits until it is ready. `{dir}` stands for its folder.
    pub(crate) async fn start(rest: &str) -> Process {
        Process::start_with(tempfile::tempdir().expect("a folder"), rest, &[]).await
    }

    /// The same in this folder, with more in its environment.
    pub(crate) async fn start_with(dir: TempDir, rest: &str, environment: &[(&str, String)]) -> Process {
        let mut process = Process::spawn(dir.path(), &dir.path().join("data"), rest, environment);
        process.own = Some(dir);
        process.until_running().await;
        process
    }

    /// The same in a folder that stays, with its store in `data`; it is ready by its own word.
    pub(crate) async fn start_at(dir: &Path, data: &Path, rest: &str) -> Process {
        let mut process = Process::spawn(dir, data, rest, &[]);
        process.until_running().await;
        process.until_ready().await;
        process
    }

    /// Starts one, and waits for nothing.
    pub(crate) fn spawn(dir: &Path, data: &Path, rest: &str, environment: &[(&str, String)]) -> Process {
        let (http, output) = (free_port(), File::create(dir.join("output")).expect("is made"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.args(["run", "--config"]).arg(dir.join("vestibule.toml"));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a second handle")).stderr(output);
        write(dir, data, http, rest);
        let child = command.spawn().expect("the gateway starts");
        Process { child, http, rest: rest.to_owned(), data: data.to_owned(), dir: dir.to_owned(), own: None }
    }

    async fn until_running(&mut self) {
        let begun = Instant::now();
        while !self.output().contains("The gateway is running.") {
            self.assert_alive();
            assert!(begun.elapsed() < DEADLINE, "it does not run: {}", self.output());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn until_ready(&self) {
        let begun = Instant::now();
        while self.get("/readyz").await.status != 200 {
            assert!(begun.elapsed() < DEADLINE, "it is not ready: {}", self.output());
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("is asked");
        assert!(ended.is_none(), "it ended with {ended:?}: {}", self.output());
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it has printed.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.dir.join("output")).unwrap_or_default()
    }

    /// Another configuration, which it is told to read.
    pub(crate) fn reload(&mut self, rest: &str) {
        self.rest = rest.to_owned();
        write(&self.dir, &self.data, self.http, rest);
        self.signal(Signal::SIGHUP);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")), signal).expect("it runs");
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("is asked")
    }

    /// How it ended; `limit` is how long that may take.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.has_ended() {
                return status;
            }
            assert!(begun.elapsed() < limit, "it still runs after {limit:?}: {}", self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Has it stop in order, and gives its folder back.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.terminate().await;
        self.own.take().expect("a folder of its own")
    }

    /// Has it stop in order.
    pub(crate) async fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.ended(DEADLINE).await;
        assert!(status.success(), "{status}: {}", self.output());
    }

    /// Asks it something over HTTP.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let stream =
            TcpStream::connect(self.http).await.unwrap_or_else(|_| panic!("nobody listens: {}", self.output()));
        talk(stream, &get(path, None, "")).await
    }

    /// A sample of its figures: the value of this series.
    pub(crate) async fn figure(&self, series: &str) -> Option<f64> {
        let figures = self.get("/metrics").await.text;
        figures.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// A figure that is counted in whole numbers; 0 where it is not there yet.
    pub(crate) async fn count(&self, series: &str) -> u64 {
        let figures = self.get("/metrics").await.text;
        let value = figures.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.trim().parse().expect("a whole number"))
    }

    /// Waits until a figure is so.
    pub(crate) async fn until_figure(&self, series: &str, wanted: impl Fn(f64) -> bool) {
        let begun = Instant::now();
        loop {
            let found = self.figure(series).await;
            if found.is_some_and(&wanted) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{series} is {found:?}: {}", self.output());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it has printed this.
    pub(crate) async fn until_said(&self, words: &str) {
        let begun = Instant::now();
        while !self.output().contains(words) {
            assert!(begun.elapsed() < DEADLINE, "nothing of `{words}`: {}", self.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(dir: &Path, data: &Path, http: SocketAddr, rest: &str) {
    let rest = rest.replace("{dir}", &dir.display().to_string());
    let text = format!("log.dir = '{}'\nhttp.listen = '{http}'\n{rest}", data.display());
    std::fs::write(dir.join("vestibule.toml"), text).expect("is written");
}
