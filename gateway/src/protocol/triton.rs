//! Triton Standard, the protocol of retail terminals on a serial line or behind a modem: one frame, one message.
//!
//! A frame is `STX body ETX LRC`, 7 bits a character with even parity; [`line`] takes it from the line and checks it. The
//! fields of a body are separated by FS: terminal id, transaction code, then what the code asks for. A request and its
//! reply share code and sequence number and are told apart by their shape: a reply has a response code of three digits
//! where a request has the track, and most replies begin with a flag of one character.
//!
//! **Which part we play.** The host of this protocol authorises; the gateway does not, and no reply to a request is ever
//! made up here. Two roles are left, and [`Dialogue`] plays the second:
//!
//! - *A tap* hears both directions of a line between terminal and host and says nothing (`listen_only`).
//! - *A monitoring host* has a line of its own. It asks with ENQ whether there is something to say, acknowledges a frame
//!   once it is in the log, asks for a damaged one again with NAK, and ends the exchange with EOT. A transaction request
//!   on such a line is kept and acknowledged as received; the terminal then finds no reply and declines by itself.
//!
//! Not confirmed by any public source: the status message of monitoring (the miscellaneous field `h`) and the framing
//! over TCP. Miscellaneous fields are counted, not read: they may hold card data.

mod dialogue;
mod fields;
pub(super) mod line;
mod redact;
mod reply;
mod request;

use serde::Serialize;

use super::Fault;
pub use dialogue::Dialogue;
pub use line::{Control, frame};
pub use redact::redact;
pub use reply::{Configuration, Reply, Totals};
pub use request::{Header, Request};

/// What one frame, or one character between frames, says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Message {
    /// The terminal asks its host for something.
    Request(Box<Request>),
    /// The host answers a transaction request.
    Reply(Box<Reply>),
    /// The host answers a request for its totals.
    Totals(Totals),
    /// The host answers a request for configuration.
    Configuration(Configuration),
    /// The same frame as the one before it: its acknowledgement was lost.
    Repeated {
        /// `repeated`.
        kind: Repeated,
    },
    /// A character that steers the line.
    Control {
        /// Which.
        control: Control,
    },
    /// A frame that arrived intact and that nobody understands: to have it sent again would not help.
    Unread(Fault),
    /// Characters outside of any frame, or a frame that was broken off.
    Noise(Fault),
}

/// The kind of a repeated frame in the JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeated {
    /// The only one.
    Repeated,
}

impl Message {
    /// The terminal that it is from, or for.
    pub fn terminal_id(&self) -> Option<&str> {
        let id = match self {
            Message::Request(request) => &request.terminal_id,
            Message::Reply(reply) => &reply.terminal_id,
            Message::Totals(totals) => &totals.terminal_id,
            Message::Configuration(configuration) => &configuration.terminal_id,
            Message::Repeated { .. } | Message::Control { .. } | Message::Unread(_) | Message::Noise(_) => return None,
        };
        Some(id.as_str()).filter(|id| !id.is_empty())
    }
}

/// Reads what [`Framing::Triton`](super::framing::Framing::Triton) has cut: a frame with its STX, ETX and LRC, a control
/// character, or noise. The parity bits are gone already.
///
/// # Errors
/// Where a frame is damaged: sent again, it may be whole.
pub fn decode(piece: &[u8]) -> Result<Message, Fault> {
    let body = match line::read(piece)? {
        line::Piece::Control(control) => return Ok(Message::Control { control }),
        line::Piece::Noise => {
            let broken_off = piece.first() == Some(&line::STX);
            let reason = if broken_off { "a frame was broken off" } else { "characters outside of any frame" };
            return Ok(Message::Noise(Fault::new(reason, &line::shape(piece))));
        }
        line::Piece::Body(body) => body,
    };
    let fields: Vec<&[u8]> = body.split(|byte| *byte == line::FS).collect();
    let read = match fields.as_slice() {
        // A reply's flag for messages of several blocks.
        [[_] | [], id, code, rest @ ..] if fields::is_code(code) => reply::read(id, code, rest).map(Some),
        [header, id, code, rest @ ..] if request::is_header(header) && fields::is_code(code) => {
            request::read(Some(header), id, code, rest).map(Some)
        }
        [id, code, rest @ ..] if fields::is_code(code) => match reply::without_flag(id, code, rest) {
            Some(reply) => reply.map(Some),
            None => request::read(None, id, code, rest).map(Some),
        },
        _ => Ok(None),
    };
    let unread = |reason: &str| Message::Unread(Fault::new(reason, &line::shape(body)));
    Ok(match read {
        Ok(Some(message)) => message,
        Ok(None) => unread("no Triton message: a terminal id and a transaction code are expected"),
        Err(reason) => unread(reason),
    })
}

#[cfg(test)]
mod tests;
