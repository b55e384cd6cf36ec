//! MQTT in our own words, in version 5 and 3.1.1: what is said to a broker and heard from it. Bytes only, no I/O.
//!
//! The packets are written and read by the client library's codec; its event loop is not used. That one gives no packet
//! id for a publish, reuses ids early, resends after a reconnection and reads nothing while it cannot write: here ids are
//! our own, and what the broker has not acknowledged is known from the log alone.

mod delivery;
mod v311;
mod v5;

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub(crate) use delivery::Delivery;
use delivery::Front;

/// User name and password; either may be empty.
pub(super) type Login = Option<(String, String)>;

/// Most bytes of a packet that a broker may send us: messages, acknowledgements, refusals with a sentence.
pub(crate) const MAX_INCOMING: u32 = 64 * 1024;

/// The version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Version {
    /// MQTT 5: brokers say why they refuse, how much they take at once, and how large.
    #[default]
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1: an acknowledgement is all that a broker can say.
    #[serde(rename = "3.1.1")]
    V311,
}

/// By its name; 5 may be a number, too.
impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        struct Named;
        impl Visitor<'_> for Named {
            type Value = Version;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"5\" or \"3.1.1\"")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Version, E> {
                let version = [Version::V5, Version::V311].into_iter().find(|version| version.name() == name);
                version.ok_or_else(|| E::custom(format_args!("\"{name}\" must be \"5\" or \"3.1.1\"")))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Version, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Version, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Named)
    }
}

/// Who connects.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    pub(crate) client_id: String,
    pub(crate) keep_alive_s: u16,
    /// What the broker says in our place when we are gone.
    pub(crate) will: Option<Publication>,
    /// Whether we begin anew, or go on where the connection before has ended.
    pub(crate) session: Resume,
}

/// What the broker keeps of us beyond a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Nothing, and what it has kept is forgotten.
    Never,
    /// Our subscriptions, and what came for them, for so many seconds; MQTT 3.1.1 cannot say for how long.
    Within {
        /// Seconds after the end of a connection.
        seconds: u32,
        /// Messages that it may deliver before the first is acknowledged; MQTT 5 alone can say it.
        at_once: u16,
    },
}

/// What is published at QoS 1.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) retain: bool,
    /// What the payload is; MQTT 5 alone can say it.
    pub(crate) content: Option<Content>,
}

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Its media type.
    pub(crate) kind: &'static str,
    /// How it is packed; none is UTF-8 text as it is.
    pub(crate) encoding: Option<&'static str>,
}

/// What a broker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Messages not yet acknowledged.
    pub(crate) in_flight: u16,
    /// Bytes of one packet.
    pub(crate) packet: u32,
    /// Whether it keeps retained messages.
    pub(crate) retains: bool,
    /// Whether it takes QoS 1.
    pub(crate) acknowledges: bool,
    /// The keep-alive that it wants instead of ours, in seconds.
    pub(crate) keep_alive_s: Option<u16>,
    /// Whether it has kept a session of ours.
    pub(crate) resumed: bool,
}

/// What a broker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// We are connected.
    Welcome(Limits),
    /// We are not: why.
    Refusal(String),
    /// The message of this packet id is dealt with.
    Ack(u16, Verdict),
    /// Whether a subscription of this packet id is in force, at QoS 1 at least.
    Subscribed(u16, bool),
    /// A message that we subscribed to.
    Delivery(Delivery),
    /// It is there.
    Pong,
    /// It ends the connection: why.
    Goodbye(String),
}

/// What an acknowledgement means for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The broker has it.
    Accepted,
    /// Not now.
    Later(&'static str),
    /// Not before somebody mends an access list.
    Forbidden,
    /// Never.
    Never(&'static str),
}

/// Bytes that are no packet a broker may send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker does not speak MQTT as we know it: {0}")]
pub(crate) struct Garbled(String);

/// A publication as a packet whose id is still to be given.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    V5(v5::Publish),
    V311(v311::Publish),
}

