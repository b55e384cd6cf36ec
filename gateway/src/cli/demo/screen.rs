//! What the demo shows: where things are, events and answers as they happen, a summary.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::broker::Broker;
use crate::cli::exit::Exit;
use crate::cli::line;
use crate::event::{Kind, Severity};
use crate::gateway::End;
use crate::log::{Log, Progress, Stored};
use crate::metrics::Metrics;

/// Where the demo writes, and how.
#[derive(Clone, Copy)]
pub(super) struct Screen {
    json: bool,
    colour: bool,
}

/// Events counted as they were shown.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    by_protocol: BTreeMap<String, u64>,
    alerts_by_rule: BTreeMap<String, u64>,
    commands: u64,
}

/// What the demo did, from the store itself.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    appended: u64,
    forwarded: u64,
    pending: u64,
    dead_lettered: u64,
    discarded: u64,
    commits: u64,
    /// Events that the store held before this run.
    before: u64,
    #[serde(flatten)]
    tally: Tally,
}

impl Tally {
    pub(super) fn take(&mut self, stored: &Stored) {
        let event = &stored.event;
        let protocol = event.protocol.as_deref().unwrap_or(if event.rule.is_some() { "rules" } else { "gateway" });
        *self.by_protocol.entry(protocol.to_owned()).or_default() += 1;
        match (event.kind, &event.rule) {
            (Kind::AlertRaised, Some(rule)) => *self.alerts_by_rule.entry(rule.clone()).or_default() += 1,
            (Kind::CommandRequested, _) => self.commands += 1,
            _ => {}
        }
    }
}

impl Summary {
    pub(super) fn new(log: &Log, metrics: &Metrics, before: u64, tally: Tally) -> Result<Summary, Exit> {
        let failed = |error: crate::log::LogError| Exit::io(error.to_string());
        let progress = log.progress().map_err(failed)?;
        let (appended, pending) = log.count(&progress).map_err(failed)?;
        let Progress { forwarded, dead_lettered, discarded, .. } = progress;
        let commits = metrics.log_commits.get();
        Ok(Summary { appended, forwarded, pending, dead_lettered, discarded, commits, before, tally })
    }

    /// Whether every event is accounted for.
    pub(super) fn holds(&self) -> bool {
        self.appended == self.forwarded + self.pending + self.dead_lettered + self.discarded
    }
}

impl Screen {
    pub(super) fn new(json: bool) -> Screen {
        Screen { json, colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    pub(super) fn opening(self, broker: &Broker, http: SocketAddr, dir: &Path, temporary: bool) -> Result<(), Exit> {
        if self.json {
            return say(&json!({ "type": "ready", "mqtt": broker.v4, "mqtt5": broker.v5, "http": http, "dir": dir })
                .to_string());
        }
        let kept = if temporary { "  (goes away at the end; keep it with --dir)" } else { "" };
        let (host, port) = (broker.v4.ip(), broker.v4.port());
        say(&format!(
            "Vestibule {} demo: four simulated terminals, two rules, one broker\n\n  \
             broker   mqtt://{} (MQTT 3.1.1), {} (MQTT 5)\n           mosquitto_sub -h {host} -p {port} -t '#' -v\n  \
             http     http://{http}/metrics  /readyz  /livez\n  \
             data     {}{kept}\n  \
             stop     Ctrl-C\n",
            env!("CARGO_PKG_VERSION"),
            broker.v4,
            broker.v5,
            dir.display(),
        ))
    }

    pub(super) fn event(self, stored: &Stored) -> Result<(), Exit> {
        if self.json {
            return say(&format!(r#"{{"type":"event","event":{}}}"#, stored.json));
        }
        let event = &stored.event;
        let text = line::event(stored, "%H:%M:%S");
        say(&self.paint(&text, event.severity, event.rule.is_some()))
    }

    pub(super) fn closing(self, summary: &Summary, end: End) -> Result<(), Exit> {
        let holds = summary.holds();
        if self.json {
            let mut object = json!(summary);
            object["type"] = json!("summary");
            object["invariant_holds"] = json!(holds);
            return say(&object.to_string());
        }
        let list = |map: &BTreeMap<String, u64>| {
            map.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let Summary { appended, forwarded, pending, dead_lettered, discarded, commits, before, tally } = summary;
        let (sign, ended) = (if holds { "=" } else { "≠" }, if end == End::Stopped { "" } else { " (the log failed)" });
        let earlier = if *before > 1 { format!(", {before} of them before this run") } else { String::new() };
        say(&format!(
            "\nSummary{ended}\n  \
             appended {appended} {sign} forwarded {forwarded} + pending {pending} + dead-lettered {dead_lettered} + discarded {discarded}\n  \
             events   {}{earlier}\n  \
             alerts   {}; commands asked for: {}\n  \
             commits  {commits}, each with an fsync",
            list(&tally.by_protocol),
            list(&tally.alerts_by_rule),
            tally.commands,
        ))
    }

    /// The severity's colour, and answers of rules in bold.
    fn paint(self, text: &str, severity: Severity, answer: bool) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match severity {
            Severity::Info => "0",
            Severity::Warning => "33",
            Severity::Major => "35",
            Severity::Critical => "31",
        };
        let bold = if answer { ";1" } else { "" };
        format!("\u{1b}[{code}{bold}m{text}\u{1b}[0m")
    }
}

/// Writes a line; a reader that has gone away (`| head`) ends the demo.
fn say(text: &str) -> Result<(), Exit> {
    writeln!(io::stdout().lock(), "{text}").map_err(|error| Exit::io(format!("standard output: {error}")))
}
