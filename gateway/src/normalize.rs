//! Messages to events: total and stateless. What one message says, without memory of earlier ones.

pub mod device;
pub(crate) mod journal;
mod readings;

use jiff::tz::TimeZone;

use crate::event::{Event, Kind};
use crate::profile::Profile;
use crate::protocol::journal::Tells;
use crate::protocol::{Fault, Message, jsonl};

/// What is known of whoever sent a message.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What kind of machine it is.
    pub profile: &'a Profile,
    /// The zone of the times it prints.
    pub time_zone: &'a TimeZone,
}

/// What a message says.
pub fn normalize(message: &Message, context: &Context) -> Vec<Event> {
    match message {
        Message::Journal(entry) => journal::journal(entry, context),
        Message::Jsonl(jsonl::Line::Hello(_)) => Vec::new(),
        Message::Jsonl(jsonl::Line::Report(report)) => vec![report.event()],
    }
}

/// What a message says is well; see [`readings`].
pub fn readings(message: &Message, context: &Context) -> Vec<Event> {
    match message {
        Message::Journal(entry) => match &entry.tells {
            Tells::Status { status, .. } => readings::of_device(status, context.profile),
            Tells::Fields | Tells::Words(_) => Vec::new(),
        },
        Message::Jsonl(_) => Vec::new(),
    }
}

/// The event that a frame nobody understands is.
pub fn fault(fault: &Fault) -> Event {
    Event::new(Kind::ProtocolError).detail(fault.reason.clone()).attribute("frame", fault.frame.clone())
}
