//! A broker that was away: how fast the backlog drains against publishing the same messages straight, and what memory
//! the gateway with six rules takes at rest and while it drains. First, how long it takes from its start to ready.
//!
//! `cargo bench -p vestibule --bench backlog` (`-- --events 1000000` for the backlog of the promise)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and what cannot be is a failure")]

#[allow(dead_code, reason = "each benchmark uses its part of the rig")]
mod rig;

use std::time::{Duration, Instant};

use rig::broker::Broker;
use rig::figures::{float, median, row};
use rig::gateway::{Gateway, Plan};
use rig::process::{free_port, until};
use rig::source::Source;
use rig::subscriber::Subscriber;

const TERMINALS: usize = 16;
const RULES: usize = 6;
/// Starts of which the middle one counts.
const STARTS: usize = 5;
/// Messages of the backlog that are published straight as well.
const COMPARED: usize = 100_000;

fn mebibytes(kibibytes: usize) -> String {
    format!("{:.1} MiB", float(kibibytes) / 1024.0)
}

async fn starts(plan: &Plan) -> Gateway {
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
    first.unwrap()
}

async fn run(events: usize) {
    let dir = rig::folder();
    let address = free_port();
    let plan = Plan::new(dir.path(), TERMINALS, RULES, address.port());
    let gateway = starts(&plan).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = gateway.resident_kib();

    let mut sources = Vec::new();
    for link in &gateway.links {
        sources.push(Source::connect(*link).await);
    }
    let lines = 0..events / TERMINALS;
    futures_util::future::join_all(sources.iter_mut().map(|source| source.flood(lines.clone()))).await;
    // The rules answer what came; then nothing moves any more.
    let mut pending = 0;
    until("an end of the answers", Duration::from_secs(1), async || {
        let before = std::mem::replace(&mut pending, gateway.metric("vestibule_forward_pending_events").await);
        (before == pending).then_some(())
    })
    .await;
    let full = gateway.resident_kib();

    let broker = Broker::start_at(dir.path(), address).await;
    let subscriber = Subscriber::start(broker.port).await;
    let mut most = 0;
    let drained = async || {
        most = most.max(gateway.resident_kib());
        (subscriber.count() >= pending).then_some(())
    };
    until("the whole backlog", Duration::from_millis(20), drained).await;
    let mut heard = subscriber.take(pending).await;
    let took = heard.last().unwrap().1 - heard.first().unwrap().1;
    let drain = float(pending) / took.as_secs_f64();

    heard.truncate(COMPARED);
    let count = heard.len();
    let messages = heard.into_iter().map(|(message, _)| message).collect();
    subscriber.settle().await;
    let begun = Instant::now();
    let ((), heard) = tokio::join!(rig::publisher::publish(broker.port, messages), subscriber.take(count));
    let straight = float(count) / (heard.last().unwrap().1 - begun).as_secs_f64();

    row(&["memory (VmRSS)", "", "promise"]);
    row(&["at rest", &mebibytes(idle), "≤ 32 MB"]);
    row(&["after the flood", &mebibytes(full)]);
    row(&["draining, most", &mebibytes(most), "≤ 64 MB"]);
    row(&["drained", "msg/s", "straight, msg/s", "ratio"]);
    let ratio = format!("{:.2}", drain / straight);
    row(&[&pending.to_string(), &format!("{drain:.0}"), &format!("{straight:.0}"), &ratio]);
}

fn main() {
    rig::pin();
    let events = rig::option("events", 100_000);
    rig::runtime().block_on(run(events));
}
