//! What an event costs in a store that is nearly empty, and in one that is full: a commit of a batch, and a batch read
//! back by a consumer that lags.
//!
//! `cargo bench -p vestibule --bench rows` (`-- --rows 10000000` for the store of the promise: some minutes, 5 GB)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and what cannot be is a failure")]

#[allow(dead_code, reason = "each benchmark uses its part of the rig")]
mod rig;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rig::figures::{float, median, row};
use vestibule::event::{Device, Event, Kind};
use vestibule::log::{Config, Log, NewEvent, Submission};
use vestibule::metrics::Metrics;
use vestibule::terminals::TerminalFold;

const FEW: usize = 10_000;
const FILL: usize = 5_000;
const BATCH: usize = 64;
const TERMINALS: usize = 16;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(500);
const PROMISE: f64 = 1.1;

/// A store, and how many events it was given.
struct Store {
    log: Log,
    given: usize,
}

impl Store {
    fn fill(dir: &Path, rows: usize) -> Store {
        let metrics = Arc::new(Metrics::new().unwrap());
        let fold = Box::new(TerminalFold::new(Arc::default(), Arc::clone(&metrics)));
        let config = Config { dir: dir.join(rows.to_string()), ..Config::default() };
        let mut store = Store { log: Log::open(&config, "gw", fold, metrics).unwrap().log, given: 0 };
        while store.given < rows {
            store.append(FILL.min(rows - store.given));
        }
        store
    }

    fn append(&mut self, count: usize) {
        let event = |n: usize| {
            let event = Event::new(Kind::CashPresented).device(Device::CashHandler).detail("120.00 EUR presented");
            let terminal = format!("atm-{:02}", n % TERMINALS);
            let event = Event { terminal, received_at: Some(jiff::Timestamp::now()), ..event };
            NewEvent { event, source_id: Some(n.to_string()), reading: false }
        };
        let events = (self.given..self.given + count).map(event).collect();
        self.given += count;
        self.log.submit_blocking(Submission { events, ..Submission::default() }).unwrap();
    }

    /// Microseconds for each event: appended and synced, and read back from places all over the store.
    fn round(&mut self) -> [f64; 2] {
        let (begun, before) = (Instant::now(), self.given);
        while begun.elapsed() < ROUND {
            self.append(BATCH);
        }
        let appended = begun.elapsed().as_secs_f64() * 1e6 / float(self.given - before);
        let (begun, mut read, mut place) = (Instant::now(), 0, 1);
        while begun.elapsed() < ROUND {
            // Far from the newest ones, which are in memory.
            place = (place * 7919 + 13) % (FEW / 2 * self.given / FEW);
            read += self.log.read_after(u64::try_from(place).unwrap(), BATCH).unwrap().len();
        }
        [appended, begun.elapsed().as_secs_f64() * 1e6 / float(read)]
    }
}

fn main() {
    rig::pin();
    let rows = rig::option("rows", 1_000_000);
    let dir = rig::folder();
    let mut stores = [Store::fill(dir.path(), FEW), Store::fill(dir.path(), rows)];
    let mut measured: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (store, measured) in stores.iter_mut().zip(&mut measured) {
            store.round().into_iter().zip(measured).for_each(|(figure, figures)| figures.push(figure));
        }
    }
    let [few, many] = measured.map(|figures| figures.map(|mut figures| median(&mut figures)));
    row(&["µs an event", &format!("{FEW} rows"), &format!("{rows} rows"), "ratio", "promise"]);
    for (what, (few, many)) in ["committed, by 64", "read back, by 64"].iter().zip(few.into_iter().zip(many)) {
        let ratio = format!("{:.2}", many / few);
        row(&[what, &format!("{few:.1}"), &format!("{many:.1}"), &ratio, &format!("≤ {PROMISE}")]);
    }
}
