//! What terminals speak: bytes in, messages out.
//!
//! Deterministic and pure: no runtime, no clock, no I/O, no panic. State is bounded (a journal's current transaction),
//! and cutting the bytes differently never changes what comes out. A frame that nobody understands is a [`Fault`],
//! which becomes an event; it is never an error that stops a link.

pub mod framing;
pub mod journal;
pub mod ndc;

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
