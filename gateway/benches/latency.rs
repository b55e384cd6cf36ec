//! From a terminal's byte to the subscriber, at a thousand events a second, next to what a bare sync costs in the same
//! minute on the same disk.
//!
//! `cargo bench -p vestibule --bench latency` (`-- --rounds 3 --seconds 5` for other figures than these)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and what cannot be is a failure")]

#[allow(dead_code, reason = "each benchmark uses its part of the rig")]
mod rig;

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use rig::broker::Broker;
use rig::figures::{quantile, row};
use rig::gateway::Plan;
use rig::source::{Source, hits};
use rig::subscriber::Subscriber;
use rumqttc::v5::mqttbytes::v5::Publish;

const TERMINALS: usize = 8;
const EVENTS_A_SECOND: u32 = 1000;
const RULES: usize = 3;
const ANSWERING: usize = 2;
const SYNCS: usize = 300;

/// Which line a message comes from: its terminal, and its number; none for what a rule answered.
fn origin(message: &Publish) -> Option<(usize, usize)> {
    let payload = std::str::from_utf8(&message.payload).unwrap();
    let after = |mark: &str, end: char| Some(payload.split_once(mark)?.1.split_once(end)?.0);
    let line = after(r#""mark":""#, '"')?.parse().unwrap();
    Some((after(r#""terminal":"atm-"#, '"')?.parse().unwrap(), line))
}

/// Milliseconds that each event took in one round.
async fn round(sources: &mut [Source], lines: Range<usize>, subscriber: &Subscriber) -> Vec<f64> {
    let (begin, each) = (lines.start, lines.len());
    let expected = TERMINALS * (each + ANSWERING * hits(lines.clone()));
    let start = Instant::now() + Duration::from_millis(50);
    let step = Duration::from_secs(1) / EVENTS_A_SECOND;
    let every = step * u32::try_from(TERMINALS).unwrap();
    // The terminals speak in turn, so that events come one by one.
    let begins = (0..).map(|turn| start + step * turn);
    let speak = sources.iter_mut().zip(begins).map(|(source, begin)| source.pace(lines.clone(), begin, every));
    let (sent, heard) = tokio::join!(futures_util::future::join_all(speak), subscriber.take(expected));
    let mut times = HashMap::new();
    for (message, at) in heard {
        if let Some((terminal, line)) = origin(&message) {
            times.entry((terminal, line)).or_insert((at - sent[terminal][line - begin]).as_secs_f64() * 1e3);
        }
    }
    assert_eq!(times.len(), TERMINALS * each, "every event came");
    times.into_values().collect()
}

async fn run(rounds: usize, seconds: usize) {
    let dir = rig::folder();
    let broker = Broker::start(dir.path()).await;
    let subscriber = Subscriber::start(broker.port).await;
    let gateway = Plan::new(dir.path(), TERMINALS, RULES, broker.port).start().await;
    let mut sources = Vec::new();
    for link in &gateway.links {
        sources.push(Source::connect(*link).await);
    }
    subscriber.settle().await;
    // The first lines warm everything up.
    let each = seconds * 1000 / TERMINALS;
    round(&mut sources, 0..each, &subscriber).await;
    row(&["round", "sync p50, ms", "sync p99", "event p50, ms", "event p99"]);
    let (mut syncs, mut events) = (Vec::new(), Vec::new());
    let show = |name: &str, syncs: &mut [f64], events: &mut [f64]| {
        let figure = |figures: &mut [f64], share| format!("{:.2}", quantile(figures, share));
        let [p50, p99, event_p50, event_p99] =
            [figure(syncs, 0.5), figure(syncs, 0.99), figure(events, 0.5), figure(events, 0.99)];
        row(&[name, &p50, &p99, &event_p50, &event_p99]);
    };
    for number in 1..=rounds {
        let mut synced = rig::disk::syncs(dir.path(), SYNCS);
        let mut took = round(&mut sources, number * each..(number + 1) * each, &subscriber).await;
        show(&number.to_string(), &mut synced, &mut took);
        syncs.append(&mut synced);
        events.append(&mut took);
    }
    show("all", &mut syncs, &mut events);
    row(&["promise", "", "≤ 1, then:", "≤ 2", "≤ 10"]);
    let most = 3.0 * quantile(&mut syncs, 0.99);
    row(&["else", "", "", "", &format!("≤ {most:.2}")]);
}

fn main() {
    rig::pin();
    let (rounds, seconds) = (rig::option("rounds", 3), rig::option("seconds", 5));
    rig::runtime().block_on(run(rounds, seconds));
}
