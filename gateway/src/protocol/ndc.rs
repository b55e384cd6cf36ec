//! NDC, NDC+ and Advance NDC: one frame, one message.
//!
//! Fields are separated by FS, groups inside a field by GS. The first field is the message class. The same digits mean
//! different things by direction: `12` of a terminal is an unsolicited status, of a host a terminal command with the
//! response flag `2`. So the direction is an option of decoding, and a terminal's where nothing else is said.
//!
//! Tracks, PIN blocks, the buffers that customers type into, keys, screens and receipts are never part of a message.

mod block;
pub mod codes;
mod command;
mod ddc;
pub mod digit;
mod download;
pub(super) mod emv;
pub mod encode;
mod encryptor;
mod fields;
mod reply;
mod request;
pub mod solicited;
pub mod state;
pub mod status;
mod unsolicited;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Fault;
use crate::mask;
pub use block::{Block, JournalHost};
pub use command::TerminalCommand;
pub use ddc::DieboldStatus;
pub use download::{DataCommand, EmvConfiguration};
pub use encode::Command;
pub use encryptor::Encryptor;
pub use reply::Reply;
pub use request::Request;
pub use solicited::Solicited;
pub use unsolicited::Unsolicited;

/// Field separator.
const FS: char = '\x1c';
/// Group separator.
const GS: char = '\x1d';
/// End of text, which some senders leave at the end of a frame.
const ETX: u8 = 0x03;
/// Bytes shown of a status that cannot be read, and of any other frame.
const FAULTY_STATUS: usize = 256;
const FAULTY: usize = 24;
/// Longest LUNO taken for one: three digits, or nine with the machine number, and some room.
const LUNO_MAX: usize = 16;

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Speaker {
    /// The terminal, to its host.
    #[default]
    Terminal,
    /// The host, to a terminal.
    Host,
}

/// What differs by terminal model and host link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Bytes of a protocol header before the message class.
    pub header: usize,
    /// Whether one ETX at the end of a frame does not belong to the message.
    pub strip_etx: bool,
    /// Who speaks: a property of the stream, not of the model, and so no key of a profile.
    #[serde(skip)]
    pub speaker: Speaker,
}

/// An NDC message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Message {
    /// Terminal, class 11: a transaction request.
    Request(Box<Request>),
    /// Terminal, class 12: a status of its own accord.
    Unsolicited(Unsolicited),
    /// Terminal, class 22: an answer to its host.
    Solicited(Solicited),
    /// Terminal, class 23: the encryptor's initialisation data.
    Encryptor(Encryptor),
    /// Terminal, class 61: a block of its electronic journal.
    Block(Block),
    /// Terminal, class 12 or 22, of a Diebold terminal.
    Diebold(DieboldStatus),
    /// Host, class 1: a terminal command.
    Command(TerminalCommand),
    /// Host, class 3: configuration data.
    Data(DataCommand),
    /// Host, class 4: the reply to a transaction request.
    Reply(Box<Reply>),
    /// Host, class 6: about the electronic journal.
    JournalHost(JournalHost),
    /// Host, class 8: EMV configuration.
    Emv(EmvConfiguration),
    /// Any other class, without its content.
    Other(Other),
}

impl Message {
    /// The logical unit number: which terminal of the host's network this is.
    pub fn luno(&self) -> &str {
        match self {
            Message::Request(message) => &message.luno,
            Message::Unsolicited(message) => &message.luno,
            Message::Solicited(message) => &message.luno,
            Message::Encryptor(message) => &message.luno,
            Message::Block(message) => &message.luno,
            Message::Diebold(message) => &message.luno,
            Message::Command(message) => &message.luno,
            Message::Data(message) => &message.luno,
            Message::Reply(message) => &message.luno,
            Message::JournalHost(message) => &message.luno,
            Message::Emv(message) => &message.luno,
            Message::Other(message) => &message.luno,
        }
    }

    /// What stays the same when the terminal sends this once more: of a journal block the place of its text.
    pub fn source_id(&self) -> Option<&str> {
        match self {
            Message::Block(block) => block.source_id(),
            _ => None,
        }
    }
}

/// A message of which only class and LUNO are known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// Message class, with its subclass or response flag.
    pub class: String,
    /// `exit_to_host` (51), `install_status` (41), `host_to_exit` (7), or `unknown`.
    pub kind: &'static str,
    /// Logical unit number.
    pub luno: String,
}

