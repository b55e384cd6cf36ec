//! A gateway in a process of its own, with its store where the test says: on a disk that is full, say.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::auth::{Answer, get, talk};
use crate::gateway::{DEADLINE, free_port};

/// A running gateway; it is killed where the test leaves it running.
pub(crate) struct Process {
    child: Child,
    pub(crate) http: SocketAddr,
    said: PathBuf,
}

impl Process {
    /// Starts one with its store in `data`; what else it keeps is in `dir`. `rest` is more of its configuration.
    pub(crate) async fn start(dir: &Path, data: &Path, rest: &str) -> Process {
        let http = free_port();
        let config = dir.join("vestibule.toml");
        let text = format!("log.dir = {data:?}\nhttp.listen = \"{http}\"\nauth.loopback = \"open\"\n{rest}");
        std::fs::write(&config, text).expect("the configuration is written");
        let said = dir.join("gateway.log");
        let output = File::create(&said).expect("a file for what it says");
        let child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the same file"))
            .stderr(output)
            .spawn()
            .expect("it starts");
        let mut process = Process { child, http, said };
        let begun = Instant::now();
        while TcpStream::connect(http).await.is_err() || process.get("/readyz").await.status != 200 {
            process.assert_alive();
            assert!(begun.elapsed() < DEADLINE, "not ready: {}", process.said());
            sleep(Duration::from_millis(10)).await;
        }
        process
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("it can be asked for");
        assert!(ended.is_none(), "it ended with {ended:?}: {}", self.said());
    }

    /// Asks it something over HTTP.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        talk(TcpStream::connect(self.http).await.expect("connects"), &get(path, None, "")).await
    }

    /// A metric that is counted in whole numbers; 0 where it is not there yet.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = crate::http::get(self.http, "/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.trim().parse().expect("a whole number"))
    }

    /// Stops it in order.
    pub(crate) async fn stop(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")), Signal::SIGTERM).expect("it runs");
        assert!(self.ended().await.success(), "{}", self.said());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked for") {
                return status;
            }
            assert!(begun.elapsed() < DEADLINE, "it goes on: {}", self.said());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
