//! What terminals speak: bytes in, messages out.
//!
//! Deterministic and pure: no runtime, no clock, no I/O, no panic. State is bounded (a journal's current transaction),
//! and cutting the bytes differently never changes what comes out. A frame that nobody understands is a [`Fault`],
//! which becomes an event; it is never an error that stops a link.

mod decoder;
pub mod framing;
pub mod journal;
pub mod jsonl;
pub mod ndc;

use serde::{Deserialize, Serialize};

pub use decoder::Decoder;

/// What is spoken on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// NDC, NDC+ and Advance NDC over TCP, in frames with a two-byte length.
    Ndc,
    /// The text that an NCR journal printer is sent.
    JournalNcr,
    /// Our own JSON lines.
    Jsonl,
}

impl Protocol {
    /// Its name in settings, on the command line and in events.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Ndc => "ndc",
            Protocol::JournalNcr => "journal-ncr",
            Protocol::Jsonl => "jsonl",
        }
    }
}

/// What a terminal said, decoded and free of card data.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// What lines of a printed journal tell.
    Journal(journal::Entry),
    /// A line of JSON.
    Jsonl(jsonl::Line),
}

impl Message {
    /// What the terminal calls itself in it: a name, or a logical unit number.
    pub fn speaker(&self) -> Option<&str> {
        match self {
            Message::Jsonl(jsonl::Line::Hello(name)) => Some(name),
            Message::Jsonl(jsonl::Line::Report(report)) => report.terminal.as_deref(),
            Message::Journal(_) => None,
        }
    }

    /// The source's own id of it, where the protocol has one.
    pub fn source_id(&self) -> Option<&str> {
        match self {
            Message::Jsonl(jsonl::Line::Report(report)) => report.id.as_deref(),
            _ => None,
        }
    }

    /// Whether it says who speaks, and nothing else.
    pub fn is_hello(&self) -> bool {
        matches!(self, Message::Jsonl(jsonl::Line::Hello(_)))
    }
}

/// A frame that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
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
