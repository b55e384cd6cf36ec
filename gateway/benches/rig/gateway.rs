//! The gateway as a process.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::{Process, free_ports, until};

const CASH_LOW: &[u8] = include_bytes!("../../../plugins/dist/cash-low.wasm");
/// Rules that come with the gateway; more are copies of the first in the plugin folder.
const BUNDLED: usize = 2;

/// A running gateway whose terminals send JSON lines.
pub(crate) struct Gateway {
    pub(crate) links: Vec<SocketAddr>,
    /// From the start of the process until it said that it is ready, and until all its rules were in force.
    pub(crate) ready: Duration,
    pub(crate) in_force: Duration,
    http: SocketAddr,
    process: Process,
}

/// A gateway to be.
pub(crate) struct Plan {
    dir: PathBuf,
    terminals: usize,
    rules: usize,
    broker: u16,
}

impl Plan {
    /// A gateway with so many terminals and rules; its store is in this folder.
    pub(crate) fn new(dir: &Path, terminals: usize, rules: usize, broker: u16) -> Plan {
        let folder = dir.join("rules");
        std::fs::create_dir_all(&folder).unwrap();
        for copy in BUNDLED..rules {
            std::fs::write(folder.join(format!("cash-low-{copy}.wasm")), CASH_LOW).unwrap();
        }
        Plan { dir: dir.to_owned(), terminals, rules, broker }
    }

    /// Starts it, and waits until it is ready and its rules are in force.
    pub(crate) async fn start(&self) -> Gateway {
        let mut links = free_ports(self.terminals + 1);
        let http = links.pop().unwrap();
        let path = self.dir.join("vestibule.toml");
        std::fs::write(&path, self.config(http, &links)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.arg("run").arg("--config").arg(path).current_dir(&self.dir);
        let begun = Instant::now();
        let mut process = Process::start("gateway", command, &self.dir);
        let look = Duration::from_millis(1);
        until("a ready gateway", look, async || {
            process.assert_alive();
            get(http, "/readyz").await
        })
        .await;
        let ready = begun.elapsed();
        let rules = self.rules;
        let all = async || (get(http, "/metrics").await?.matches("rule_loaded{plugin=").count() >= rules).then_some(());
        until("all rules", look, all).await;
        Gateway { links, ready, in_force: begun.elapsed(), http, process }
    }

    /// Acknowledgements have time: `backlog` stops the process for a while.
    fn config(&self, http: SocketAddr, links: &[SocketAddr]) -> String {
        let mut config = format!(
            "gateway.id = \"br001\"\ngateway.site = \"branch-001\"\nlog.dir = {:?}\nhttp.listen = \"{http}\"\n\
             rules.dir = {:?}\nforward.port = {}\nforward.ack_timeout_s = 60\n",
            self.dir.join("data"),
            self.dir.join("rules"),
            self.broker
        );
        for (number, link) in links.iter().enumerate() {
            let _ = write!(
                config,
                "[[terminal]]\nname = \"atm-{number:02}\"\nprofile = \"json-lines\"\nreports_requests = true\n\
                 time_zone = \"Europe/Berlin\"\n[[terminal.link]]\nname = \"json\"\nprotocol = \"jsonl\"\nlisten = \"{link}\"\n"
            );
        }
        config
    }
}

impl Gateway {
    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> usize {
        let metrics = get(self.http, "/metrics").await.unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        value.parse().unwrap()
    }

    /// Events that rules have not looked at, of all rules together.
    pub(crate) async fn behind(&self) -> usize {
        let metrics = get(self.http, "/metrics").await.unwrap();
        let lags = metrics.lines().filter(|line| line.starts_with("vestibule_rule_lag_events{"));
        lags.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum()
    }

    pub(crate) fn resident_kib(&self) -> usize {
        self.process.memory_kib("VmRSS:")
    }

    /// Has the kernel watch from now on how much memory is resident at most.
    pub(crate) fn forget_peak(&self) {
        self.process.forget_peak();
    }

    /// Most memory that was resident since then.
    pub(crate) fn peak_kib(&self) -> usize {
        self.process.memory_kib("VmHWM:")
    }

    pub(crate) fn worked(&self) -> Duration {
        self.process.worked()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }
}

/// The body of a 200 answer; nothing where there is none.
async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}
