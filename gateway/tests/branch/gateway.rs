//! The gateway as a process, killed and started again on the same data.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::STARTS_WITHIN;
use super::process::{LOOK, Process, free_ports, until_every};

const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// Where the gateway listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: SocketAddr,
    pub(crate) lines: SocketAddr,
    pub(crate) guarded: SocketAddr,
    pub(crate) ndc: SocketAddr,
    pub(crate) commanded: SocketAddr,
}

pub(crate) struct Gateway {
    pub(crate) ports: Ports,
    dir: PathBuf,
    process: Process,
}

impl Gateway {
    /// Starts one that keeps its store in `data`; waits for nothing.
    pub(crate) fn start(dir: &Path, data: &Path, broker: u16, serial: &Path) -> Gateway {
        let [http, lines, guarded, ndc, commanded] = free_ports();
        let ports = Ports { http, lines, guarded, ndc, commanded };
        let dir = dir.join("gateway");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("vestibule.toml"), config(data, broker, serial, &ports)).unwrap();
        let process = spawn(&dir);
        Gateway { ports, dir, process }
    }

    /// Waits until it takes events.
    pub(crate) async fn ready(&mut self) {
        self.ready_every(LOOK).await;
    }

    /// The same, looking so often.
    pub(crate) async fn ready_every(&mut self, look: Duration) {
        until_every(
            look,
            STARTS_WITHIN,
            || "the gateway is not ready".into(),
            async || {
                self.assert_alive();
                self.get("/readyz").await
            },
        )
        .await;
    }

    /// Kill -9; it must not have ended by itself.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Kill -9, whatever it does, and even if it has ended.
    pub(crate) fn end(&mut self) {
        self.process.end();
    }

    /// Starts it again on the same data.
    pub(crate) fn again(&mut self) {
        self.process = spawn(&self.dir);
    }

    pub(crate) fn assert_alive(&mut self) {
        self.process.assert_alive();
    }

    /// Waits until it has ended, which it must do in order.
    pub(crate) async fn ends(&mut self, look: Duration) {
        let missing = || "the gateway does not end at SIGTERM".to_owned();
        let status = until_every(look, STOPS_WITHIN, missing, async || self.process.ended()).await;
        assert!(status.success(), "the gateway ended with {status}:\n{}", self.process.tail());
    }

    /// Whether it says now that it takes events.
    pub(crate) async fn is_ready(&self) -> bool {
        self.get("/readyz").await.is_some()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    pub(crate) fn tail(&self) -> String {
        self.process.tail()
    }

    /// The body of a 200 answer; nothing where there is none.
    pub(crate) async fn get(&self, path: &str) -> Option<String> {
        request(self.ports.http, "GET", path, "").await.filter(|(status, _)| *status == 200).map(|(_, body)| body)
    }

    /// Asks it to end, as systemd does.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    /// Asks it to end: it has to end in order.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        self.ends(LOOK).await;
    }
}

/// Status and body of the answer to one request; nothing where the gateway is not there, or dies over it.
pub(crate) async fn request(http: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let talk = async {
        let mut stream = TcpStream::connect(http).await.ok()?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some((status, body.to_owned()))
    };
    tokio::time::timeout(ANSWERS_WITHIN, talk).await.ok()?
}

fn spawn(dir: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.arg("run").arg("--config").arg(dir.join("vestibule.toml")).current_dir(dir);
    Process::start("gateway", command, dir)
}

fn config(data: &Path, broker: u16, serial: &Path, ports: &Ports) -> String {
    format!(
        r#"
[gateway]
id = "br001"
site = "branch-001"

[log]
dir = "{data}"

[http]
listen = "{http}"

[auth]
loopback = "open"

[forward]
host = "127.0.0.1"
port = {broker}

[rules]
bundled = ["cash-low", "dispenser-guard"]
stale_after_s = 3600

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

[[terminal]]
name = "atm-05"
profile = "ncr-selfserv-ndc"
luno = "005000005"
[[terminal.link]]
name = "ndc"
protocol = "ndc"
listen = "{commanded}"
commands = true
"#,
        data = data.display(),
        http = ports.http,
        lines = ports.lines,
        ndc = ports.ndc,
        serial = serial.display(),
        guarded = ports.guarded,
        commanded = ports.commanded,
    )
}
