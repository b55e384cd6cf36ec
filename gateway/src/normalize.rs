//! Messages to events: total and stateless. What one message says, without memory of earlier ones.

pub mod device;
mod iso8583;
pub(crate) mod journal;
mod ndc;
mod triton;
pub mod upload;
mod xfs4iot;

pub use journal::date_by_arrival;

use std::borrow::Cow;

use crate::event::{Event, Kind};
use crate::mask;
use crate::profile::Profile;
use crate::protocol::{Fault, Message, jsonl};

/// What is known about the terminal that sent a message.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Its model.
    pub profile: &'a Profile,
    /// The time zone of the times it prints.
    pub time_zone: &'a jiff::tz::TimeZone,
}

/// The events that a message means, in the order in which they happened.
pub fn normalize(message: &Message, context: &Context<'_>) -> Vec<Event> {
    let mut events = match message {
        Message::Ndc(message) => ndc::events(message, context.profile),
        Message::Iso8583(message) => iso8583::events(message, context),
        Message::Journal(entry) => journal::events(entry, context),
        Message::Jsonl(jsonl::Line::Report(report)) => vec![report.event()],
        Message::Jsonl(jsonl::Line::Hello(_)) => Vec::new(),
        Message::Triton(message) => triton::events(message, context.profile),
        Message::Xfs4iot(message) => xfs4iot::events(message),
        Message::Upload(document) => upload::events(document, context).into_iter().map(|row| row.event).collect(),
    };
    for event in &mut events {
        finish(event, message);
    }
    events
}

/// What a message says is in order, as events with `state: cleared`: devices without an error, supplies that are good.
///
/// Not part of [`normalize`], because nothing happened: the fold over a terminal's state keeps of them what ends a
/// condition it knows, and drops the rest.
pub fn good(message: &Message, context: &Context<'_>) -> Vec<Event> {
    let mut events = match message {
        Message::Ndc(message) => ndc::good(message, context.profile),
        // It is about transactions, not about devices.
        Message::Iso8583(_) => Vec::new(),
        Message::Journal(entry) => journal::good(entry, context),
        // A source of JSON lines says itself what is over.
        Message::Jsonl(_) => Vec::new(),
        // Its transactions have no state.
        Message::Triton(_) => Vec::new(),
        Message::Xfs4iot(message) => xfs4iot::good(message),
        Message::Upload(document) => upload::good(document),
    };
    for event in &mut events {
        finish(event, message);
    }
    events
}

/// The event of a frame that nobody understands.
pub fn fault(fault: &Fault) -> Event {
    let event = Event::new(Kind::ProtocolError).detail(fault.reason.clone());
    let mut event = if fault.frame.is_empty() { event } else { event.attribute("frame", fault.frame.clone()) };
    mask(&mut event);
    event
}

/// The last step of every event that a message means.
fn finish(event: &mut Event, message: &Message) {
    event.protocol = Some(message.protocol().name().to_owned());
    mask(event);
}

/// The gate: whatever a codec made of a message, no card number leaves with its event.
fn mask(event: &mut Event) {
    for text in [Some(&mut event.detail), event.card.as_mut()].into_iter().flatten() {
        if let Cow::Owned(masked) = mask::free(text) {
            *text = masked;
        }
    }
    mask::facts(&mut event.attributes);
}
