//! Gateways as processes, each with a site, a store and a login of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::host;
use crate::process::{Process, until};
use crate::python::docs;
use crate::recipes::{branch_password, site};

/// Terminals of each. A dot parts levels inside NATS and RabbitMQ.
pub(crate) const TERMINALS: [&str; 2] = ["atm-01", "atm.02"];
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// A running gateway.
pub(crate) struct Gateway {
    /// Where its terminals send JSON lines.
    pub(crate) lines: SocketAddr,
    http: SocketAddr,
    process: Process,
}

/// What a gateway's metrics say of its log and what was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) appended: u64,
    pub(crate) pending: u64,
    pub(crate) forwarded: u64,
    /// How often a broker has accepted it.
    pub(crate) connections: u64,
}

impl Gateway {
    /// Starts gateway `n` of the fleet by the recipe, with these brokers and more of `[forward]`.
    pub(crate) fn start(dir: &Path, n: usize, brokers: &[SocketAddr], version: &str, forward: &str) -> Gateway {
        let dir = dir.join(site(n));
        std::fs::create_dir(&dir).unwrap();
        let at = host(u8::try_from(20 + n).unwrap());
        let (lines, http) = (SocketAddr::from((at, 4100)), SocketAddr::from((at, 8080)));
        std::fs::write(dir.join("mqtt.password"), branch_password(n)).unwrap();
        Gateway::run(&dir, &config(&dir, n, brokers, version, forward, lines, http), lines, http)
    }

    /// Starts one with this configuration.
    pub(crate) fn run(dir: &Path, config: &str, lines: SocketAddr, http: SocketAddr) -> Gateway {
        let file = dir.join("vestibule.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.arg("run").arg("--config").arg(file).current_dir(dir);
        Gateway { lines, http, process: Process::start("gateway", command, dir) }
    }

    /// Waits until it takes events.
    pub(crate) async fn ready(&mut self) {
        let missing = || "the gateway is not ready".to_owned();
        until(STARTS_WITHIN, missing, async || {
            self.process.assert_alive();
            self.get("/readyz").await
        })
        .await;
    }

    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// What it has, and what it has got rid of.
    pub(crate) async fn books(&mut self) -> Books {
        self.process.assert_alive();
        let metrics = self.get("/metrics").await.unwrap_or_else(|| panic!("no metrics:\n{}", self.process.tail()));
        // A row with labels is there from its first count on.
        let figure = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map_or(0, |figure| figure.parse().unwrap_or_else(|_| panic!("{name} is {figure}")))
        };
        let lost = figure("vestibule_forward_dead_lettered_events") + figure("vestibule_forward_discarded_events");
        assert_eq!(lost, 0, "dead letters:\n{}", self.process.tail());
        Books {
            appended: figure("vestibule_log_appended_events"),
            pending: figure("vestibule_forward_pending_events"),
            forwarded: figure("vestibule_forward_forwarded_events"),
            connections: figure("vestibule_forward_connections_total{outcome=\"connected\"}"),
        }
    }

    /// Waits until a figure of its metrics is this.
    pub(crate) async fn shows(&self, line: &str) {
        let shown = async || self.get("/metrics").await?.lines().any(|shown| shown == line).then_some(());
        until(STARTS_WITHIN, || format!("its metrics do not say {line}:\n{}", self.tail()), shown).await;
    }

    /// The end of what it printed.
    pub(crate) fn tail(&self) -> String {
        self.process.tail()
    }

    /// Kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    fn terminate(&self) {
        kill(Pid::from_raw(self.process.id()), Signal::SIGTERM).unwrap();
    }
}

/// Asks all of them to end, as systemd does: they have to end in order.
pub(crate) async fn stop(gateways: Vec<Gateway>) {
    gateways.iter().for_each(Gateway::terminate);
    for mut gateway in gateways {
        let missing = || "a gateway does not end at SIGTERM".to_owned();
        let status = until(STOPS_WITHIN, missing, async || gateway.process.ended()).await;
        assert!(status.success(), "a gateway ended with {status}:\n{}", gateway.process.tail());
    }
}

/// `docs/fleet/branch.toml`, with this gateway's names, and what stands in no recipe: its ports, its terminals.
fn config(
    dir: &Path,
    n: usize,
    brokers: &[SocketAddr],
    version: &str,
    forward: &str,
    lines: SocketAddr,
    http: SocketAddr,
) -> String {
    let brokers: Vec<String> = brokers.iter().map(|broker| format!("\"mqtt://{broker}\"")).collect();
    let password = dir.join("mqtt.password");
    let mut text = std::fs::read_to_string(docs("fleet/branch.toml")).unwrap();
    for (recipe, here) in [
        ("gw-001", format!("gw-{n:03}")),
        ("branch-001", site(n)),
        (r#"["mqtt://broker-1", "mqtt://broker-2", "mqtt://broker-3"]"#, format!("[{}]", brokers.join(", "))),
        (r#"version = "3.1.1""#, format!("version = \"{version}\"\n{forward}")),
        ("/etc/vestibule/mqtt.password", password.display().to_string()),
    ] {
        assert!(text.contains(recipe), "branch.toml has no {recipe}");
        text = text.replace(recipe, &here);
    }
    let data: PathBuf = dir.join("data");
    let mut rest = format!(
        "\n[log]\ndir = {data:?}\ntail_events = 256\n[http]\nlisten = \"{http}\"\n[rules]\nbundled = []\n\
         [[listener]]\nname = \"json\"\nprotocol = \"jsonl\"\nlisten = \"{lines}\"\n"
    );
    for terminal in TERMINALS {
        rest.push_str(&format!("[[terminal]]\nname = \"{terminal}\"\nprofile = \"json-lines\"\n"));
    }
    text + &rest
}