impl Packet {
    /// Bytes of it.
    pub(crate) fn size(&self) -> usize {
        match self {
            Packet::V5(publish) => publish.size(),
            Packet::V311(publish) => publish.size(),
        }
    }

    /// Appends it under this id.
    pub(crate) fn write(self, id: u16, out: &mut BytesMut) -> Result<(), Garbled> {
        match self {
            Packet::V5(publish) => v5::Publish { pkid: id, ..publish }.write(out).map(drop).map_err(garbled),
            Packet::V311(publish) => v311::Publish { pkid: id, ..publish }.write(out).map(drop).map_err(garbled),
        }
    }
}

fn garbled(error: impl ToString) -> Garbled {
    Garbled(error.to_string())
}

impl Version {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Version::V5 => "5",
            Version::V311 => "3.1.1",
        }
    }

    /// Whether a message can say what its payload is.
    pub(crate) fn describes(self) -> bool {
        self == Version::V5
    }

    /// Appends the first packet of a connection.
    pub(super) fn greet(self, greeting: &Greeting, login: &Login, out: &mut BytesMut) -> Result<(), Garbled> {
        match self {
            Version::V5 => v5::greet(greeting, login, out),
            Version::V311 => v311::greet(greeting, login, out),
        }
    }

    /// The packet of a publication.
    pub(crate) fn packet(self, publication: Publication) -> Packet {
        match self {
            Version::V5 => Packet::V5(v5::publish(publication)),
            Version::V311 => Packet::V311(v311::publish(publication)),
        }
    }

    /// Appends the wish to be sent what is published on topics like this one, by QoS 1; nothing that was retained, where
    /// it can be said.
    pub(super) fn subscribe(self, filter: String, id: u16, out: &mut BytesMut) -> Result<(), Garbled> {
        match self {
            Version::V5 => v5::subscribe(filter, id, out),
            Version::V311 => v311::subscribe(filter, id, out),
        }
    }

    /// Appends the word that a message was taken.
    pub(super) fn acknowledge(self, id: u16, out: &mut BytesMut) {
        // Success is the same four bytes in both versions.
        let [high, low] = id.to_be_bytes();
        out.extend_from_slice(&[0x40, 2, high, low]);
    }

    /// Appends the question whether the broker is there.
    pub(super) fn ping(self, out: &mut BytesMut) {
        // The same two bytes in both versions.
        out.extend_from_slice(&[0xc0, 0]);
    }

    /// Appends the word that we go, after which the broker drops our will.
    pub(super) fn leave(self, out: &mut BytesMut) {
        out.extend_from_slice(&[0xe0, 0]);
    }
}

/// Reads what a broker says.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) version: Version,
    /// A message that is too large, and bytes of it that are still to come.
    passing: Option<(Delivery, usize)>,
}

impl Reader {
    pub(super) fn new(version: Version) -> Reader {
        Reader { version, passing: None }
    }

    /// Takes the next word from the front of what was heard; `None` where it is not whole yet.
    pub(super) fn read(&mut self, heard: &mut BytesMut) -> Result<Option<Word>, Garbled> {
        if self.passing.is_none() && heard.first().is_some_and(|first| first >> 4 == 3) {
            match delivery::read(self.version, heard, most())? {
                Front::Half => return Ok(None),
                Front::Delivery(delivery, left) => self.passing = Some((delivery, left)),
            }
        }
        if let Some((_, left)) = &mut self.passing {
            let now = heard.len().min(*left);
            heard.advance(now);
            *left -= now;
            let whole = self.passing.take_if(|(_, left)| *left == 0);
            return Ok(whole.map(|(delivery, _)| Word::Delivery(delivery)));
        }
        match self.version {
            Version::V5 => v5::read(heard),
            Version::V311 => v311::read(heard),
        }
    }
}

/// Bytes of a packet that are taken.
fn most() -> usize {
    usize::try_from(MAX_INCOMING).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
