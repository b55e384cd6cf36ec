//! Uploaded files: a header `name<>size`, then as many bytes. See [`crate::protocol::upload`].

use super::{Framer, append};
use crate::protocol::Fault;
use crate::protocol::upload::{MAX_NAME, MAX_SIZE_DIGITS, SEPARATOR};

impl Framer {
    pub(super) fn push_upload(&mut self, mut bytes: &[u8], max: usize, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        // Byte by byte while the header lasts, which is short; then the document in one piece.
        while let Some((next, after)) = bytes.split_first().filter(|_| !self.broken) {
            match header(&self.buffer, *next) {
                Header::Begins if next.is_ascii_whitespace() => bytes = after,
                Header::Begins | Header::GoesOn => {
                    append(&mut self.buffer, &[*next]);
                    bytes = after;
                }
                Header::Ended { length, size } if size <= max => {
                    let missing = (length + size).saturating_sub(self.buffer.len());
                    let (now, rest) = bytes.split_at(missing.min(bytes.len()));
                    append(&mut self.buffer, now);
                    bytes = rest;
                    if now.len() == missing {
                        emit(Ok(&self.buffer));
                        self.clear();
                    }
                }
                Header::Ended { size, .. } => {
                    self.give_up(format!("a file of {size} bytes was announced, at most {max} are accepted"), emit);
                }
                Header::Wrong(why) => self.give_up(why.to_owned(), emit),
            }
        }
    }

    /// Nothing that comes now can be told apart.
    fn give_up(&mut self, reason: String, emit: &mut impl FnMut(Result<&[u8], Fault>)) {
        self.broken = true;
        emit(Err(Fault::new(reason, &self.buffer)));
        self.clear();
    }
}

/// Where an upload's header stands.
enum Header {
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
fn header(come: &[u8], next: u8) -> Header {
    let head = &come[..come.len().min(MAX_NAME + SEPARATOR.len() + MAX_SIZE_DIGITS + 1)];
    let Some(name) = head.windows(SEPARATOR.len()).position(|window| window == SEPARATOR) else {
        return match head.len() {
            0 => Header::Begins,
            // One byte of the separator may have come.
            length if length > MAX_NAME => {
                Header::Wrong("an upload begins with `name<>size`, and this name is too long")
            }
            _ => Header::GoesOn,
        };
    };
    let digits = head[name + SEPARATOR.len()..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length = name + SEPARATOR.len() + digits;
    // The document has begun, or the byte that follows is not of the size: the header is complete.
    if come.len() == length && next.is_ascii_digit() {
        return if digits < MAX_SIZE_DIGITS { Header::GoesOn } else { Header::Wrong("the size has too many digits") };
    }
    let size = std::str::from_utf8(&head[length - digits..length]).ok().and_then(|size| size.parse().ok());
    size.map_or(Header::Wrong("an upload's size follows `<>` in decimal digits"), |size| Header::Ended { length, size })
}

/// The fault of an upload that ended too early; says how much is missing where that is known.
pub(super) fn short_file(come: &[u8]) -> Fault {
    let reason = match header(come, b' ') {
        Header::Ended { length, size } => {
            format!("the file is short: {} of {size} bytes came", come.len().saturating_sub(length))
        }
        _ => "the stream ended in the middle of an upload's header".to_owned(),
    };
    Fault::new(reason, come)
}
