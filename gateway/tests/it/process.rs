//! The gateway as a process of its own: signals, exit codes, and a clock that the test moves.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{DEADLINE, free_port};

/// A running `vestibule run`; killed where the test ends before it does.
pub(crate) struct Process {
    child: Child,
    pub(crate) http: SocketAddr,
    rest: String,
    dir: TempDir,
}

impl Process {
    /// Starts one with this configuration, and waits until it is ready. `{dir}` stands for its folder.
    pub(crate) async fn start(rest: &str) -> Process {
        Process::start_with(tempfile::tempdir().expect("a folder"), rest, &[]).await
    }

    /// The same in this folder, with more in its environment.
    pub(crate) async fn start_with(dir: TempDir, rest: &str, environment: &[(&str, String)]) -> Process {
        let http = free_port();
        write(dir.path(), http, rest);
        let output = File::create(dir.path().join("output")).expect("is made");
        let child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["run", "--config"])
            .arg(dir.path().join("vestibule.toml"))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the gateway starts");
        let mut process = Process { child, http, rest: rest.to_owned(), dir };
        let begun = Instant::now();
        while !process.output().contains("The gateway is running.") {
            assert!(process.child.try_wait().expect("is asked").is_none(), "it ended: {}", process.output());
            assert!(begun.elapsed() < DEADLINE, "it is not ready: {}", process.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process
    }

    /// Its folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has printed.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }

    /// Another configuration, which it is told to read.
    pub(crate) fn reload(&mut self, rest: &str) {
        self.rest = rest.to_owned();
        write(self.dir.path(), self.http, rest);
        self.signal(Signal::SIGHUP);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")), signal).expect("it runs");
    }

    /// How it ended; `limit` is how long that may take.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("is asked") {
                return status;
            }
            assert!(begun.elapsed() < limit, "it still runs after {limit:?}: {}", self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Has it stop in order.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.signal(Signal::SIGTERM);
        let status = self.ended(DEADLINE).await;
        assert!(status.success(), "{status}: {}", self.output());
        // The folder lives on; the child has ended.
        let dir = tempfile::tempdir().expect("a folder");
        std::mem::replace(&mut self.dir, dir)
    }

    async fn try_get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// The answer to a request, with its head.
    pub(crate) async fn get(&self, path: &str) -> String {
        self.try_get(path).await.unwrap_or_else(|| panic!("no answer: {}", self.output()))
    }

    /// A sample of its figures: the value of this series.
    pub(crate) async fn figure(&self, series: &str) -> Option<f64> {
        let figures = self.get("/metrics").await;
        figures.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
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

fn write(dir: &Path, http: SocketAddr, rest: &str) {
    let rest = rest.replace("{dir}", &dir.display().to_string());
    let text = format!("log.dir = '{}'\nhttp.listen = '{http}'\n{rest}", dir.join("data").display());
    std::fs::write(dir.join("vestibule.toml"), text).expect("is written");
}

/// A system clock of one process, by libfaketime. What it does not touch: time since the boot, and the process itself.
pub(crate) struct FakeClock {
    file: PathBuf,
    mark: PathBuf,
}

impl FakeClock {
    /// A clock that is `offset` seconds off, of a machine whose time daemon has not set it yet.
    pub(crate) fn new(dir: &Path, offset: i64) -> FakeClock {
        let clock = FakeClock { file: dir.join("offset"), mark: dir.join("daemon/set") };
        std::fs::create_dir_all(dir.join("daemon")).expect("is made");
        // What it left is gone with the machine's memory.
        let _ = std::fs::remove_file(&clock.mark);
        clock.set(offset);
        clock
    }

    /// A clock that wakes in 1970.
    pub(crate) fn in_1970(dir: &Path) -> FakeClock {
        FakeClock::new(dir, 60 - jiff::Timestamp::now().as_second())
    }

    /// Moves it: it is so many seconds off now.
    pub(crate) fn set(&self, offset: i64) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{offset:+}")).expect("is written");
        std::fs::rename(new, &self.file).expect("is replaced");
    }

    /// The time daemon says that it is right.
    pub(crate) fn confirm(&self) {
        std::fs::write(&self.mark, jiff::Timestamp::now().to_string()).expect("is written");
    }

    /// The settings by which the gateway knows of the daemon.
    pub(crate) const SETTINGS: &str = "clock.marks = ['{dir}/daemon/set']\n";

    /// What the process needs in its environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let library = ["x86_64", "aarch64"]
            .map(|machine| PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1")));
        let library =
            library.into_iter().find(|path| path.exists()).expect("libfaketime is installed (apt install faketime)");
        vec![
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // Waiting and measuring go by the machine's own time, as they do where a system clock is set.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }
}
