//! What came of a simulation, for people or as one JSON object.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::protocol::Protocol;
use crate::simulate::Tally;
use crate::simulate::figures::{Figures, Quantiles};
use crate::simulate::fleet::Name;

/// What the gateway's configuration must know of a terminal.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    /// For `dial`.
    Address(SocketAddr),
    /// For `serial`.
    Device(PathBuf),
}

impl Opened {
    fn shown(&self) -> String {
        match self {
            Opened::Address(address) => format!("ws://{address}"),
            Opened::Device(path) => path.display().to_string(),
        }
    }
}

/// Says where terminals wait for the gateway; on standard error where standard output is for one object.
pub(super) fn opening(opened: &[Opened], names: &[Name], json: bool) -> Result<(), Exit> {
    let lines: String =
        names.iter().zip(opened).map(|(name, opened)| format!("{}  {}\n", name.text, opened.shown())).collect();
    let written = if json {
        io::stderr().lock().write_all(lines.as_bytes())
    } else {
        let mut out = io::stdout().lock();
        out.write_all(lines.as_bytes()).and_then(|()| out.flush())
    };
    written.map_err(|error| Exit::io(format!("standard output: {error}")))
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    protocol: &'static str,
    terminals: u32,
    seconds: f64,
    sent: u64,
    /// Absent where the protocol has no acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<u64>,
    /// Commands of a host that were answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    commands: Option<u64>,
    connections: u64,
    messages_per_second: f64,
    /// From the last byte of a message to its acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Quantiles>,
}

impl Report {
    pub(super) fn new(figures: &Figures, protocol: Protocol, terminals: u32, took: Duration) -> Report {
        let Tally { sent, accepted, refused, commands, connections } = figures.tally();
        let answered = matches!(protocol, Protocol::Jsonl | Protocol::Triton | Protocol::Upload);
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate has no more than six digits that mean anything")]
        let messages_per_second = sent as f64 / seconds.max(0.001);
        Report {
            protocol: protocol.name(),
            terminals,
            seconds: tenths(seconds),
            sent,
            acknowledged: answered.then_some(accepted),
            refused: answered.then_some(refused),
            commands: (protocol == Protocol::Ndc).then_some(commands),
            connections,
            messages_per_second: tenths(messages_per_second),
            latency_us: figures.latency(),
        }
    }

    /// Whether there never was a line to anybody.
    pub(super) fn never_connected(&self) -> bool {
        self.connections == 0
    }

    pub(super) fn print(&self, json: bool) -> Result<(), Exit> {
        if json {
            let object = serde_json::to_string(self).map_err(|error| Exit::software(error.to_string()))?;
            return line(&object);
        }
        let count =
            |name: &str, count: Option<u64>| count.map(|count| format!("{name:<14}{count}\n")).unwrap_or_default();
        let latency = self.latency_us.map(|Quantiles { p50, p90, p99, max }| {
            let ms = |us: u64| format!("{:>13}", format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10));
            let head = format!("{:>13}{:>13}{:>13}{:>13}", "p50", "p90", "p99", "max");
            format!("\nlatency    {head}\n           {}{}{}{}", ms(p50), ms(p90), ms(p99), ms(max))
        });
        line(&format!(
            "{} × {} for {:.1} s, {} connections\n{}{}{}{}messages/s    {:.1}{}",
            self.terminals,
            self.protocol,
            self.seconds,
            self.connections,
            count("sent", Some(self.sent)),
            count("acknowledged", self.acknowledged),
            count("refused", self.refused),
            count("commands", self.commands),
            self.messages_per_second,
            latency.unwrap_or_default(),
        ))
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Writes a line to standard output.
pub(super) fn line(text: &str) -> Result<(), Exit> {
    writeln!(io::stdout().lock(), "{text}").map_err(|error| Exit::io(format!("standard output: {error}")))
}
