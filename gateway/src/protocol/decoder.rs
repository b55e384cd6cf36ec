//! One decoder for every protocol: frames in, messages and faults out; and with the framing, bytes in.

use std::time::Duration;

use super::framing::{Framer, Framing};
use super::journal::{DialectError, Journal};
use super::{Fault, Message, Outcome, Protocol, iso8583, jsonl, ndc, triton, upload, xfs4iot};
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
    /// Triton: every frame is a message, and a host may answer it.
    Triton(triton::Dialogue),
    /// XFS4IoT: every frame is a message.
    Xfs4iot,
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
            Protocol::Triton => Ok(Decoder::Triton(triton::Dialogue::default())),
            Protocol::Xfs4iot => Ok(Decoder::Xfs4iot),
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
            Decoder::Triton(dialogue) => dialogue.frame(frame, &mut |message| emit(message.map(Message::Triton))),
            Decoder::Xfs4iot => emit(xfs4iot::decode(frame).map(Box::new).map(Message::Xfs4iot)),
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
            Decoder::Ndc(_)
            | Decoder::Iso8583(_)
            | Decoder::Jsonl
            | Decoder::Triton(_)
            | Decoder::Xfs4iot
            | Decoder::Upload => {}
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

    /// Whether the other side keeps what it has said until it is answered: of half a frame it then says the whole again.
    pub fn is_kept_until_answered(&self) -> bool {
        matches!(self.decoder, Decoder::Jsonl | Decoder::Upload)
    }

    /// Puts what is said between the frames' marks; nothing where it is too long for them.
    pub fn wrap(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.framer.framing().wrap(message)
    }

    /// What to say before anything was heard, where the protocol lets us begin.
    pub fn opening(&mut self) -> Vec<u8> {
        match &mut self.decoder {
            Decoder::Triton(dialogue) => dialogue.opening(),
            _ => Vec::new(),
        }
    }

    /// What to say to something that was heard, once it is decided. Call it once for each, in their order.
    pub fn answer(&mut self, heard: &Result<Message, Fault>, outcome: Outcome<'_>, protocol: Protocol) -> Vec<u8> {
        match (&mut self.decoder, heard) {
            (Decoder::Triton(dialogue), Ok(Message::Triton(message))) => dialogue.answer(Ok(message), outcome),
            (Decoder::Triton(dialogue), Err(fault)) => dialogue.answer(Err(fault), outcome),
            _ => protocol.answer(heard, outcome, self.framer.framing()).unwrap_or_default(),
        }
    }

    /// How long the line may be quiet before [`Stream::quiet`] must be called; `None` for ever.
    pub fn patience(&self) -> Option<Duration> {
        match &self.decoder {
            Decoder::Triton(dialogue) if dialogue.hosting() => Some(triton::Dialogue::QUIET),
            _ => None,
        }
    }

    /// The line was quiet for so long: hands on what was waiting for more, and returns what to say.
    pub fn quiet(&mut self, emit: &mut impl FnMut(Result<Message, Fault>)) -> Vec<u8> {
        let Stream { framer, decoder } = self;
        let Decoder::Triton(dialogue) = decoder else { return Vec::new() };
        let mut broken_off = false;
        framer.finish(&mut |piece| {
            broken_off = true;
            match piece {
                Ok(piece) => dialogue.frame(piece, &mut |message| emit(message.map(Message::Triton))),
                Err(fault) => emit(Err(fault)),
            }
        });
        dialogue.quiet(broken_off)
    }

    /// Whether the frames cannot be told apart any more: only a new conversation helps.
    pub fn is_broken(&self) -> bool {
        self.framer.broken()
    }
}
