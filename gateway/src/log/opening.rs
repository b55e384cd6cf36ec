//! What opening a store may have to tell, as the events that tell it. Whoever opens it for writing appends them first.

use super::{Beginning, Cause, Opened};
use crate::event::{Event, Kind};

impl Opened {
    /// That a damaged store was set aside, and that a new life began in one with events; without terminal or time yet.
    pub fn news(&self) -> Vec<Event> {
        let replaced = self.set_aside.as_ref().map(|path| {
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            replaced(file).attribute("terminals", self.taken_over)
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
        // A store whose first events were all in the log has not even an epoch.
        Cause::Rewound if before.is_empty() => Event::new(Kind::GatewayStoreRewound)
            .detail("the store's write-ahead log was gone when the gateway started, and all that the store held with it"),
        Cause::Rewound => Event::new(Kind::GatewayStoreRewound).detail(format!(
            "the store's write-ahead log was gone when the gateway started: events behind {after} of epoch {before} are lost, as \
             far as they were not written back"
        )),
        Cause::Torn => Event::new(Kind::GatewayStoreRewound).detail(format!(
            "the end of the store's write-ahead log cannot be read: the last events behind {after} of epoch {before} may be lost"
        )),
    };
    let event = event.attribute("after", *after).attribute("at", at.to_string());
    let event = if before.is_empty() { event } else { event.attribute("epoch_before", before.as_str()) };
    match set_aside {
        Some(file) => event.attribute("file", file.as_str()),
        None => event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewound_store_without_an_epoch_is_told_as_one_that_lost_everything() {
        let at = jiff::Timestamp::now();
        let beginning = Beginning { cause: Cause::Rewound, after: 0, before: String::new(), at, set_aside: None };
        let event = begun(&beginning);
        assert!(
            !event.detail.contains("epoch") && event.detail.contains("all that the store held"),
            "{}",
            event.detail
        );
        assert!(!event.attributes.contains_key("epoch_before"));
        let event = begun(&Beginning { before: "7f3a01bc".to_owned(), after: 42, ..beginning });
        assert!(event.detail.contains("behind 42 of epoch 7f3a01bc"), "{}", event.detail);
    }
}
