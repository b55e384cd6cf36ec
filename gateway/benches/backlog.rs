//! A broker that was away: how fast the backlog drains against publishing the same messages straight, and what memory
//! the gateway with six rules takes at rest and while it drains. First, how long it takes from its start to ready.
//!
//! The backlog drains a part at a time. Behind each part the gateway is stopped as it is (SIGSTOP), and the messages that
//! have just come out of it are published straight to the same broker and subscriber, once by the client library as it is
//! (the promise), once on a bare socket, which is faster; then the gateway goes on. So all ways are measured in turns, under
//! the same load of the machine, and the middle ratio counts.
//!
//! `cargo bench -p vestibule --bench backlog` (`-- --events 1000000` for the backlog of the promise)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and what cannot be is a failure")]

#[allow(dead_code, reason = "each benchmark uses its part of the rig")]
mod rig;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rig::broker::Broker;
use rig::figures::{float, median, row};
use rig::gateway::{Gateway, Plan};
use rig::process::{free_port, until};
use rig::publisher::{publish, publish_barely};
use rig::source::Source;
use rig::subscriber::Subscriber;

const TERMINALS: usize = 16;
const RULES: usize = 6;
/// Starts of which the middle one counts.
const STARTS: usize = 5;
/// Parts in which the backlog drains.
const PARTS: usize = 10;
const PROMISE: f64 = 0.7;

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
    gateway.forget_peak();
    row(&["part", "drained, msg/s", "straight, msg/s", "ratio", "bare, msg/s", "ratio"]);
    let (mut ratios, mut bare_ratios, mut left) = (Vec::new(), Vec::new(), pending);
    // What processors do for one message is what is left of a rate where others use them too.
    let worked = || broker.worked() + rig::process::worked(std::process::id());
    let mut costs = [Duration::ZERO; 3];
    for part in 1..=PARTS {
        let count = if part == PARTS { left } else { pending / PARTS };
        let (resumed, before) = (Instant::now(), worked() + gateway.worked());
        gateway.signal(Signal::SIGCONT);
        let heard = subscriber.take(count).await;
        gateway.signal(Signal::SIGSTOP);
        // What was under way belongs to the next part.
        left -= heard.len() + subscriber.settle().await;
        costs[0] += worked() + gateway.worked() - before;
        // The first part begins when the gateway has found the broker, the others when it goes on.
        let begun = if part == 1 { heard[0].1 } else { resumed };
        let drained = float(heard.len()) / (heard[heard.len() - 1].1 - begun).as_secs_f64();
        let (count, messages) = (heard.len(), heard.into_iter().map(|(message, _)| message).collect::<Vec<_>>());
        let before = worked();
        let library = straight(publish(broker.port, messages.clone()), count, &subscriber).await;
        let between = worked();
        let bare = straight(publish_barely(broker.port, messages), count, &subscriber).await;
        costs[1] += between - before;
        costs[2] += worked() - between;
        ratios.push(drained / library);
        bare_ratios.push(drained / bare);
        let rates = [drained, library, bare].map(|rate| format!("{rate:.0}"));
        let ratio = [drained / library, drained / bare].map(|ratio| format!("{ratio:.2}"));
        row(&[&part.to_string(), &rates[0], &rates[1], &ratio[0], &rates[2], &ratio[1]]);
    }
    let most = gateway.peak_kib();
    assert_eq!(left, 0, "messages came twice, or not at all");

    let middle = [&mut ratios, &mut bare_ratios].map(|ratios| format!("{:.2}", median(ratios)));
    row(&["median of", &pending.to_string(), "", &middle[0], "", &middle[1], &format!("promise ≥ {PROMISE}")]);
    let costs = costs.map(|cost| format!("{:.1} µs/msg", cost.as_secs_f64() * 1e6 / float(pending)));
    row(&["processors", &costs[0], &costs[1], "", &costs[2]]);
    row(&["memory (VmRSS)", "", "promise"]);
    row(&["at rest", &mebibytes(idle), "≤ 32 MB"]);
    row(&["after the flood", &mebibytes(full)]);
    row(&["draining, most", &mebibytes(most), "≤ 64 MB"]);
}

/// How many of these messages, published now, come out a second.
async fn straight(published: impl Future<Output = ()>, count: usize, subscriber: &Subscriber) -> f64 {
    let begun = Instant::now();
    let ((), heard) = tokio::join!(published, subscriber.take(count));
    float(count) / (heard[heard.len() - 1].1 - begun).as_secs_f64()
}

fn main() {
    rig::pin();
    let events = rig::option("events", 100_000);
    rig::runtime().block_on(run(events));
}
