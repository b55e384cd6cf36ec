//! One decoder for every protocol: frames in, messages and faults out.

use super::journal::{Dialect, Journal};
use super::{Fault, Message, Protocol, ndc};
use crate::profile::Profile;

/// Decodes the frames of one stream. What a protocol must remember between frames is in here.
#[derive(Debug)]
pub enum Decoder {
    /// NDC: every frame is a message.
    Ndc(ndc::Options),
    /// A journal: every frame is a line, and what it means depends on those before it.
    Journal(Box<Journal>),
}

impl Decoder {
    /// A decoder for a conversation that begins.
    pub fn new(protocol: Protocol, profile: &Profile, max_frame_bytes: usize) -> Decoder {
        match protocol {
            Protocol::Ndc | Protocol::Jsonl => {
                Decoder::Framed { framer: Framer::new(Framing::Line { max: max_frame_bytes }), codec: Codec::Jsonl }
            }
            Protocol::JournalNcr => Decoder::Journal(Box::new(Journal::new(Dialect::built_in()))),
        }
    }

    /// Takes the next frame and hands on every message it completes.
    pub fn frame(&mut self, frame: &[u8], emit: &mut impl FnMut(Result<Message, Fault>)) {
        match self {
            Decoder::Ndc(options) => emit(ndc::decode(frame, options).map(Message::Ndc)),
            Decoder::Journal(journal) => journal.line(frame, &mut |entry| emit(entry.map(Message::Journal))),
        }
    }

    /// The stream is over: hands on what was waiting for more. The decoder then starts anew.
    pub fn finish(&mut self, emit: &mut impl FnMut(Result<Message, Fault>)) {
        match self {
            // NDC remembers nothing.
            Decoder::Ndc(_) => {}
            Decoder::Journal(journal) => journal.finish(&mut |entry| emit(entry.map(Message::Journal))),
        }
    }
}
