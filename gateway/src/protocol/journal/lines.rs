//! Bytes into lines: CR, LF, CRLF and form feed end one.

use zeroize::Zeroize;

use crate::protocol::Fault;

/// Longest line that is read. Journal paper has 40 columns and controls; what is longer is noise or another protocol.
const LINE_BYTES: usize = 4096;

/// The line that has not ended yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    /// The line was too long: what is left of it is skipped.
    skip: bool,
}

impl Lines {
    /// Takes bytes as they come and gives every line that ends in them, without its end.
    pub(super) fn push(&mut self, bytes: &[u8], take: &mut impl FnMut(Result<&[u8], Fault>)) {
        for part in bytes.split_inclusive(|byte| ends_line(*byte)) {
            let (text, ended) = match part.split_last() {
                Some((last, text)) if ends_line(*last) => (text, true),
                _ => (part, false),
            };
            if !self.skip {
                let room = LINE_BYTES - self.line.len();
                self.line.extend_from_slice(&text[..text.len().min(room)]);
                if text.len() > room {
                    self.skip = true;
                    take(Err(Fault::new(format!("line longer than {LINE_BYTES} bytes"), &self.line)));
                    self.line.zeroize();
                }
            }
            if ended {
                self.end(take);
            }
        }
    }

    /// Gives what was read of the line that has not ended.
    pub(super) fn finish(&mut self, take: &mut impl FnMut(Result<&[u8], Fault>)) {
        self.end(take);
    }

    fn end(&mut self, take: &mut impl FnMut(Result<&[u8], Fault>)) {
        if !self.skip && !self.line.is_empty() {
            take(Ok(&self.line));
        }
        self.skip = false;
        // A journal can print card data; nothing of a line stays behind.
        self.line.zeroize();
    }
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_ends_a_line_and_a_long_line_is_one_fault() {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        let mut take = |line: Result<&[u8], Fault>| got.push(line.map(<[u8]>::to_vec).map_err(|fault| fault.reason));
        lines.push(b"a\rb\r\nc\n\x0cd\n", &mut take);
        lines.push(&[b'x'; 3 * LINE_BYTES], &mut take);
        lines.push(b"x\rafter", &mut take);
        lines.finish(&mut take);
        let line = |text: &str| Ok(text.as_bytes().to_vec());
        let long = Err("line longer than 4096 bytes".to_owned());
        assert_eq!(got, [line("a"), line("b"), line("c"), line("d"), long, line("after")]);
    }
}
