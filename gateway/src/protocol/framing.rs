//! Bytes to frames, with bounded memory: how a byte stream is cut before a protocol reads it.
//!
//! Cutting the stream differently never changes the frames. Frames may hold card data, so every buffer is zeroed as soon
//! as its frame has been handed on.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::Fault;

/// Largest frame that a two-byte length can announce.
const MAX_LENGTH_FRAME: usize = 0xffff;
/// Largest line where nothing else is said.
const MAX_LINE: usize = 64 * 1024;

/// Largest Triton frame: requests have some hundred characters.
const MAX_TRITON_FRAME: usize = 4 * 1024;

/// How a byte stream is cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Framing {
    /// Two bytes of length, the high one first, before every frame.
    Length {
        /// Whether the length counts its own two bytes.
        #[serde(default)]
        inclusive: bool,
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

impl Framing {
    /// A two-byte length that does not count itself.
    pub const LENGTH: Framing = Framing::Length { inclusive: false, max: MAX_LENGTH_FRAME };
    /// Lines.
    pub const LINE: Framing = Framing::Line { max: MAX_LINE };
    /// Triton's characters and frames.
    pub const TRITON: Framing = Framing::Triton { max: MAX_TRITON_FRAME };
    /// No framing.
    pub const NONE: Framing = Framing::None { max: MAX_LENGTH_FRAME };

    /// Largest frame accepted.
    pub fn max(self) -> usize {
        match self {
            Framing::Length { max, .. } | Framing::Line { max } | Framing::Triton { max } | Framing::None { max } => {
                max
            }
        }
    }
}

impl Framing {
    /// The same with another largest frame.
    #[must_use]
    pub fn with_max(mut self, limit: usize) -> Framing {
        match &mut self {
            Framing::Length { max, .. } | Framing::Line { max } | Framing::Triton { max } | Framing::None { max } => {
                *max = limit
            }
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

    /// Whether frames cannot be told apart any more: close the connection, nothing more will come out.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// Takes the next bytes of the stream and hands on every frame they complete.
    pub fn push(&mut self, bytes: &[u8], emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        match self.framing {
            Framing::Length { inclusive, max } => self.push_length(bytes, inclusive, max, emit),
            Framing::Line { max } => self.push_lines(bytes, max, emit),
            Framing::Triton { max } => self.push_triton(bytes, max, emit),
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
                Framing::Line { .. } | Framing::Triton { .. } | Framing::None { .. } => emit(Ok(&self.buffer)),
            }
        }
        self.clear();
        self.skipping = false;
        self.broken = false;
    }

    fn clear(&mut self) {
        self.buffer.zeroize();
    }

    fn push_length(
        &mut self,
        mut bytes: &[u8],
        inclusive: bool,
        max: usize,
        emit: &mut impl FnMut(Result<&[u8], Fault>),
    ) {
        while !self.broken {
            while self.buffer.len() < 2 {
                let Some((first, rest)) = bytes.split_first() else { return };
                append(&mut self.buffer, &[*first]);
                bytes = rest;
            }
            let announced = usize::from(u16::from_be_bytes([self.buffer[0], self.buffer[1]]));
            let length = if inclusive { announced.checked_sub(2) } else { Some(announced) };
            let Some(length) = length.filter(|length| *length <= max) else {
                self.broken = true;
                emit(Err(Fault::new(
                    format!("a frame of {announced} bytes was announced, at most {max} are accepted"),
                    &[],
                )));
                self.clear();
                return;
            };
            let missing = 2 + length - self.buffer.len();
            let (now, rest) = bytes.split_at(missing.min(bytes.len()));
            append(&mut self.buffer, now);
            bytes = rest;
            if now.len() < missing {
                return;
            }
            if length > 0 {
                emit(Ok(&self.buffer[2..]));
            }
            self.clear();
        }
    }

    fn push_lines(&mut self, mut bytes: &[u8], max: usize, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if !self.skipping {
                let room = max - self.buffer.len();
                append(&mut self.buffer, &line[..line.len().min(room)]);
                if line.len() > room {
                    self.skipping = true;
                    emit(Err(Fault::new(format!("a line is longer than {max} bytes"), &self.buffer)));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame, or the reason of a fault; and at the end whether the framer is broken.
    type Outcome = (Vec<Result<Vec<u8>, Fault>>, bool);

    fn run<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut framer = Framer::new(framing);
        let mut out = Vec::new();
        let mut emit = |frame: Result<&[u8], Fault>| out.push(frame.map(<[u8]>::to_vec));
        for piece in pieces {
            framer.push(piece, &mut emit);
        }
        let broken = framer.broken();
        framer.finish(&mut emit);
        (out, broken)
    }

    fn frames(framing: Framing, bytes: &[u8]) -> Vec<Result<Vec<u8>, Fault>> {
        run(framing, [bytes]).0
    }

    /// A small generator (xorshift64): the tests need no better.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).expect("31 bits") % limit
        }
    }

    #[test]
    fn cutting_the_stream_differently_changes_nothing() {
        let framings = [
            Framing::LENGTH,
            Framing::Length { inclusive: true, max: 40 },
            Framing::Length { inclusive: false, max: 5 },
            Framing::Line { max: 6 },
            Framing::LINE,
            Framing::NONE,
            Framing::None { max: 50 },
            Framing::TRITON,
            Framing::Triton { max: 7 },
        ];
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for round in 0..3_000 {
            let alphabet = [0_u8, 0, 0, 1, 2, 3, 9, b'\r', b'\n', b'a', b'b', 0xff];
            let stream: Vec<u8> = (0..random.below(120)).map(|_| alphabet[random.below(alphabet.len())]).collect();
            let framing = framings[round % framings.len()];
            let whole = run(framing, [&stream[..]]);
            let mut pieces = Vec::new();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((random.below(9)).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(run(framing, pieces), whole, "{framing:?} of {stream:?}");
            assert_eq!(run(framing, stream.chunks(1)), whole, "{framing:?} of {stream:?}");
        }
    }

    #[test]
    fn length_before_every_frame() {
        let two = vec![Ok(b"abc".to_vec()), Ok(b"d".to_vec())];
        assert_eq!(frames(Framing::LENGTH, b"\x00\x03abc\x00\x00\x00\x01d"), two);
        let inclusive = Framing::Length { inclusive: true, max: 9 };
        assert_eq!(frames(inclusive, b"\x00\x05abc\x00\x02\x00\x03d"), two);
        assert!(run(inclusive, [&b"\x00\x01abc"[..]]).1, "a length that does not even count itself");
    }

    #[test]
    fn a_frame_too_large_is_one_fault() {
        let (out, broken) = run(Framing::Length { inclusive: false, max: 4 }, [&b"\xff\xffabc"[..], b"defgh"]);
        assert!(broken);
        assert!(matches!(&out[..], [Err(fault)] if fault.reason.contains("65535")), "{out:?}");

        let (out, broken) = run(Framing::Line { max: 4 }, [&b"ok\r\nabcdefgh"[..], b"ijk\rfour\r\n\nend"]);
        assert!(!broken);
        let [first, Err(fault), rest @ ..] = &out[..] else { panic!("{out:?}") };
        assert_eq!(first, &Ok(b"ok".to_vec()));
        assert_eq!(fault.frame, "abcd");
        assert_eq!(rest, [Ok(b"four".to_vec()), Ok(b"end".to_vec())]);
    }

    #[test]
    fn half_a_frame_then_hang_up() {
        let out = frames(Framing::LENGTH, b"\x00\x05ab");
        assert!(matches!(&out[..], [Err(_)]), "{out:?}");
        assert!(frames(Framing::LENGTH, b"").is_empty());
    }

    #[test]
    fn settings_read_from_toml() {
        let framing: Framing = toml::from_str("kind = \"length\"\ninclusive = true").expect("a framing");
        assert_eq!(framing, Framing::Length { inclusive: true, max: MAX_LENGTH_FRAME });
        assert!(toml::from_str::<Framing>("kind = \"line\"\nmaximum = 3").is_err());
    }
}
