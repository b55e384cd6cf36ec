//! The front of an event's JSON form: its place, its id and its place among its terminal's events, as they were given.
//!
//! What is read here is what was written when the event was stored first. In a store that was restored, or that holds events
//! salvaged from another, it says who the event was then, and that is who it stays.

use std::io::Write;

use super::Stored;
use crate::event::Event;

/// Room for most events' JSON form.
const JSON_BYTES: usize = 512;

/// What stands in front of an event's own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front<'a> {
    /// Its place in the log that it was appended to.
    pub seq: u64,
    /// Its id, `{gateway}-{epoch}-{seq}`, as the text of a JSON string.
    pub id: &'a str,
    /// Its place among the events of its terminal there.
    pub terminal_seq: u64,
}

impl<'a> Front<'a> {
    /// Reads it off the JSON form; `None` where that does not begin as the log writes it.
    pub fn read(json: &'a str) -> Option<Front<'a>> {
        let (seq, rest) = number(json.strip_prefix(r#"{"seq":"#)?)?;
        let (id, rest) = rest.strip_prefix(r#","id":""#)?.split_once('"')?;
        let (terminal_seq, rest) = number(rest.strip_prefix(r#","terminal_seq":"#)?)?;
        rest.starts_with(',').then_some(Front { seq, id, terminal_seq })
    }

    /// The JSON form of an event with this in front. `boot` is the machine's boot and the milliseconds since then, where the
    /// clock was wrong.
    pub(super) fn write(&self, event: &Event, boot: Option<(&str, i64)>) -> serde_json::Result<String> {
        let mut json = Vec::with_capacity(JSON_BYTES);
        let Front { seq, terminal_seq, id } = self;
        write!(json, r#"{{"seq":{seq},"id":"{id}","terminal_seq":{terminal_seq}"#).map_err(serde_json::Error::io)?;
        if let Some((boot, boot_ms)) = boot {
            write!(json, r#","boot":"{boot}","boot_ms":{boot_ms}"#).map_err(serde_json::Error::io)?;
        }
        let body = json.len();
        serde_json::to_writer(&mut json, event)?;
        // The event's own fields go on where these end.
        if let Some(brace) = json.get_mut(body) {
            *brace = b',';
        }
        String::from_utf8(json).map_err(serde::ser::Error::custom)
    }

    /// The id without its number: `{gateway}-{epoch}`, the life of the store that gave it.
    pub fn life(&self) -> &'a str {
        self.id.rsplit_once('-').map_or(self.id, |(life, _)| life)
    }

    /// Whether its parts fit together: the id ends with the place.
    pub fn is_sound(&self) -> bool {
        let number = self.id.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
        self.seq > 0 && self.terminal_seq > 0 && number == Some(self.seq)
    }
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

impl Stored {
    /// What it was given when it was appended first.
    pub fn front(&self) -> Option<Front<'_>> {
        Front::read(&self.json)
    }

    /// Its id, which never changes; empty where its JSON form has none.
    pub fn id(&self) -> &str {
        self.front().map_or("", |front| front.id)
    }

    /// Whether it was brought in from another store: then its place here is not the one in its id, and rules have answered it
    /// before.
    pub fn is_salvaged(&self) -> bool {
        self.front().is_some_and(|front| front.seq != self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_read_and_nothing_else_is_taken_for_one() {
        let json = r#"{"seq":1042,"id":"gw-1-7f3a-1042","terminal_seq":311,"terminal":"atm-07"}"#;
        let front = Front::read(json).expect("a front");
        assert_eq!(front, Front { seq: 1042, id: "gw-1-7f3a-1042", terminal_seq: 311 });
        assert_eq!((front.life(), front.is_sound()), ("gw-1-7f3a", true));
        for other in [
            "",
            "{}",
            r#"{"seq":"#,
            r#"{"seq":1"#,
            r#"{"seq":1,"id":"a-1"#,
            r#"{"seq":1,"id":"a-1","terminal_seq":"#,
            r#"{"seq":1,"id":"a-1","terminal_seq":1}"#,
            r#"{"seq":99999999999999999999,"id":"a-1","terminal_seq":1,"#,
        ] {
            assert_eq!(Front::read(other), None, "{other}");
        }
        let other = Front::read(r#"{"seq":7,"id":"a-8","terminal_seq":1,"x":1}"#).expect("a front");
        assert!(!other.is_sound());
    }
}
