//! The store of a gateway that does not run, opened for writing.

use std::sync::Arc;

use super::exit::Exit;
use crate::clock;
use crate::config::Config;
use crate::event::Event;
use crate::gateway::{StartError, store_begun, store_replaced};
use crate::log::{Log, OpenError, Opened, Submission};
use crate::metrics::Metrics;
use crate::terminals::{Inventory, TerminalFold};

/// Opens it; none where a gateway runs on it. What the opening itself has to tell is appended.
pub(super) fn open(config: &Config) -> Result<Option<Log>, Exit> {
    let metrics = Arc::new(Metrics::new().map_err(|error| Exit::software(error.to_string()))?);
    let inventory = Arc::new(Inventory::new(config.terminals()));
    let fold = Box::new(TerminalFold::new(inventory, Arc::clone(&metrics)));
    let Opened { log, set_aside, beginning, newest_confirmed, .. } =
        match Log::open(&config.log, &config.gateway.id, fold, metrics) {
            Err(OpenError::InUse(_)) => return Ok(None),
            opened => opened.map_err(|error| Exit::from(StartError::from(error)))?,
        };
    clock::configure(&config.clock, newest_confirmed);
    let told = set_aside.map(|path| store_replaced(&path)).into_iter().chain(beginning.map(|how| store_begun(&how)));
    let events: Vec<_> = told.map(|event| stamp(event).into()).collect();
    if !events.is_empty() {
        log.submit_blocking(Submission { events, ..Submission::default() })
            .map_err(|error| Exit::io(error.to_string()))?;
    }
    Ok(Some(log))
}

fn stamp(mut event: Event) -> Event {
    let (now, synced) = clock::now();
    event.terminal = "gateway".to_owned();
    event.received_at = Some(now);
    event.time_synced = synced;
    event
}
