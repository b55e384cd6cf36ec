//! Bytes to frames, with bounded memory: how a byte stream is cut before a protocol reads it.
//!
//! Cutting the stream differently never changes the frames. Frames may hold card data, so every buffer is zeroed as soon
//! as its frame has been handed on.

mod length;
#[cfg(test)]
mod tests;
mod upload;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::Fault;
pub use length::LengthForm;

/// Largest frame that a two-byte length can announce.
const MAX_LENGTH_FRAME: usize = 0xffff;
/// End of text.
const ETX: u8 = 0x03;
/// Largest uploaded file where nothing else is said.
const MAX_UPLOAD: usize = 1024 * 1024;
/// Largest line where nothing else is said.
const MAX_LINE: usize = 64 * 1024;

/// Largest Triton frame: requests have some hundred characters.
const MAX_TRITON_FRAME: usize = 4 * 1024;

/// How a byte stream is cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Framing {
    /// A length before every frame.
    Length {
        /// How it is written.
        #[serde(default)]
        form: LengthForm,
        /// Whether the length counts its own bytes.
        #[serde(default)]
        inclusive: bool,
        /// Whether the length counts one ETX behind every frame, which is not part of it (BASE24).
        #[serde(default)]
        etx: bool,
        /// Largest frame accepted, without the length.
        #[serde(default = "max_length_frame")]
        max: usize,
    },
    /// Lines that end with CR, LF or both; empty lines are no frames.
    Line {
        /// Longest line accepted.
        #[serde(default = "max_line")]
        max: usize,
    },
    /// Files: `name<>size`, then as many bytes; the frame is all of it. White space between files is passed over.
    Upload {
        /// Largest file accepted, without its header.
        #[serde(default = "max_upload")]
        max: usize,
    },
    /// Records that end with this byte; empty ones are no frames.
    Delimiter {
        /// The byte.
        byte: u8,
        /// Longest record accepted.
        #[serde(default = "max_line")]
        max: usize,
    },
    /// `STX body ETX LRC` on a line of 7 bits and a parity, with control characters between.
    Triton {
        /// Largest frame accepted, with its STX, ETX and LRC.
        #[serde(default = "max_triton_frame")]
        max: usize,
    },
    /// All bytes up to the end are one frame.
    None {
        /// Largest frame accepted.
        #[serde(default = "max_length_frame")]
        max: usize,
    },
}

fn max_length_frame() -> usize {
    MAX_LENGTH_FRAME
}

fn max_line() -> usize {
    MAX_LINE
}

fn max_triton_frame() -> usize {
    MAX_TRITON_FRAME
}

fn max_upload() -> usize {
    MAX_UPLOAD
}

impl Framing {
    /// A two-byte length that does not count itself.
    pub const LENGTH: Framing = Framing::length(LengthForm::Binary2);
    /// Four decimal digits of length, which do not count themselves.
    pub const ASCII_LENGTH: Framing = Framing::length(LengthForm::Ascii4);
    /// Lines.
    pub const LINE: Framing = Framing::Line { max: MAX_LINE };
    /// Triton's characters and frames.
    pub const TRITON: Framing = Framing::Triton { max: MAX_TRITON_FRAME };
    /// Uploaded files.
    pub const UPLOAD: Framing = Framing::Upload { max: MAX_UPLOAD };
    /// No framing.
    pub const NONE: Framing = Framing::None { max: MAX_LENGTH_FRAME };

    /// A length of this form that counts neither itself nor an ETX.
    pub const fn length(form: LengthForm) -> Framing {
        Framing::Length { form, inclusive: false, etx: false, max: MAX_LENGTH_FRAME }
    }

    /// Largest frame accepted.
    pub fn max(self) -> usize {
        match self {
            Framing::Length { max, .. }
            | Framing::Line { max }
            | Framing::Delimiter { max, .. }
            | Framing::Triton { max }
            | Framing::Upload { max }
            | Framing::None { max } => max,
        }
    }

    /// A frame as it goes out; nothing where it is too long to be announced.
    pub fn wrap(self, frame: &[u8]) -> Option<Vec<u8>> {
        match self {
            Framing::Length { form, inclusive, etx, .. } => {
                let end: &[u8] = if etx { &[ETX] } else { &[] };
                let counted = frame.len() + end.len() + if inclusive { form.bytes() } else { 0 };
                Some([&form.announce(counted)?, frame, end].concat())
            }
            Framing::Line { .. } => Some([frame, b"\n"].concat()),
            // A file's frame is its header, too.
            Framing::Upload { .. } => Some(frame.to_owned()),
            Framing::Delimiter { byte, .. } => Some([frame, &[byte]].concat()),
            // A Triton frame is made with its parity and check where it is made.
            Framing::Triton { .. } | Framing::None { .. } => Some(frame.to_owned()),
        }
    }

    /// The same with another largest frame.
    #[must_use]
    pub fn with_max(mut self, limit: usize) -> Framing {
        match &mut self {
            Framing::Length { max, .. }
            | Framing::Line { max }
            | Framing::Delimiter { max, .. }
            | Framing::Triton { max }
            | Framing::Upload { max }
            | Framing::None { max } => *max = limit,
        }
        self
    }
}

/// Cuts one byte stream into frames.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    /// The beginning of a frame whose end has not come yet; never longer than the length bytes and the largest frame.
    buffer: Vec<u8>,
    /// The rest of a line that was too long is being skipped.
    skipping: bool,
    /// The stream's frames cannot be told apart any more.
    broken: bool,
}

impl Framer {
    /// A framer at the beginning of a stream.
    pub fn new(framing: Framing) -> Framer {
        Framer { framing, buffer: Vec::new(), skipping: false, broken: false }
    }

