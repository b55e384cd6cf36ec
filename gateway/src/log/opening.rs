//! What opening a store may have to tell, as the events that tell it. Whoever opens it for writing appends them first.

use super::{Beginning, Cause, Opened};
use crate::event::{Event, Kind};

impl Opened {
    /// That a damaged store was set aside, and that a new life began in one with events; without terminal or time yet.
    pub fn news(&self) -> Vec<Event> {
        let replaced = self.set_aside.as_ref().map(|path| {
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            replaced(file)
        });
        replaced.into_iter().chain(self.beginning.as_ref().map(begun)).collect()
    }
}

fn replaced(file: String) -> Event {
    Event::new(Kind::GatewayStoreReplaced)
        .detail(format!(
            "the event store was damaged and set aside as {file}; a new one was begun; `vestibule outbox salvage {file} --to FILE` reads what it holds"
        ))
        .attribute("file", file)
}

fn begun(beginning: &Beginning) -> Event {
    let Beginning { cause, after, before, at, set_aside } = beginning;
    let event = match cause {
        Cause::Restored => {
            let aside = set_aside.as_ref().map_or(String::new(), |file| {
                format!("; `vestibule outbox salvage {file} --config FILE` brings in what the store before it had not forwarded")
            });
            Event::new(Kind::GatewayStoreRestored)
                .detail(format!("a backup with events up to {after} was restored; what came later is not here{aside}"))
        }
        Cause::Rewound => Event::new(Kind::GatewayStoreRewound).detail(format!(
            "the store's write-ahead log was gone when the gateway started: events behind {after} of epoch {before} are lost, as \
             far as they were not written back"
        )),
    };
    let event =
        event.attribute("after", *after).attribute("epoch_before", before.as_str()).attribute("at", at.to_string());
    match set_aside {
        Some(file) => event.attribute("file", file.as_str()),
        None => event,
    }
}
