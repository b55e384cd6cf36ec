//! The gateway as a process at our end of the cable.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Figures;
use crate::broker::{FAR, PORT};
use crate::process::{Process, free_ports, until};

/// Terminals, each with a link of its own.
const TERMINALS: usize = 4;
const STARTS_WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Gateway {
    /// Where the terminals' links are.
    pub(crate) lines: Vec<SocketAddr>,
    http: SocketAddr,
    process: Process,
}

impl Gateway {
    /// Starts it, and waits until it is ready and connected.
    pub(crate) async fn start(dir: &Path, figures: Figures) -> Gateway {
        let mut gateway = Gateway::start_alone(dir, figures).await;
        let missing = || "the gateway is not connected".into();
        until(STARTS_WITHIN, missing, async || {
            gateway.assert_alive();
            (gateway.metric("forward_connected").await == 1).then_some(())
        })
        .await;
        gateway
    }

    /// Starts it, and waits until it is ready.
    pub(crate) async fn start_alone(dir: &Path, figures: Figures) -> Gateway {
        let dir = dir.join("gateway");
        std::fs::create_dir(&dir).unwrap();
        let (http, lines) = (free_ports::<1>()[0], (0..TERMINALS).map(|_| free_ports::<1>()[0]).collect::<Vec<_>>());
        let mut config = format!(
            "gateway.id = \"br001\"\ngateway.site = \"branch-001\"\nlog.dir = {:?}\nhttp.listen = \"{http}\"\n\
             [forward]\nhost = \"{FAR}\"\nport = {PORT}\nack_timeout_s = {}\nconnect_timeout_s = {}\n",
            dir.join("data"),
            figures.ack_timeout_s,
            figures.connect_timeout_s,
        );
        for (number, link) in lines.iter().enumerate() {
            let _ = write!(
                config,
                "[[terminal]]\nname = \"atm-{number}\"\nprofile = \"json-lines\"\ntime_zone = \"Europe/Berlin\"\n\
                 [[terminal.link]]\nname = \"json\"\nprotocol = \"jsonl\"\nlisten = \"{link}\"\n"
            );
        }
        let path = dir.join("vestibule.toml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.arg("run").arg("--config").arg(path).current_dir(&dir);
        let process = Process::start("gateway", command, &dir);
        let mut gateway = Gateway { lines, http, process };
        let missing = || "the gateway is not ready".into();
        until(STARTS_WITHIN, missing, async || {
            gateway.assert_alive();
            gateway.get("/readyz").await
        })
        .await;
        gateway
    }

    pub(crate) fn assert_alive(&mut self) {
        self.process.assert_alive();
    }

    pub(crate) fn tail(&self) -> String {
        self.process.tail()
    }

    /// The value of a metric; its labels stand behind its name.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").await.expect("the gateway answers");
        let front = format!("vestibule_{name} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&front)).expect("a known metric");
        value.parse().unwrap()
    }

    /// Rules that are in force.
    pub(crate) async fn rules(&self) -> usize {
        let metrics = self.get("/metrics").await.expect("the gateway answers");
        metrics.lines().filter(|line| line.starts_with("vestibule_rule_loaded{") && line.ends_with(" 1")).count()
    }

    /// The body of a 200 answer; nothing where there is none.
    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// Has the kernel watch from now on how much memory is resident at most; KiB that are resident now.
    pub(crate) fn forget_peak(&self) -> u64 {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5").unwrap();
        self.memory("VmRSS:")
    }

    /// KiB that were resident at most since then.
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Milliseconds for which processors have worked for it.
    pub(crate) fn processor_ms(&self) -> u128 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // Behind the name in brackets come the state and, as the twelfth and thirteenth, times in hundredths of a second.
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u128>().unwrap() * 10).sum()
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }
}
