//! A broker that was away: how fast the backlog drains against publishing the same messages straight, and what memory
//! the gateway with six rules takes at rest and while it drains. First, how long it takes from its start to ready.
//!
//! The backlog drains a part at a time. Behind each part the gateway is stopped as it is (SIGSTOP), and the messages that
//! have just come out of it are published straight to the same broker and subscriber, once by the client library as it is
//! (the promise), once on a bare socket, which is faster; then the gateway goes on. So all ways are measured in turns, under
//! the same load of the machine, and the middle ratio counts.
//!
//! It ends with a verdict for each promise, and fails where one is missed. The short form is `tests/backlog`.
//!
//! `cargo bench -p vestibule --bench backlog` (`-- --events 1000000` for the backlog of the promise)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and what cannot be is a failure")]

#[allow(dead_code, reason = "each benchmark uses its part of the rig")]
mod rig;

use std::process::ExitCode;
use std::time::Duration;

use rig::backlog::{Drained, RULES, Rates, TERMINALS, drain, fill};
use rig::broker::Broker;
use rig::figures::{Verdicts, float, median, row};
use rig::gateway::{Gateway, Plan};
use rig::process::free_port;
use rig::subscriber::Subscriber;

/// Starts of which the middle one counts.
const STARTS: usize = 5;
/// Parts in which the backlog drains.
const PARTS: usize = 10;
/// What is promised: milliseconds to ready, a ratio, and megabytes.
const READY_MS: f64 = 150.0;
const RATIO: f64 = 0.7;
const IDLE_MB: f64 = 32.0;
const DRAINING_MB: f64 = 64.0;

fn mebibytes(kibibytes: usize) -> String {
    format!("{:.1} MiB", float(kibibytes) / 1024.0)
}

async fn starts(plan: &Plan, verdicts: &mut Verdicts) -> Gateway {
    let (mut ready, mut in_force, mut first) = (Vec::new(), Vec::new(), None);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    for _ in 0..STARTS {
        drop(first.take());
        let gateway = plan.start().await;
        ready.push(milliseconds(gateway.ready));
        in_force.push(milliseconds(gateway.in_force));
        first = Some(gateway);
    }
    row(&["start to", "ms", "promise"]);
    row(&["ready", &format!("{:.0}", median(&mut ready)), "≤ 150"]);
    row(&["rules in force", &format!("{:.0}", median(&mut in_force))]);
    verdicts.at_most("milliseconds to ready", median(&mut ready), READY_MS);
    first.unwrap()
}

async fn run(events: usize) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let dir = rig::folder();
    let address = free_port();
    let plan = Plan::new(dir.path(), TERMINALS, RULES, address.port());
    let gateway = starts(&plan, &mut verdicts).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = gateway.resident_kib();
    let pending = fill(&gateway, events, 0).await;
    let full = gateway.resident_kib();

    let broker = Broker::start_at(dir.path(), address).await;
    let subscriber = Subscriber::start(broker.port).await;
    row(&["part", "drained, msg/s", "straight, msg/s", "ratio", "bare, msg/s", "ratio"]);
    let Drained { parts, costs, most_kib } = drain(&gateway, &broker, &subscriber, pending, PARTS, show).await;

    let middle =
        [Rates::ratio, Rates::bare_ratio].map(|ratio| median(&mut parts.iter().map(ratio).collect::<Vec<_>>()));
    let [ratio, bare] = middle.map(|ratio| format!("{ratio:.2}"));
    row(&["median of", &pending.to_string(), "", &ratio, "", &bare, &format!("promise ≥ {RATIO}")]);
    let costs = costs.map(|cost| format!("{:.1} µs/msg", cost.as_secs_f64() * 1e6 / float(pending)));
    row(&["processors", &costs[0], &costs[1], "", &costs[2]]);
    row(&["memory (VmRSS)", "", "promise"]);
    row(&["at rest", &mebibytes(idle), "≤ 32 MB"]);
    row(&["after the flood", &mebibytes(full)]);
    row(&["draining, most", &mebibytes(most_kib), "≤ 64 MB"]);
    verdicts.at_least("ratio to publishing straight", middle[0], RATIO);
    verdicts.at_most("megabytes at rest", megabytes(idle), IDLE_MB);
    verdicts.at_most("megabytes draining", megabytes(most_kib), DRAINING_MB);
    verdicts
}

fn megabytes(kibibytes: usize) -> f64 {
    float(kibibytes) * 1024.0 / 1e6
}

fn show(part: usize, rates: &Rates) {
    let cells = [rates.drained, rates.library, rates.bare].map(|rate| format!("{rate:.0}"));
    let ratios = [rates.ratio(), rates.bare_ratio()].map(|ratio| format!("{ratio:.2}"));
    row(&[&part.to_string(), &cells[0], &cells[1], &ratios[0], &cells[2], &ratios[1]]);
}

fn main() -> ExitCode {
    rig::pin();
    let events = rig::option("events", 100_000);
    rig::runtime().block_on(run(events)).exit()
}
