//! One decoder for every protocol: frames in, messages and faults out; and with the framing, bytes in.

use super::framing::{Framer, Framing};
use super::journal::{DialectError, Journal};
use super::{Fault, Message, Protocol, iso8583, jsonl, ndc, upload};
use crate::profile::Profile;

/// Decodes the frames of one stream. What a protocol must remember between frames is in here.
#[derive(Debug)]
pub enum Decoder {
    /// NDC: every frame is a message.
    Ndc(ndc::Options),
    /// ISO 8583: every frame is a message.
    Iso8583(iso8583::Options),
    /// A journal: every frame is a line, and what it means depends on those before it.
    Journal(Box<Journal>),
    /// JSON: every frame is a line, and a message.
    Jsonl,
    /// Uploads: every frame is a file, and a message.
    Upload,
}

impl Decoder {
    /// A decoder at the beginning of a terminal's stream.
    ///
    /// # Errors
    /// Where the profile names a dialect that there is not.
    pub fn new(protocol: Protocol, profile: &Profile) -> Result<Decoder, DialectError> {
        match protocol {
            Protocol::Ndc => Ok(Decoder::Ndc(profile.ndc)),
            Protocol::Iso8583 => Ok(Decoder::Iso8583(profile.iso8583.clone())),
            Protocol::Journal => Ok(Decoder::Journal(Box::new(Journal::new(profile.dialect()?)))),
            Protocol::Jsonl => Ok(Decoder::Jsonl),
            Protocol::Upload => Ok(Decoder::Upload),
        }
    }

    /// Takes the next frame and hands on every message it completes.
    pub fn frame(&mut self, frame: &[u8], emit: &mut impl FnMut(Result<Message, Fault>)) {
        match self {
            Decoder::Ndc(options) => emit(ndc::decode(frame, options).map(Message::Ndc)),
            Decoder::Iso8583(options) => emit(iso8583::decode(frame, options).map(Message::Iso8583)),
            Decoder::Journal(journal) => journal.line(frame, &mut |entry| emit(entry.map(Message::Journal))),
            Decoder::Jsonl => emit(jsonl::decode(frame).map(Message::Jsonl)),
            Decoder::Upload => emit(upload::decode(frame).map(|document| Message::Upload(Box::new(document)))),
        }
    }

    /// A fault of the framing, fit for this protocol: in BCD or EBCDIC no mask would find a card number in its bytes.
    fn framing_fault(&self, mut fault: Fault) -> Fault {
        if matches!(self, Decoder::Iso8583(_)) {
            fault.frame.clear();
        }
        fault
    }

    /// The stream is over: hands on what was waiting for more. The decoder then starts anew.
    pub fn finish(&mut self, emit: &mut impl FnMut(Result<Message, Fault>)) {
        match self {
            // They remember nothing.
            Decoder::Ndc(_) | Decoder::Iso8583(_) | Decoder::Jsonl | Decoder::Upload => {}
            Decoder::Journal(journal) => journal.finish(&mut |entry| emit(entry.map(Message::Journal))),
        }
    }
}

/// The bytes of one conversation: framing and decoder together.
#[derive(Debug)]
pub struct Stream {
    framer: Framer,
    decoder: Decoder,
}

impl Stream {
    /// A stream that begins.
    pub fn new(framing: Framing, decoder: Decoder) -> Stream {
        Stream { framer: Framer::new(framing), decoder }
    }

    /// Takes bytes in, and hands on every message they complete.
    pub fn push(&mut self, bytes: &[u8], emit: &mut impl FnMut(Result<Message, Fault>)) {
        let Stream { framer, decoder } = self;
        framer.push(bytes, &mut |frame| match frame {
            Ok(frame) => decoder.frame(frame, emit),
            Err(fault) => emit(Err(decoder.framing_fault(fault))),
        });
    }

    /// The bytes have ended; half a frame is a fault.
    pub fn finish(&mut self, emit: &mut impl FnMut(Result<Message, Fault>)) {
        let Stream { framer, decoder } = self;
        framer.finish(&mut |frame| match frame {
            Ok(frame) => decoder.frame(frame, emit),
            Err(fault) => emit(Err(decoder.framing_fault(fault))),
        });
        decoder.finish(emit);
    }

    /// How its bytes are cut, and how answers go out.
    pub fn framing(&self) -> Framing {
        self.framer.framing()
    }

    /// Whether the frames cannot be told apart any more: only a new conversation helps.
    pub fn is_broken(&self) -> bool {
        self.framer.broken()
    }
}
