//! From a link's bytes to messages: the framing and the codec of one conversation, together.

use super::framing::{Framer, Framing};
use super::journal::{Dialect, Journal};
use super::{Fault, Message, Protocol, jsonl};
use crate::profile::Profile;

/// The decoder of one conversation.
pub enum Decoder {
    /// Frames, each a message by itself.
    Framed {
        /// Tells the frames apart.
        framer: Framer,
        /// Reads one.
        codec: Codec,
    },
    /// A journal, whose lines hang together.
    Journal(Box<Journal>),
}

/// Reads one frame.
#[derive(Clone, Copy, Debug)]
pub enum Codec {
    /// A line of JSON.
    Jsonl,
}

impl Decoder {
    /// A decoder for a conversation that begins.
    pub fn new(protocol: Protocol, profile: &Profile, max_frame_bytes: usize) -> Decoder {
        match protocol {
            Protocol::Ndc | Protocol::Jsonl => Decoder::Framed {
                framer: Framer::new(Framing::Line { max: max_frame_bytes }),
                codec: Codec::Jsonl,
            },
            Protocol::JournalNcr => Decoder::Journal(Box::new(Journal::new(Dialect::built_in()))),
        }
    }

    /// Takes bytes in; what they complete is pushed to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Result<Message, Fault>>) {
        match self {
            Decoder::Framed { framer, codec } => framer.push(bytes, &mut |frame| out.extend(codec.decode(frame))),
            Decoder::Journal(journal) => journal.push(bytes, &mut |entry| out.push(entry.map(Message::Journal))),
        }
    }

    /// The bytes have ended; half a frame is a fault.
    pub fn finish(&mut self, out: &mut Vec<Result<Message, Fault>>) {
        match self {
            Decoder::Framed { framer, codec } => framer.finish(&mut |frame| out.extend(codec.decode(frame))),
            Decoder::Journal(journal) => journal.finish(&mut |entry| out.push(entry.map(Message::Journal))),
        }
    }

    /// Whether the frames cannot be told apart any more: only a new conversation helps.
    pub fn is_broken(&self) -> bool {
        match self {
            Decoder::Framed { framer, .. } => framer.broken(),
            Decoder::Journal(_) => false,
        }
    }
}

impl Codec {
    /// Reads a frame; `None` where it is empty and says nothing.
    fn decode(self, frame: Result<&[u8], Fault>) -> Option<Result<Message, Fault>> {
        let frame = match frame {
            Ok(frame) => frame,
            Err(fault) => return Some(Err(fault)),
        };
        match self {
            Codec::Jsonl if frame.trim_ascii().is_empty() => None,
            Codec::Jsonl => Some(jsonl::decode(frame).map(Message::Jsonl)),
        }
    }
}
