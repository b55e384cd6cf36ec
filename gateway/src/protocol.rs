//! What terminals speak: bytes in, messages out.
//!
//! Deterministic and pure: no runtime, no clock, no I/O, no panic. State is bounded (a journal's current transaction),
//! and cutting the bytes differently never changes what comes out. A frame that nobody understands is a [`Fault`],
//! which becomes an event; it is never an error that stops a link.

mod answer;
pub mod command;
mod decoder;
pub mod framing;
pub mod iso8583;
pub mod journal;
pub mod jsonl;
pub mod ndc;
pub mod redact;
pub mod triton;
pub mod upload;
pub mod xfs4iot;

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use crate::mask::Shown;
pub use answer::Outcome;
pub use decoder::{Decoder, Stream};

/// A wire protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// NDC, NDC+ and Advance NDC.
    Ndc,
    /// ISO 8583 of 1987 and 1993.
    Iso8583,
    /// The journal that a terminal prints; the words are its model's dialect.
    Journal,
    /// One JSON object a line.
    Jsonl,
    /// Triton Standard, of retail terminals.
    Triton,
    /// XFS4IoT: a terminal's devices as JSON services.
    Xfs4iot,
    /// Files of JSON tables.
    Upload,
}

impl Protocol {
    /// Its name in settings, in events and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Ndc => "ndc",
            Protocol::Iso8583 => "iso8583",
            Protocol::Journal => "journal",
            Protocol::Jsonl => "jsonl",
            Protocol::Triton => "triton",
            Protocol::Xfs4iot => "xfs4iot",
            Protocol::Upload => "upload",
        }
    }

    /// The built-in profile that stands for terminals of this protocol where no model is named.
    pub fn usual_profile(self) -> &'static str {
        match self {
            Protocol::Ndc => "ncr-selfserv-ndc",
            Protocol::Iso8583 => "iso8583-1987",
            Protocol::Journal => "ncr-journal",
            Protocol::Jsonl => "json-lines",
            Protocol::Triton => "triton",
            Protocol::Xfs4iot => "xfs4iot",
            Protocol::Upload => "atm-handler",
        }
    }
}

/// A decoded message of any protocol. It is written as JSON through the gate of [`crate::mask`].
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// NDC.
    Ndc(ndc::Message),
    /// ISO 8583.
    Iso8583(iso8583::Message),
    /// A journal.
    Journal(journal::Entry),
    /// A line of JSON.
    Jsonl(jsonl::Line),
    /// Triton.
    Triton(triton::Message),
    /// XFS4IoT.
    Xfs4iot(Box<xfs4iot::Message>),
    /// An uploaded file; it speaks for many terminals.
    Upload(Box<upload::Document>),
}

impl Message {
    /// The protocol it came by.
    pub fn protocol(&self) -> Protocol {
        match self {
            Message::Ndc(_) => Protocol::Ndc,
            Message::Iso8583(_) => Protocol::Iso8583,
            Message::Journal(_) => Protocol::Journal,
            Message::Jsonl(_) => Protocol::Jsonl,
            Message::Triton(_) => Protocol::Triton,
            Message::Xfs4iot(_) => Protocol::Xfs4iot,
            Message::Upload(_) => Protocol::Upload,
        }
    }

    /// What the terminal calls itself in it: a name, or a logical unit number.
    pub fn speaker(&self) -> Option<&str> {
        match self {
            Message::Ndc(message) => Some(message.luno()).filter(|luno| !luno.is_empty()),
            Message::Iso8583(message) => message.terminal(),
            Message::Journal(_) | Message::Upload(_) => None,
            Message::Jsonl(jsonl::Line::Hello(name)) => Some(name),
            Message::Jsonl(jsonl::Line::Report(report)) => report.terminal.as_deref(),
            Message::Triton(message) => message.terminal_id(),
            Message::Xfs4iot(_) => None,
        }
    }

    /// The source's own id of it, where the protocol has one.
    pub fn source_id(&self) -> Option<&str> {
        match self {
            Message::Jsonl(jsonl::Line::Report(report)) => report.id.as_deref(),
            Message::Ndc(message) => message.source_id(),
            _ => None,
        }
    }

    /// The lines of a journal that it holds, masked: they are kept for disputes whether or not anything happened in them.
    pub fn journal_text(&self) -> Cow<'_, [journal::Line]> {
        match self {
            Message::Journal(entry) => Cow::Borrowed(&entry.text),
            Message::Ndc(ndc::Message::Block(block)) => Cow::Owned(journal::uploaded(&block.text)),
            // An upload's lines belong to many terminals: they are taken row by row.
            _ => Cow::Borrowed(&[]),
        }
    }

    /// Whether there is nothing in it to keep: it says who speaks, or steers the line.
    pub fn is_hello(&self) -> bool {
        matches!(
            self,
            Message::Jsonl(jsonl::Line::Hello(_))
                | Message::Triton(triton::Message::Control { .. } | triton::Message::Repeated { .. })
        )
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Message::Ndc(message) => Shown(message).serialize(serializer),
            Message::Iso8583(message) => Shown(message).serialize(serializer),
            Message::Journal(entry) => Shown(entry).serialize(serializer),
            Message::Jsonl(line) => Shown(line).serialize(serializer),
            Message::Triton(message) => Shown(message).serialize(serializer),
            Message::Xfs4iot(message) => Shown(message).serialize(serializer),
            Message::Upload(document) => Shown(document).serialize(serializer),
        }
    }
}

/// A frame that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What is wrong with it, in a sentence.
    pub reason: String,
    /// The frame's beginning as printable text, with all that could be card data hidden.
    pub frame: String,
}

/// How much of a frame that nobody understands is kept, in bytes.
const FAULT_FRAME_BYTES: usize = 256;

impl Fault {
    /// A fault of this frame.
    pub fn new(reason: impl Into<String>, frame: &[u8]) -> Fault {
        Fault { reason: reason.into(), frame: crate::mask::bytes(frame, FAULT_FRAME_BYTES) }
    }
}
