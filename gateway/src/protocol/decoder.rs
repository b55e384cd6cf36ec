//! One decoder for every protocol: frames in, messages and faults out.

use super::{Fault, Message, Protocol, ndc};
use crate::profile::Profile;

/// Decodes the frames of one stream. What a protocol must remember between frames is in here.
#[derive(Debug)]
pub enum Decoder {
    /// NDC: every frame is a message.
    Ndc(ndc::Options),
}

impl Decoder {
    /// A decoder at the beginning of a terminal's stream.
    ///
    /// # Errors
    /// Where the profile's protocol is not read this way.
    pub fn new(profile: &Profile) -> Result<Decoder, String> {
        match profile.protocol {
            Protocol::Ndc => Ok(Decoder::Ndc(profile.ndc)),
            other => Err(format!("no decoder for protocol {}", other.name())),
        }
    }

    /// Takes the next frame and hands on every message it completes.
    pub fn frame(&mut self, frame: &[u8], emit: &mut impl FnMut(Result<Message, Fault>)) {
        match self {
            Decoder::Ndc(options) => emit(ndc::decode(frame, options).map(Message::Ndc)),
        }
    }

    /// The stream is over: hands on what was waiting for more. The decoder then starts anew.
    pub fn finish(&mut self, emit: &mut impl FnMut(Result<Message, Fault>)) {
        // NDC remembers nothing.
        let Decoder::Ndc(_) = self;
        let _ = emit;
    }
}
