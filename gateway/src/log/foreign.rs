//! Events with something that this version does not know: a newer one wrote them, before whoever runs this went back. They are
//! forwarded and shown as the bytes that they are, under their own kind; no rule of this version answers them.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Front, Stored};
use crate::event::{Event, Kind, Severity};

/// What stands for a kind that is not known: of it we have no more than how it came.
const STAND_IN: Kind = Kind::DeviceStatusRaw;

/// What every version has written of an event, as far as others ask for it.
#[derive(Deserialize)]
struct Known<'a> {
    #[serde(default)]
    terminal: String,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    severity: Severity,
    #[serde(default)]
    occurred_at: Option<Timestamp>,
    #[serde(default)]
    received_at: Option<Timestamp>,
    #[serde(default)]
    time_synced: Option<bool>,
    #[serde(default)]
    time_corrected: bool,
    #[serde(default)]
    detail: String,
}

/// Reads an event's JSON form, as far as this version knows it.
///
/// # Errors
/// Where it is no event of any version.
pub(super) fn read(json: &str) -> serde_json::Result<Event> {
    serde_json::from_str(json).or_else(|error| stranger(json).ok_or(error))
}

fn stranger(json: &str) -> Option<Event> {
    let Known { terminal, kind, severity, occurred_at, received_at, time_synced, time_corrected, detail } =
        serde_json::from_str(json).ok()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let word = |word: &str| !word.is_empty() && word.chars().all(plain);
    // It goes into topics as it is.
    let is_kind = kind.len() <= 64 && kind.contains('.') && kind.split('.').all(word);
    is_kind.then(|| Event {
        terminal,
        severity,
        occurred_at,
        received_at,
        time_synced,
        time_corrected,
        detail,
        ..Event::new(STAND_IN)
    })
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

impl Stored {
    /// An event by its JSON form, as it was sent; `None` where it is none. Its place is taken to be the one in its front: another
    /// it has only where it was salvaged.
    pub fn read(json: &str) -> Option<Stored> {
        let Front { seq, terminal_seq, .. } = Front::read(json)?;
        Some(Stored { seq, terminal_seq, boot_ms: None, event: read(json).ok()?, json: json.into() })
    }

    /// The dotted name of its kind, also where this version has no such kind.
    pub fn kind_name(&self) -> Cow<'_, str> {
        let own = || serde_json::from_str::<Named<'_>>(&self.json).ok().map(|named| named.kind);
        let own = if self.event.kind == STAND_IN { own() } else { None };
        own.unwrap_or(Cow::Borrowed(self.event.kind.name()))
    }

    /// Whether a newer version wrote it, with something that this one does not know.
    pub fn is_foreign(&self) -> bool {
        let is_one = || serde_json::from_str::<Named<'_>>(&self.json).is_ok();
        self.event.kind == STAND_IN && is_one() && serde_json::from_str::<Event>(&self.json).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(body: &str) -> Stored {
        let json = format!(r#"{{"seq":1,"id":"gw-e-1","terminal_seq":1,{body}}}"#);
        Stored::read(&json).expect("an event of some version")
    }

    #[test]
    fn what_is_not_known_keeps_its_name_and_what_is_known_of_it() {
        let newer = stored(r#""terminal":"atm","kind":"drone.landed","severity":"major","wings":4,"detail":"it did""#);
        assert!(newer.is_foreign());
        assert_eq!((&*newer.kind_name(), newer.event.severity), ("drone.landed", Severity::Major));
        assert_eq!((&*newer.event.terminal, &*newer.event.detail), ("atm", "it did"));
        // A kind that is known, about a device that is not.
        let device = stored(r#""terminal":"atm","kind":"device.fault","severity":"critical","device":"drone""#);
        assert!(device.is_foreign());
        assert_eq!(device.kind_name(), "device.fault");
        let own = stored(r#""terminal":"atm","kind":"device.status_raw","severity":"info""#);
        assert!(!own.is_foreign());
        assert_eq!(own.kind_name(), "device.status_raw");
    }

    #[test]
    fn what_is_no_event_of_any_version_is_refused() {
        for body in [
            r#""kind":"a/b.c","severity":"info""#,
            r#""kind":"","severity":"info""#,
            r#""kind":"drone.landed""#,
            r#""severity":"info""#,
        ] {
            let json = format!(r#"{{"seq":1,{body}}}"#);
            assert!(read(&json).is_err(), "{body}");
        }
        assert!(read("{").is_err());
    }
}
