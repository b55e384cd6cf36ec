//! What a rule costs the gateway for each event: the call into the sandbox and back, with an answer for one event in a
//! hundred, and without any. What the rule itself does is part of it, so the rule that does nothing is the host's cost.
//!
//! `cargo bench -p vestibule --bench rules`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and what cannot be is a failure")]

#[allow(dead_code, reason = "each benchmark uses its part of the rig")]
mod rig;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use rig::figures::{median, row};
use vestibule::event::{Component, Device, Event, Kind};
use vestibule::log::Stored;
use vestibule::rules::{Config, Trial};

const RULE: &[u8] = include_bytes!("../../plugins/dist/cash-low.wasm");
/// The promise, in nanoseconds: for an event alone, and for one of a full batch.
const PROMISES: [(usize, f64); 2] = [(1, 600.0), (64, 200.0)];
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(150);
const TERMINALS: u64 = 16;

/// An event that the rule is handed and answers with nothing: what is low is no cassette.
fn idle(seq: u64) -> Event {
    let event = Event::new(Kind::SupplyLow).device(Device::ReceiptPrinter).component(Component::Supply(1));
    Event { terminal: format!("atm-{:02}", seq % TERMINALS), received_at: Some(jiff::Timestamp::now()), ..event }
}

/// The same event a number of times, with a cassette that runs low or is filled instead of each hundredth.
fn events(hits: bool) -> Vec<Arc<Stored>> {
    let event = |seq: u64| {
        let event = idle(seq);
        let event = match (hits, seq % 200) {
            (true, 0) => Event { kind: Kind::SupplyLow, component: Some(Component::Cassette(1)), ..event },
            (true, 100) => Event { kind: Kind::SupplyOk, component: Some(Component::Cassette(1)), ..event },
            _ => event,
        };
        // One terminal for the hits, so that low and filled are about the same cassette.
        let terminal = if hits && seq.is_multiple_of(100) { "atm-00".to_owned() } else { event.terminal.clone() };
        Arc::new(Stored {
            seq,
            terminal_seq: seq,
            boot_ms: None,
            event: Event { terminal, ..event },
            json: "{}".into(),
        })
    };
    (0..12_800).map(event).collect()
}

/// Nanoseconds for each event in one round, and the answers.
fn round(trial: &mut Trial, events: &[Arc<Stored>], batch: usize) -> (f64, usize) {
    let (mut count, mut answers) = (0_usize, 0);
    let (began, before) = (Instant::now(), processor_time());
    while began.elapsed() < ROUND {
        for chunk in events.chunks(batch) {
            let said = trial.answer(chunk);
            assert!(said.faults.is_empty(), "{:?}", said.faults);
            answers += said.events.len();
            count += chunk.len();
        }
    }
    let took = processor_time() - before;
    (took.as_secs_f64() * 1e9 / rig::figures::float(count), answers * 1000 / count)
}

/// What this thread had of the processor: others that use the machine do not count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

fn main() {
    rig::pin();
    let mut trial = Trial::new(&Config::default(), RULE, Arc::new(|_, _| false)).unwrap();
    let (quiet, hits) = (events(false), events(true));
    let cases = PROMISES
        .map(|(batch, promise)| [(batch, promise, &quiet, "no answer"), (batch, promise, &hits, "1 % answered")]);
    let cases = cases.as_flattened();
    let mut measured = vec![Vec::new(); cases.len()];
    // The cases alternate: what disturbs the machine disturbs all of them.
    for _ in 0..ROUNDS {
        for ((batch, _, events, what), measured) in cases.iter().zip(&mut measured) {
            let (cost, answers) = round(&mut trial, events, *batch);
            assert_eq!(answers, if *what == "no answer" { 0 } else { 10 }, "answers to 1000 events");
            measured.push(cost);
        }
    }
    row(&["events at once", "answers", "ns an event, best", "median", "promise"]);
    for ((batch, promise, _, what), measured) in cases.iter().zip(&mut measured) {
        let best = measured.iter().copied().fold(f64::INFINITY, f64::min);
        let (best, median) = (format!("{best:.0}"), format!("{:.0}", median(measured)));
        row(&[&batch.to_string(), what, &best, &median, &format!("{promise:.0}")]);
    }
}