    /// How it cuts the stream.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether frames cannot be told apart any more: close the connection, nothing more will come out.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// Takes the next bytes of the stream and hands on every frame they complete.
    pub fn push(&mut self, bytes: &[u8], emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        match self.framing {
            Framing::Length { .. } => self.push_length(bytes, emit),
            Framing::Line { max } => self.push_ended(bytes, b"\r\n", max, emit),
            Framing::Delimiter { byte, max } => self.push_ended(bytes, &[byte], max, emit),
            Framing::Triton { max } => self.push_triton(bytes, max, emit),
            Framing::Upload { max } => self.push_upload(bytes, max, emit),
            Framing::None { max } => self.push_all(bytes, max, emit),
        }
    }

    /// The stream is over: hands on what is left, or says that the last frame is cut off. The framer then starts anew.
    pub fn finish(&mut self, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        if !self.buffer.is_empty() && !self.broken {
            match self.framing {
                Framing::Length { .. } => {
                    emit(Err(Fault::new("the stream ended in the middle of a frame", &self.buffer)));
                }
                Framing::Upload { .. } => emit(Err(upload::short_file(&self.buffer))),
                Framing::Line { .. } | Framing::Delimiter { .. } | Framing::Triton { .. } | Framing::None { .. } => {
                    emit(Ok(&self.buffer));
                }
            }
        }
        self.clear();
        self.skipping = false;
        self.broken = false;
    }

    fn clear(&mut self) {
        self.buffer.zeroize();
    }

    fn push_length(&mut self, mut bytes: &[u8], emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        let Framing::Length { form, inclusive, etx, max } = self.framing else { return };
        let head = form.bytes();
        while !self.broken {
            while self.buffer.len() < head {
                let Some((first, rest)) = bytes.split_first() else { return };
                append(&mut self.buffer, &[*first]);
                bytes = rest;
            }
            let announced = form.announced(&self.buffer[..head]);
            let length = announced.and_then(|length| if inclusive { length.checked_sub(head) } else { Some(length) });
            let Some(length) = length.filter(|length| *length <= max) else {
                // Nobody knows where the next frame begins.
                self.broken = true;
                let reason = match announced {
                    Some(announced) => {
                        format!("a frame of {announced} bytes was announced, at most {max} are accepted")
                    }
                    None => "what should be the length of a frame is none".to_owned(),
                };
                emit(Err(Fault::new(reason, &[])));
                self.clear();
                return;
            };
            let missing = head + length - self.buffer.len();
            let (now, rest) = bytes.split_at(missing.min(bytes.len()));
            append(&mut self.buffer, now);
            bytes = rest;
            if now.len() < missing {
                return;
            }
            match &self.buffer[head..] {
                [] => {}
                [frame @ .., ETX] if etx => emit(Ok(frame)),
                frame if etx => emit(Err(Fault::new("a frame does not end with ETX", frame))),
                frame => emit(Ok(frame)),
            }
            self.clear();
        }
    }

    fn push_ended(&mut self, mut bytes: &[u8], ends: &[u8], max: usize, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| ends.contains(byte));
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if !self.skipping {
                let room = max - self.buffer.len();
                append(&mut self.buffer, &line[..line.len().min(room)]);
                if line.len() > room {
                    self.skipping = true;
                    emit(Err(Fault::new(format!("a line or record is longer than {max} bytes"), &self.buffer)));
                    self.clear();
                } else if end.is_some() && !self.buffer.is_empty() {
                    emit(Ok(&self.buffer));
                    self.clear();
                }
            }
            if end.is_some() {
                self.skipping = false;
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
    }

    /// Pieces of a line: a frame from STX to LRC, one control character, or what stands between them.
    fn push_triton(&mut self, bytes: &[u8], max: usize, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        use super::triton::line::{CHARACTER, ETX, STX};
        for character in bytes.iter().map(|byte| byte & CHARACTER) {
            // Whatever follows the ETX is the check character, even where it looks like a control.
            let checks = self.buffer.last() == Some(&ETX);
            let control = super::triton::Control::of(character).is_some();
            if !checks && (control || character == STX) {
                self.piece(emit);
                self.skipping = false;
            } else if self.skipping || (self.buffer.is_empty() && matches!(character, 0 | CHARACTER)) {
                // The rest of what was too long; or an idle line, which shows as characters of one bit alone.
                continue;
            }
            if self.buffer.len() >= max {
                self.skipping = true;
                // Nothing of it is shown: it may be a PIN block that no mask would know.
                emit(Err(Fault::new(format!("more than {max} characters in a frame"), &[])));
                self.clear();
                continue;
            }
            append(&mut self.buffer, &[character]);
            if checks || control {
                self.piece(emit);
            }
        }
    }

    fn piece(&mut self, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        if !self.buffer.is_empty() {
            emit(Ok(&self.buffer));
            self.clear();
        }
    }

    fn push_all(&mut self, bytes: &[u8], max: usize, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        if self.broken {
            return;
        }
        let room = max - self.buffer.len();
        append(&mut self.buffer, &bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.broken = true;
            emit(Err(Fault::new(format!("more than {max} bytes without framing"), &self.buffer)));
            self.clear();
        }
    }
}

/// Appends without leaving a copy behind where the buffer has to move.
fn append(buffer: &mut Vec<u8>, bytes: &[u8]) {
    let length = buffer.len() + bytes.len();
    if length > buffer.capacity() {
        let mut larger = Vec::with_capacity(length.next_power_of_two());
        larger.extend_from_slice(buffer);
        buffer.zeroize();
        *buffer = larger;
    }
    buffer.extend_from_slice(bytes);
}

impl Drop for Framer {
    fn drop(&mut self) {
        self.clear();
    }
}