/// Decodes one frame.
///
/// # Errors
/// Where the frame has no message class, or not what its class must have.
pub fn decode(frame: &[u8], options: &Options) -> Result<Message, Fault> {
    let fault = |reason: &str| Fault { reason: reason.to_owned(), frame: faulty(frame, options) };
    let (header, body) =
        frame.split_at_checked(options.header).ok_or_else(|| fault("shorter than its protocol header"))?;
    let body = match body {
        [body @ .., ETX] if options.strip_etx => body,
        body => body,
    };
    let body = text(body);
    let (class, luno, rest) = match fields::first(&body) {
        ("", None) => return Err(fault("empty message")),
        (class, Some(rest)) if is_class(class) => {
            let (luno, rest) = fields::first(rest);
            (class, luno, rest.unwrap_or_default())
        }
        _ => return Err(fault("no NDC message class")),
    };
    // A number is masked before its field is taken apart: in the pieces nobody would know it. Requests and journal blocks
    // have fields for card data, and their own ways with them.
    let rest = if matches!(class, "11" | "61") { Cow::Borrowed(rest) } else { mask::number(rest) };
    let rest = rest.as_ref();
    if luno.chars().count() > LUNO_MAX {
        return Err(fault("the LUNO is too long"));
    }
    let fields: Vec<&str> = rest.split(FS).collect();
    let fields = fields.as_slice();
    let luno = shown(luno);
    // A class of one digit is a host's whoever is said to speak: a terminal's classes have two.
    let host = options.speaker == Speaker::Host || class.len() == 1;
    let message = if host {
        match class.as_bytes().first() {
            Some(b'1') => command::decode(class, luno, fields, frame.len()).map(Message::Command),
            Some(b'3') => download::data_command(class, luno, fields).map(Message::Data),
            Some(b'4') => reply::decode(class, luno, fields).map(|reply| Message::Reply(Box::new(reply))),
            Some(b'6') => block::of_host(class, luno, fields).map(Message::JournalHost),
            Some(b'8') => download::emv_configuration(class, luno, fields).map(Message::Emv),
            _ => Ok(other(class, luno, host)),
        }
    } else {
        match class {
            "11" => request::decode(luno, fields).map(|request| Message::Request(Box::new(request))),
            "12" => match ddc::decode("12", &luno, fields) {
                Some(status) => Ok(Message::Diebold(status)),
                None => unsolicited::decode(luno, fields).map(Message::Unsolicited),
            },
            "22" => match ddc::decode("22", &luno, fields) {
                Some(status) => Ok(Message::Diebold(status)),
                None => solicited::decode(luno, fields).map(Message::Solicited),
            },
            "23" => encryptor::decode(luno, fields).map(Message::Encryptor),
            "61" => block::decode(luno, rest, header).map(Message::Block),
            _ => Ok(other(class, luno, host)),
        }
    };
    message.map_err(|reason| fault(&reason))
}

/// What is shown of a frame that cannot be read. A status is shown as any other frame; all else may have a track in it,
/// of which more than digits must hide, and shows no more than its beginning.
fn faulty(frame: &[u8], options: &Options) -> String {
    let body = frame.get(options.header..).unwrap_or_default();
    let status = body.starts_with(b"12\x1c") || body.starts_with(b"22\x1c");
    mask::bytes(frame, if status { FAULTY_STATUS } else { FAULTY })
}

/// A message class: a digit, and for most a subclass or response flag.
fn is_class(text: &str) -> bool {
    matches!(text.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'9', 0x21..=0x7e])
}

fn other(class: &str, luno: String, host: bool) -> Message {
    let kind = match (host, class) {
        (false, "51") => "exit_to_host",
        (false, "41") => "install_status",
        (true, class) if class.starts_with('7') => "host_to_exit",
        _ => "unknown",
    };
    Message::Other(Other { class: class.to_owned(), kind, luno })
}

/// Bytes as text, one character each: NDC is ASCII, and what is not must not be lost or merged.
fn text(bytes: &[u8]) -> Zeroizing<String> {
    // Twice the length, so that no character beyond ASCII makes it move and leave a copy.
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(bytes.iter().copied().map(char::from));
    Zeroizing::new(text)
}

/// A field without its groups; the groups, cleaned of card data, go to `groups`.
fn ungrouped<'a>(field: &'a str, groups: &mut Vec<String>) -> &'a str {
    match field.split_once(GS) {
        None => field,
        Some((field, rest)) => {
            groups.extend(rest.split(GS).map(emv::without_card_data));
            field
        }
    }
}

/// A field nobody knows the meaning of, fit to be shown.
fn shown(field: &str) -> String {
    mask::printed(field).into_owned()
}

#[cfg(test)]
mod tests;
