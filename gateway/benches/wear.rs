//! What events cost the card they are written to: bytes and commits for each, alone as on an idle gateway, and in batches.
//!
//! `cargo bench -p vestibule --bench wear` (`-- --events 200000` for more of them; the store is made in the temporary folder,
//! which must be on a disk: memory has no wear)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and what cannot be is a failure")]

#[allow(dead_code, reason = "each benchmark uses its part of the rig")]
mod rig;

use std::path::Path;
use std::sync::Arc;

use rig::figures::{float, row};
use vestibule::event::{Device, Event, Kind};
use vestibule::log::{Config, Log, NewEvent, Submission};
use vestibule::metrics::Metrics;
use vestibule::terminals::TerminalFold;

const TERMINALS: usize = 16;

/// Bytes for each event where so many come at once, and bytes of its JSON form.
fn cost(dir: &Path, batch: usize, events: usize, ids: bool) -> (f64, f64, u64) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let fold = Box::new(TerminalFold::new(Arc::default(), Arc::clone(&metrics)));
    let config = Config { dir: dir.join(format!("{batch}-{ids}")), ..Config::default() };
    let log = Log::open(&config, "gw", fold, Arc::clone(&metrics)).unwrap().log;
    let event = |n: usize| {
        let event = Event::new(Kind::CashPresented).device(Device::CashHandler).detail("120.00 EUR presented");
        let terminal = format!("atm-{:02}", n % TERMINALS);
        let event = Event { terminal, received_at: Some(jiff::Timestamp::now()), ..event };
        NewEvent { event, source_id: ids.then(|| n.to_string()), reading: false }
    };
    let mut given = 0;
    while given < events {
        let events = (given..given + batch).map(event).collect();
        log.submit_blocking(Submission { events, ..Submission::default() }).unwrap();
        given += batch;
    }
    let read = log.read_after(0, 100).unwrap();
    let json: usize = read.iter().map(|stored| stored.json.len()).sum();
    // What is still to be checkpointed is written at the end.
    log.close();
    log.count_written(&metrics);
    let bytes = metrics.log_written_bytes.get();
    let bytes = f64::from(u32::try_from(bytes / u64::try_from(given).unwrap()).unwrap());
    (bytes, float(json) / float(read.len()), metrics.log_commits.get())
}

fn main() {
    let events = rig::option("events", 20_000);
    let dir = rig::folder();
    row(&["events at once", "source's ids", "bytes an event", "of these JSON", "commits"]);
    for (batch, events) in [(1, events / 5), (8, events), (64, events), (1000, events * 5)] {
        for ids in [false, true] {
            let (bytes, json, commits) = cost(dir.path(), batch, events, ids);
            let cells =
                [batch.to_string(), ids.to_string(), format!("{bytes:.0}"), format!("{json:.0}"), commits.to_string()];
            row(&cells.each_ref().map(String::as_str));
        }
    }
}
