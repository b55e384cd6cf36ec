//! The gateway as a process, killed and started again on the same data.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::{Process, free_port, until};

const STARTS_WITHIN: Duration = Duration::from_secs(30);
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// Where the gateway listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: SocketAddr,
    pub(crate) lines: SocketAddr,
    pub(crate) guarded: SocketAddr,
    pub(crate) ndc: SocketAddr,
}

pub(crate) struct Gateway {
    pub(crate) ports: Ports,
    dir: PathBuf,
    process: Process,
}

impl Gateway {
    pub(crate) async fn start(dir: &Path, broker: u16, serial: &Path) -> Gateway {
        let ports = Ports { http: free_port(), lines: free_port(), guarded: free_port(), ndc: free_port() };
        let dir = dir.join("gateway");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("vestibule.toml"), config(&dir, broker, serial, &ports)).unwrap();
        let process = spawn(&dir);
        let mut gateway = Gateway { ports, dir, process };
        until(
            STARTS_WITHIN,
            || "the gateway is not ready".into(),
            async || {
                gateway.assert_alive();
                gateway.get("/readyz").await
            },
        )
        .await;
        gateway
    }

    /// Kill -9, and start again at once.
    pub(crate) fn kill_and_restart(&mut self, replug: impl FnOnce()) {
        self.process.kill();
        replug();
        self.process = spawn(&self.dir);
    }

    pub(crate) fn assert_alive(&mut self) {
        self.process.assert_alive();
    }

    pub(crate) fn tail(&self) -> String {
        self.process.tail()
    }

    /// The body of a 200 answer; nothing where there is none.
    pub(crate) async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.ports.http).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.ports.http);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// Asks it to end, as systemd does: it has to end in order.
    pub(crate) async fn stop(mut self) {
        kill(Pid::from_raw(self.process.id()), Signal::SIGTERM).unwrap();
        let missing = || "the gateway does not end at SIGTERM".to_owned();
        let status = until(STOPS_WITHIN, missing, async || self.process.ended()).await;
        assert!(status.success(), "the gateway ended with {status}:\n{}", self.process.tail());
    }
}

fn spawn(dir: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.arg("run").arg("--config").arg(dir.join("vestibule.toml")).current_dir(dir);
    Process::start("gateway", command, dir)
}

fn config(dir: &Path, broker: u16, serial: &Path, ports: &Ports) -> String {
    format!(
        r#"
[gateway]
id = "br001"
site = "branch-001"

[log]
dir = "{data}"

[http]
listen = "{http}"

[forward]
host = "127.0.0.1"
port = {broker}

[rules]
bundled = ["cash-low", "dispenser-guard"]

[[terminal]]
name = "atm-01"
profile = "json-lines"
time_zone = "Europe/Berlin"
[[terminal.link]]
name = "json"
protocol = "jsonl"
listen = "{lines}"

[[terminal]]
name = "atm-02"
profile = "ncr-selfserv-ndc"
time_zone = "Europe/Berlin"
[[terminal.link]]
name = "ndc"
protocol = "ndc"
listen = "{ndc}"

[[terminal]]
name = "atm-03"
profile = "ncr-journal"
time_zone = "Europe/Berlin"
[[terminal.link]]
name = "journal"
protocol = "journal"
serial = "{serial}"
baud = 9600

[[terminal]]
name = "atm-04"
profile = "json-lines"
reports_requests = true
time_zone = "Europe/Berlin"
[[terminal.link]]
name = "json"
protocol = "jsonl"
listen = "{guarded}"
"#,
        data = dir.join("data").display(),
        http = ports.http,
        lines = ports.lines,
        ndc = ports.ndc,
        serial = serial.display(),
        guarded = ports.guarded,
    )
}
