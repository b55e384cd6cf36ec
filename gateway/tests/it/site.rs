//! The program itself: a gateway as a process that can be killed, and its verbs as a person calls them.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::gateway::{DEADLINE, free_port};

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A gateway's folder: configuration, data, what it says.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    /// Where it serves HTTP.
    pub(crate) http: SocketAddr,
    /// Where it takes JSON lines of `atm-01`.
    pub(crate) lines: SocketAddr,
}

/// A running gateway; killed when dropped.
pub(crate) struct Process(Child);

impl Site {
    /// One with its data below its folder; `rest` is more configuration, and `broker` the port of its broker.
    pub(crate) fn new(broker: Option<u16>, rest: &str) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        Site::at(folder, &data, broker, rest)
    }

    /// The same with its data elsewhere.
    pub(crate) fn at(folder: tempfile::TempDir, data: &Path, broker: Option<u16>, rest: &str) -> Site {
        let (http, lines) = (free_port(), free_port());
        let forward = broker.map_or(String::new(), |port| format!("[forward]\nport = {port}\n"));
        let text = format!(
            "{rest}\ngateway.id = \"gw-1\"\ngateway.site = \"br001\"\nlog.dir = {data:?}\nhttp.listen = \"{http}\"\n\
             auth.loopback = \"open\"\nrules.bundled = []\n{forward}\n[[terminal]]\nname = \"atm-01\"\nprofile = \"json-lines\"\n\
             link = [{{ name = \"json\", protocol = \"jsonl\", listen = \"{lines}\" }}]\n"
        );
        fs::write(folder.path().join("vestibule.toml"), text).expect("is written");
        Site { folder, http, lines }
    }

    /// A file beside the configuration.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.file("vestibule.toml")
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// The store.
    pub(crate) fn store(&self) -> PathBuf {
        self.data().join("events.db")
    }

    /// Starts the gateway, and waits until it is ready.
    pub(crate) fn start(&self) -> Process {
        let process = self.launch();
        let mut process = Process(process);
        let begun = Instant::now();
        loop {
            let health = self.run(&["health", "--http", &self.http.to_string()]);
            if health.status.success() {
                return process;
            }
            if let Some(status) = process.0.try_wait().expect("can be asked") {
                panic!("the gateway ended with {status}: {}", self.said());
            }
            assert!(begun.elapsed() < DEADLINE, "the gateway is not ready: {}", self.said());
            std::thread::sleep(LOOK);
        }
    }

    /// Starts a gateway that must end by itself: how, and what it said.
    pub(crate) fn start_in_vain(&self) -> (Option<i32>, String) {
        let mut process = Process(self.launch());
        (process.ended().code(), self.said())
    }

    fn launch(&self) -> Child {
        let said = File::options().create(true).append(true).open(self.file("said")).expect("opens");
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.arg("run").arg("--config").arg(self.config());
        command.stdin(Stdio::null()).stdout(said.try_clone().expect("twice")).stderr(said).spawn().expect("runs")
    }

    /// All that its gateways have said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.file("said")).unwrap_or_default()
    }

    /// Calls a verb and waits for its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vestibule")).args(arguments).stdin(Stdio::null()).output().expect("runs")
    }

    /// Calls a verb with the configuration: exit code, standard output, standard error.
    pub(crate) fn verb(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let config = self.config();
        let config = config.to_str().expect("is text");
        let output = self.run(&[arguments, &["--config", config]].concat());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("is text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Calls a verb with the configuration that must do what it says.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.verb(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
        out
    }

    /// Has the gateway answer so many lines of `atm-01`, with ids of their own.
    pub(crate) async fn feed(&self, first: u64, count: u64) {
        let mut source = crate::gateway::Source::connect(self.lines).await;
        for number in first..first + count {
            let line = format!(
                "{{\"id\":\"{number}\",\"kind\":\"supply.low\",\"device\":\"cash_handler\",\"component\":\"cassette_2\",\"detail\":\"number {number}\"}}\n"
            );
            source.say(line.as_bytes()).await;
        }
        for number in first..first + count {
            let answer = source.answer().await.expect("an answer");
            assert!(answer["seq"].is_u64(), "line {number}: {answer}");
        }
    }

    /// The stores that were set aside.
    pub(crate) fn wrecks(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.data()).expect("is there").map(|entry| entry.expect("reads").path());
        let mut all: Vec<_> = all.filter(|path| path.to_string_lossy().contains("events.db.corrupt-")).collect();
        all.retain(|path| !["-wal", "-shm", ".salvaged"].iter().any(|end| path.to_string_lossy().ends_with(end)));
        all.sort();
        all
    }
}

impl Process {
    /// Kill -9.
    pub(crate) fn kill(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = i32::try_from(self.0.id()).expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).expect("it runs");
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(self.ended().success());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("can be asked") {
                return status;
            }
            assert!(begun.elapsed() < DEADLINE, "it does not end");
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
