//! Bytes to frames, with bounded memory: how a byte stream is cut before a protocol reads it.
//!
//! Cutting the stream differently never changes the frames. Frames may hold card data, so every buffer is zeroed as soon
//! as its frame has been handed on.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::Fault;
use super::upload::{MAX_NAME, MAX_SIZE_DIGITS, SEPARATOR};

/// Largest frame that a two-byte length can announce.
const MAX_LENGTH_FRAME: usize = 0xffff;
/// Largest uploaded file where nothing else is said.
const MAX_UPLOAD: usize = 1024 * 1024;
/// Largest line where nothing else is said.
const MAX_LINE: usize = 64 * 1024;

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
    /// Files: `name<>size`, then as many bytes; the frame is all of it. White space between files is passed over.
    Upload {
        /// Largest file accepted, without its header.
        #[serde(default = "max_upload")]
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

fn max_upload() -> usize {
    MAX_UPLOAD
}

impl Framing {
    /// A two-byte length that does not count itself.
    pub const LENGTH: Framing = Framing::Length { inclusive: false, max: MAX_LENGTH_FRAME };
    /// Lines.
    pub const LINE: Framing = Framing::Line { max: MAX_LINE };
    /// Uploaded files.
    pub const UPLOAD: Framing = Framing::Upload { max: MAX_UPLOAD };
    /// No framing.
    pub const NONE: Framing = Framing::None { max: MAX_LENGTH_FRAME };

    /// Largest frame accepted.
    pub fn max(self) -> usize {
        match self {
            Framing::Length { max, .. } | Framing::Line { max } | Framing::Upload { max } | Framing::None { max } => {
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
            Framing::Length { max, .. } | Framing::Line { max } | Framing::Upload { max } | Framing::None { max } => {
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
                Framing::Upload { .. } => emit(Err(short_file(&self.buffer))),
                Framing::Line { .. } | Framing::None { .. } => emit(Ok(&self.buffer)),
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

    fn push_upload(&mut self, mut bytes: &[u8], max: usize, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        // Byte by byte while the header lasts, which is short; then the document in one piece.
        while let Some((next, after)) = bytes.split_first().filter(|_| !self.broken) {
            match upload_header(&self.buffer, *next) {
                UploadHeader::Begins if next.is_ascii_whitespace() => bytes = after,
                UploadHeader::Begins | UploadHeader::GoesOn => {
                    append(&mut self.buffer, &[*next]);
                    bytes = after;
                }
                UploadHeader::Ended { length, size } if size <= max => {
                    let missing = (length + size).saturating_sub(self.buffer.len());
                    let (now, rest) = bytes.split_at(missing.min(bytes.len()));
                    append(&mut self.buffer, now);
                    bytes = rest;
                    if now.len() == missing {
                        emit(Ok(&self.buffer));
                        self.clear();
                    }
                }
                UploadHeader::Ended { size, .. } => {
                    self.give_up(format!("a file of {size} bytes was announced, at most {max} are accepted"), emit);
                }
                UploadHeader::Wrong(why) => self.give_up(why.to_owned(), emit),
            }
        }
    }

    /// Nothing that comes now can be told apart.
    fn give_up(&mut self, reason: String, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        self.broken = true;
        emit(Err(Fault::new(reason, &self.buffer)));
        self.clear();
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

/// Where an upload's header stands.
enum UploadHeader {
    /// Nothing of it has come.
    Begins,
    /// The next byte belongs to it.
    GoesOn,
    /// It is complete: its own length, and the size it announces.
    Ended { length: usize, size: usize },
    /// It is none.
    Wrong(&'static str),
}

/// Reads what has come of an upload (header, or header and a part of the document) and looks at the byte that follows.
fn upload_header(come: &[u8], next: u8) -> UploadHeader {
    let head = &come[..come.len().min(MAX_NAME + SEPARATOR.len() + MAX_SIZE_DIGITS + 1)];
    let Some(name) = head.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) else {
        return match head.len() {
            0 => UploadHeader::Begins,
            // One byte of the separator may have come.
            length if length > MAX_NAME => {
                UploadHeader::Wrong("an upload begins with `name<>size`, and this name is too long")
            }
            _ => UploadHeader::GoesOn,
        };
    };
    let digits = head[name + SEPARATOR.len()..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length = name + SEPARATOR.len() + digits;
    // The document has begun, or the byte that follows is not of the size: the header is complete.
    if come.len() == length && next.is_ascii_digit() {
        return if digits < MAX_SIZE_DIGITS {
            UploadHeader::GoesOn
        } else {
            UploadHeader::Wrong("the size has too many digits")
        };
    }
    let size = std::str::from_utf8(&head[length - digits..length]).ok().and_then(|size| size.parse().ok());
    size.map_or(UploadHeader::Wrong("an upload's size follows `<>` in decimal digits"), |size| UploadHeader::Ended {
        length,
        size,
    })
}

/// The fault of an upload that ended too early; says how much is missing where that is known.
fn short_file(come: &[u8]) -> Fault {
    let reason = match upload_header(come, b' ') {
        UploadHeader::Ended { length, size } => {
            format!("the file is short: {} of {size} bytes came", come.len().saturating_sub(length))
        }
        _ => "the stream ended in the middle of an upload's header".to_owned(),
    };
    Fault::new(reason, come)
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
            Framing::Upload { max: 20 },
            Framing::UPLOAD,
        ];
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for round in 0..3_000 {
            let alphabet = [0_u8, 0, 0, 1, 2, 3, 9, b'\r', b'\n', b'a', b'b', 0xff];
            let framing = framings[round % framings.len()];
            let pieces: &[&[u8]] = match framing {
                Framing::Upload { .. } => {
                    &[b"<>", b"<", b">", b"1", b"3", b"0", b"a", b"\n", b"n<>4", b"{}", b"x<>2{}"]
                }
                _ => &[],
            };
            let mut piece = || match pieces.len() {
                0 => vec![alphabet[random.below(alphabet.len())]],
                count => pieces[random.below(count)].to_vec(),
            };
            let stream: Vec<u8> = (0..60).flat_map(|_| piece()).collect();
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
    fn an_upload_is_a_header_and_as_many_bytes_as_it_says() {
        let upload = Framing::Upload { max: 9 };
        let file = |text: &str| Ok(text.as_bytes().to_vec());
        assert_eq!(frames(upload, b"a.json<>2{}"), [file("a.json<>2{}")]);
        assert_eq!(frames(upload, b"a<>2{}\n b<>4{  }c<>0 d<>2[]"), ["a<>2{}", "b<>4{  }", "c<>0", "d<>2[]"].map(file));
        let reason = |bytes: &[u8]| {
            let (out, broken) = run(upload, [bytes]);
            match &out[..] {
                [Err(fault)] => (fault.reason.clone(), broken),
                _ => panic!("{out:?}"),
            }
        };
        assert_eq!(reason(b"a<>5{}"), ("the file is short: 2 of 5 bytes came".to_owned(), false));
        assert_eq!(reason(b"a<>5"), ("the file is short: 0 of 5 bytes came".to_owned(), false));
        assert_eq!(reason(b"a<"), ("the stream ended in the middle of an upload's header".to_owned(), false));
        for wrong in [&b"a<>10{}"[..], b"a<>x{}", b"a<>-1{}", b"a<>99999999999", &[b'a'; 300]] {
            assert!(reason(wrong).1, "{:?}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn settings_read_from_toml() {
        let framing: Framing = toml::from_str("kind = \"length\"\ninclusive = true").expect("a framing");
        assert_eq!(framing, Framing::Length { inclusive: true, max: MAX_LENGTH_FRAME });
        assert!(toml::from_str::<Framing>("kind = \"line\"\nmaximum = 3").is_err());
    }
}
