//! A journal's entry to events, its local time to an instant.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::Context;
use super::device::{self, device_status};
use crate::event::{Event, Kind, Money};
use crate::local_time::{self, LocalTime};
use crate::protocol::Message;
use crate::protocol::journal::{Echo, Entry, Said, Tells};

/// The events that an entry means, in the order: what happened, the worst severity, supplies first to last.
pub(crate) fn events(entry: &Entry, context: &Context<'_>) -> Vec<Event> {
    let mut events = match &entry.tells {
        Tells::Fields => Vec::new(),
        Tells::Words(_) if entry.echo != Echo::New => Vec::new(),
        Tells::Words(said) => vec![event(*said, entry)],
        Tells::Status { .. } if entry.echo == Echo::SameLine => Vec::new(),
        Tells::Status { status, said, known } => {
            let mut events = device_status(status, context.profile);
            events.retain(|event| !known || event.kind != Kind::DeviceStatusRaw);
            if let Some(said) = said.filter(|said| events.iter().all(|event| event.kind != said.kind)) {
                events.insert(0, event(said, entry).device(status.device));
            }
            if entry.echo == Echo::SameHappening {
                events.retain(|event| event.kind.family() == "supply");
            }
            events
        }
    };
    for event in &mut events {
        carry_fields(event, entry, context);
        occurred(event, entry.printed_at, context.time_zone);
    }
    events
}

/// What a printed status says is in order.
pub(super) fn good(entry: &Entry, context: &Context<'_>) -> Vec<Event> {
    let Tells::Status { status, .. } = &entry.tells else { return Vec::new() };
    let mut events = device::good(status, context.profile);
    for event in &mut events {
        occurred(event, entry.printed_at, context.time_zone);
    }
    events
}

fn event(said: Said, entry: &Entry) -> Event {
    let mut event = Event::new(said.kind).severity(said.severity).detail(entry.line.clone());
    event.device = said.device;
    event.component = said.component;
    event
}

/// What the entry knows beside the event. An amount is money where the currency is known, else text.
fn carry_fields(event: &mut Event, entry: &Entry, context: &Context<'_>) {
    for (name, value) in &entry.fields {
        match (name.as_str(), value) {
            ("pan_masked", Value::String(card)) => event.card = Some(card.clone()),
            ("amount", Value::String(amount)) => {
                event.amount = context.profile.currency.and_then(|currency| Money::parse(amount, currency).ok());
                if event.amount.is_none() {
                    event.attributes.insert(name.clone(), value.clone());
                }
            }
            // What the event says itself, or the NDC decoder under another name.
            ("device" | "t_code" | "supplies" | "ts" | "data", _) => {}
            _ => {
                event.attributes.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
}

/// Sets the instant. A local time that does not exist, or exists twice, is flagged, and decided for the offset before the
/// change; for that behind it where the terminal's clock was seen to go back.
pub(super) fn occurred(event: &mut Event, printed_at: Option<LocalTime>, time_zone: &TimeZone) {
    match printed_at {
        Some(LocalTime::Known(local) | LocalTime::Again(local)) => {
            let again = matches!(printed_at, Some(LocalTime::Again(_)));
            let (instant, ambiguous) = local_time::instant(local, again, time_zone);
            event.occurred_at = instant;
            if let Some(why) = ambiguous {
                event.attributes.insert("time_ambiguous".to_owned(), why.into());
            }
        }
        Some(LocalTime::TimeOfDay(time)) => {
            event.attributes.insert("local_time".to_owned(), time.to_string().into());
        }
        None => {}
    }
}

/// Gives an event whose line told the time of day alone its instant, by when the line came. Marked with `date_assumed`.
pub fn date_by_arrival(event: &mut Event, message: &Message, received_at: Timestamp, time_zone: &TimeZone) {
    let Message::Journal(Entry { printed_at: printed_at @ Some(LocalTime::TimeOfDay(time)), .. }) = message else {
        return;
    };
    let local = local_time::day(*printed_at, received_at, time_zone).to_datetime(*time);
    occurred(event, Some(LocalTime::Known(local)), time_zone);
    event.attributes.insert("date_assumed".to_owned(), true.into());
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    #[test]
    fn a_time_of_day_is_dated_by_its_arrival() {
        let berlin = TimeZone::get("Europe/Berlin").expect("bundled");
        let received: Timestamp = "2030-01-14T23:00:02Z".parse().expect("an instant");
        let entry = |printed_at| {
            Message::Journal(Entry {
                printed_at,
                tells: Tells::Fields,
                echo: Echo::New,
                line: String::new(),
                fields: serde_json::Map::new(),
                text: Vec::new(),
            })
        };
        let mut event = Event::new(Kind::CashTaken);
        date_by_arrival(&mut event, &entry(None), received, &berlin);
        assert_eq!(event.occurred_at, None);
        date_by_arrival(&mut event, &entry(Some(LocalTime::TimeOfDay(time(23, 59, 58, 0)))), received, &berlin);
        assert_eq!(event.occurred_at, "2030-01-14T22:59:58Z".parse().ok());
        assert_eq!(event.attributes["date_assumed"], true);
    }
}
