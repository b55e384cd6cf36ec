//! The main promise: sockets → log, synced → three rules that answer one event in a hundred → MQTT QoS 1 → subscriber,
//! against publishing the very same messages straight to the same broker. All processes of both share two cores.
//!
//! `cargo bench -p vestibule --bench path` (`-- --events 100000 --rounds 5` for other figures than these)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and what cannot be is a failure")]

#[allow(dead_code, reason = "each benchmark uses its part of the rig")]
mod rig;

use std::ops::Range;
use std::time::Instant;

use rig::broker::Broker;
use rig::figures::{float, median, row};
use rig::gateway::Plan;
use rig::source::{Source, hits};
use rig::subscriber::Subscriber;
use rumqttc::v5::mqttbytes::v5::Publish;

const PROMISE: f64 = 0.6;
const TERMINALS: usize = 16;
const RULES: usize = 3;
/// Rules of these that answer a hit: `cash-low` and its copy.
const ANSWERING: usize = 2;

/// Floods the gateway; the messages that came out, and how many a second.
async fn through(sources: &mut [Source], lines: Range<usize>, subscriber: &Subscriber) -> (Vec<Publish>, f64) {
    let count = TERMINALS * (lines.len() + ANSWERING * hits(lines.clone()));
    let begun = Instant::now();
    let flood = futures_util::future::join_all(sources.iter_mut().map(|source| source.flood(lines.clone())));
    let (_, heard) = tokio::join!(flood, subscriber.take(count));
    let last = heard.last().unwrap().1;
    (heard.into_iter().map(|(message, _)| message).collect(), float(count) / (last - begun).as_secs_f64())
}

/// Publishes them straight; how many a second came out.
async fn straight(port: u16, messages: Vec<Publish>, subscriber: &Subscriber) -> f64 {
    let count = messages.len();
    let begun = Instant::now();
    let ((), heard) = tokio::join!(rig::publisher::publish(port, messages), subscriber.take(count));
    float(count) / (heard.last().unwrap().1 - begun).as_secs_f64()
}

async fn run(events: usize, rounds: usize) {
    let dir = rig::folder();
    let broker = Broker::start(dir.path()).await;
    let subscriber = Subscriber::start(broker.port).await;
    let gateway = Plan::new(dir.path(), TERMINALS, RULES, broker.port).start().await;
    let mut sources = Vec::new();
    for link in &gateway.links {
        sources.push(Source::connect(*link).await);
    }
    subscriber.settle().await;
    let each = events / TERMINALS;
    // The first lines warm both up; they are not counted.
    let warm = through(&mut sources, 0..1000, &subscriber).await.0;
    straight(broker.port, warm, &subscriber).await;
    row(&["round", "gateway, msg/s", "straight, msg/s", "ratio"]);
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let begin = 1000 + round * each;
        let (messages, gateway) = through(&mut sources, begin..begin + each, &subscriber).await;
        let straight = straight(broker.port, messages, &subscriber).await;
        ratios.push(gateway / straight);
        let ratio = format!("{:.2}", gateway / straight);
        row(&[&(round + 1).to_string(), &format!("{gateway:.0}"), &format!("{straight:.0}"), &ratio]);
    }
    row(&["median", "", "", &format!("{:.2}", median(&mut ratios)), &format!("promise ≥ {PROMISE}")]);
}

fn main() {
    rig::pin();
    let (events, rounds) = (rig::option("events", 100_000), rig::option("rounds", 5));
    rig::runtime().block_on(run(events, rounds));
}
