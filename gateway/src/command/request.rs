//! Asking for a command, and the reasons against it.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Command;
use crate::auth::{Identity, Source as Address};
use crate::mask;

/// What a command says beside its verb.
pub type Arguments = serde_json::Map<String, serde_json::Value>;

/// Longest id.
const ID_BYTES: usize = 128;

/// Whether this can be a command's id: a level of a topic, a part of a path.
pub fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=ID_BYTES).contains(&text.len()) && text.bytes().all(allowed) && !mask::names_card(text)
}

/// The way that a command came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// By HTTP.
    Http,
    /// From the broker.
    Mqtt,
    /// From a rule.
    Rule,
}

impl Source {
    /// The name in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Source::Http => "http",
            Source::Mqtt => "mqtt",
            Source::Rule => "rule",
        }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Asker {
    /// Somebody who has shown who they are.
    Known(Arc<Identity>),
    /// Whoever the broker lets publish, where the configuration trusts it.
    Broker,
    /// Nobody: they have shown nothing.
    Nobody,
    /// Nobody that is known here, with a token that is none of this gateway's, or none any more.
    Stranger,
    /// Somebody whose token has expired: its id.
    Former(String),
}

impl Asker {
    /// The name in events.
    pub fn name(&self) -> &str {
        match self {
            Asker::Known(identity) => &identity.id,
            Asker::Broker => "broker",
            Asker::Nobody => "nobody",
            Asker::Stranger => "stranger",
            Asker::Former(id) => id,
        }
    }
}

/// Until when a command may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deadline {
    /// For the usual time.
    #[default]
    Usual,
    /// For so many seconds from when it is taken.
    Seconds(u64),
    /// Until then.
    At(Timestamp),
}

/// A command that is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The way.
    pub source: Source,
    /// Who.
    pub asker: Asker,
    /// From where, if that is known: nobody says so to a subscriber of a broker.
    pub address: Option<Address>,
    /// The id that they gave it; one is made where they gave none.
    pub id: Option<String>,
    /// Which terminal.
    pub terminal: String,
    /// What.
    pub verb: String,
    /// And how.
    pub arguments: Arguments,
    /// Until when.
    pub deadline: Deadline,
}

/// Why a command is refused: stable words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request itself is wrong.
    BadRequest,
    /// They have not shown who they are.
    Unauthorised,
    /// They may not do this there.
    Forbidden,
    /// There is no such terminal in the configuration.
    UnknownTerminal,
    /// Nothing here can do this to this terminal.
    Unsupported,
    /// The link that could is only listened to.
    LinkReadOnly,
    /// Its time is over.
    Expired,
    /// The id stands for another command.
    Conflict,
    /// Too many commands wait for this terminal.
    Busy,
    /// The terminal refused it.
    Rejected,
    /// The terminal reported a fault of a device instead.
    DeviceFault,
    /// The gateway's own clock is not set, so that it can set nobody's.
    ClockNotSynced,
    /// There is no room to keep it.
    DiskFull,
    /// The gateway cannot take it now.
    Unavailable,
}

impl Code {
    /// Every word.
    pub const ALL: [Code; 14] = [
        Code::BadRequest,
        Code::Unauthorised,
        Code::Forbidden,
        Code::UnknownTerminal,
        Code::Unsupported,
        Code::LinkReadOnly,
        Code::Expired,
        Code::Conflict,
        Code::Busy,
        Code::Rejected,
        Code::DeviceFault,
        Code::ClockNotSynced,
        Code::DiskFull,
        Code::Unavailable,
    ];

    /// The name in answers and events.
    pub fn name(self) -> &'static str {
        match self {
            Code::BadRequest => "bad_request",
            Code::Unauthorised => "unauthorised",
            Code::Forbidden => "forbidden",
            Code::UnknownTerminal => "unknown_terminal",
            Code::Unsupported => "unsupported",
            Code::LinkReadOnly => "link_read_only",
            Code::Expired => "expired",
            Code::Conflict => "conflict",
            Code::Busy => "busy",
            Code::Rejected => "rejected",
            Code::DeviceFault => "device_fault",
            Code::ClockNotSynced => "clock_not_synced",
            Code::DiskFull => "disk_full",
            Code::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word and a sentence against a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The word.
    pub code: Code,
    /// The sentence.
    pub detail: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, detail: impl Into<String>) -> Refusal {
        // What it quotes of the request goes out by HTTP and MQTT.
        Refusal { code, detail: mask::printed(&detail.into()).into_owned() }
    }
}

/// An attempt at a command, as far as it could be read.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The way.
    pub source: Source,
    /// Who, as [`Asker::name`] has it.
    pub by: String,
    /// From where, if that is known.
    pub address: Option<Address>,
    /// The id that they gave it.
    pub id: Option<String>,
    /// Which terminal, if they said so.
    pub terminal: Option<String>,
    /// What, if they said so.
    pub verb: Option<String>,
}

impl Attempt {
    /// One of which nothing is known but who has made it.
    pub fn unread(source: Source, asker: &Asker, address: Option<Address>) -> Attempt {
        Attempt { source, by: asker.name().to_owned(), address, id: None, terminal: None, verb: None }
    }
}

impl From<&Request> for Attempt {
    fn from(request: &Request) -> Attempt {
        Attempt {
            id: request.id.clone(),
            terminal: Some(request.terminal.clone()),
            verb: Some(request.verb.clone()),
            ..Attempt::unread(request.source, &request.asker, request.address)
        }
    }
}

/// What takes commands.
pub trait Desk: Send + Sync {
    /// Hears of an attempt that could not even be asked for, and why.
    fn refused(&self, attempt: &Attempt, refusal: &Refusal);

    /// Takes a command: the answer comes once it is committed. Asked again under the same id for the same, it answers
    /// how far the command has come.
    ///
    /// # Errors
    /// Where it becomes no command: nobody may, it is none, or it cannot be kept.
    fn ask(&self, request: Request) -> BoxFuture<'static, Result<Command, Refusal>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_levels_of_topics_and_parts_of_paths() {
        for id in ["1", "a-b_c.d:e", "dispenser-guard-17-0", &"x".repeat(128)] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "a-5105105105105100", "a/b", "+", "#", "a b", "ä", "%41", &"x".repeat(129)] {
            assert!(!is_id(id), "{id}");
        }
    }
}
