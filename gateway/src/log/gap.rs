//! The events that tell of what was given up, and of room that is short and is there again.

use jiff::Timestamp;

use super::space::NoRoom;
use crate::clock;
use crate::event::{Event, Kind, Severity};

/// Places that nobody will hear of any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) last: u64,
    /// How many of the places between them.
    pub(super) count: u64,
}

impl Gap {
    /// The gap with one more place in it; places come in order.
    pub(super) fn with(gap: Option<Gap>, seq: u64) -> Gap {
        gap.map_or(Gap { first: seq, last: seq, count: 1 }, |gap| Gap { last: seq, count: gap.count + 1, ..gap })
    }

    /// The event for subscribers, who will miss these.
    pub(super) fn event(self) -> Event {
        let Gap { first, last, count } = self;
        let detail = format!(
            "{count} events between {first} and {last} were given up before they were forwarded: the store has reached \
             log.max_mb"
        );
        own(self.attributes("max_mb").detail(detail))
    }

    /// The event for a rule that missed these.
    pub(super) fn missed_by(self, plugin: &str) -> Event {
        let Gap { first, last, count } = self;
        let detail =
            format!("{plugin} goes on behind {last}: {count} events from {first} on were pruned before it saw them");
        let event = own(self.attributes("pruned").attribute("plugin", plugin).detail(detail));
        Event { severity: Severity::Warning, rule: Some(plugin.to_owned()), ..event }
    }

    fn attributes(self, reason: &'static str) -> Event {
        Event::new(Kind::GatewayGap)
            .attribute("first", self.first)
            .attribute("last", self.last)
            .attribute("count", self.count)
            .attribute("reason", reason)
    }
}

/// Nothing new is accepted from now on.
pub(super) fn disk_low(why: NoRoom, free: Option<u64>) -> Event {
    let event = Event::new(Kind::GatewayDiskLow).detail(format!("nothing new is accepted: {why}"));
    let event = event.attribute("reason", why.name());
    own(match free {
        Some(free) => event.attribute("free_bytes", free),
        None => event,
    })
}

/// Everything is accepted again.
pub(super) fn disk_recovered(since: Timestamp, refused: u64) -> Event {
    let detail = format!("events are accepted again; since {since:.0} {refused} submissions were not");
    let event = Event::new(Kind::GatewayDiskRecovered).detail(detail);
    own(event.attribute("since", format!("{since:.0}")).attribute("refused", refused))
}

fn own(event: Event) -> Event {
    let (now, time_synced) = clock::now();
    Event { terminal: "gateway".to_owned(), received_at: Some(now), time_synced, ..event }
}
