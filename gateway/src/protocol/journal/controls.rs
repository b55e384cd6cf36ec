//! Printer controls off a line, with their ESC byte and where a log lost it.
//!
//! `ESC [ nnn p|q|r|t`, `ESC ( X`, `ESC ) X`, `ESC e n`, `ESC w n`, `ESC h nnn`, `ESC X`; without ESC what is left is
//! `[020t`, `(1`, `(I`, `)2` and `e1w3h162`.

use zeroize::Zeroizing;

const ESC: u8 = 0x1b;

/// A line as a person reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Printed {
    /// Printable ASCII, blanks at both ends included: they count for the paper's width.
    pub(super) text: Zeroizing<String>,
    /// The line ended an emphasised block (`ESC [ 00 p`).
    pub(super) block_end: bool,
    /// So many of its bytes are not printable that it is no journal text.
    pub(super) noise: bool,
}

/// Strips one line; where `lost_escape`, also of controls without their ESC byte.
pub(super) fn strip(line: &[u8], lost_escape: bool) -> Printed {
    // Of full length at once: growing would leave copies of what may be card data behind.
    let mut text = Zeroizing::new(String::with_capacity(line.len()));
    let mut block_end = false;
    let mut odd = 0_usize;
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let (control, escaped) = match byte {
            ESC => (after, true),
            _ => (rest, false),
        };
        let length = match escaped {
            true => escape_length(control),
            false if lost_escape => bare_length(control, &text),
            false => 0,
        };
        if length > 0 || escaped {
            block_end = is_block_end(&control[..length]);
            rest = &control[length..];
            continue;
        }
        match byte {
            b'\t' => text.push(' '),
            0x20..=0x7e => text.push(char::from(byte)),
            0x80.. => {
                odd += 1;
                text.push('?');
            }
            _ => odd += 1,
        }
        if byte != b' ' {
            block_end = false;
        }
        rest = after;
    }
    Printed { text, block_end, noise: odd > 8 && odd * 3 > line.len() }
}

/// A record's bytes as printable ASCII, without blanks at both ends; records have no printer controls.
pub(super) fn plain(record: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(record.len()));
    text.extend(record.trim_ascii().iter().map(|byte| match byte {
        0x20..=0x7e => char::from(*byte),
        _ => '?',
    }));
    text
}

/// Bytes of the control after an ESC byte.
pub(in crate::protocol) fn escape_length(after: &[u8]) -> usize {
    let digits =
        |from: usize, most: usize| after.iter().skip(from).take(most).take_while(|b| b.is_ascii_digit()).count();
    let length = match after.first() {
        Some(b'[') => {
            let digits = digits(1, 4);
            1 + digits + usize::from(after.get(1 + digits).is_some_and(u8::is_ascii_alphabetic))
        }
        Some(b'(' | b')') => 2,
        Some(b'e' | b'w') => 1 + digits(1, 1),
        Some(b'h') => 1 + digits(1, 3),
        Some(0x20..=0x7e) => 1,
        _ => 0,
    };
    length.min(after.len())
}

/// Bytes of a control that lost its ESC byte; 0 where the text is text.
fn bare_length(rest: &[u8], before: &str) -> usize {
    let at_start = before.trim_start().is_empty();
    match rest {
        [b'[', b'0', after @ ..] => {
            let digits = after.iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
            match after.get(digits) {
                Some(b'p' | b'q' | b'r' | b't') => 3 + digits,
                _ => 0,
            }
        }
        // `(1234)` and `(INSERTED)` are text.
        [b'(', b'1', after @ ..] if !after.first().is_some_and(u8::is_ascii_digit) => 2,
        [b'(', b'I', after @ ..] if before.ends_with('*') || !after.first().is_some_and(u8::is_ascii_uppercase) => 2,
        [b')', b'1' | b'2', ..] if at_start => 2,
        [b'e', e, b'w', w, b'h', h @ ..] if at_start && e.is_ascii_digit() && w.is_ascii_digit() => {
            5 + h.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count()
        }
        _ => 0,
    }
}

/// `[00p` and `[000p`: back to plain print.
fn is_block_end(control: &[u8]) -> bool {
    matches!(control, [b'[', zeros @ .., b'p'] if !zeros.is_empty() && zeros.iter().all(|byte| *byte == b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> String {
        strip(line.as_bytes(), true).text.trim().to_owned()
    }

    #[test]
    fn controls_go_with_and_without_their_escape_byte() {
        for (line, expected) in [
            ("\x1b[020t*511*01/15/2030*05:51*", "*511*01/15/2030*05:51*"),
            ("[020t*511*01/15/2030*05:51*", "*511*01/15/2030*05:51*"),
            ("\x1b[000p\x1b[040q\x1b(1     *8312*1*E*0,M-00,R-1", "*8312*1*E*0,M-00,R-1"),
            ("[000p[040q(1     *8312*1*E*0,M-00,R-1", "*8312*1*E*0,M-00,R-1"),
            ("*7231*1*\x1b(Iw\x1b(1*3, M-02, R-10011", "*7231*1*w*3, M-02, R-10011"),
            ("*7231*1*(Iw(1*3, M-02, R-10011", "*7231*1*w*3, M-02, R-10011"),
            ("\x1b[05pSUPERVISOR MODE ENTRY\x1b[00p", "SUPERVISOR MODE ENTRY"),
            ("[05pSUPERVISOR MODE ENTRY[00p", "SUPERVISOR MODE ENTRY"),
            ("\x1b[0r\x1b(1\x1b)2\x1b[000p\x1b[040q\x1be1\x1bw3\x1bh16216:02:03*MONEY FOUND ", "16:02:03*MONEY FOUND"),
            ("[0r(1)2[000p[040qe1w3h16216:02:03*MONEY FOUND", "16:02:03*MONEY FOUND"),
            ("Card Inserted (502265XXXXXX0092)", "Card Inserted (502265XXXXXX0092)"),
            ("Card Inserted (152265XXXXXX0092)", "Card Inserted (152265XXXXXX0092)"),
            ("Next State [055] Function [SetNextState]", "Next State [055] Function [SetNextState]"),
            ("\x1bS", ""),
            ("\x1b", ""),
        ] {
            assert_eq!(text(line), expected, "{line:?}");
        }
    }

    #[test]
    fn the_end_of_a_block_and_noise_are_seen() {
        assert!(strip(b"TYPE 3 =  2000  TYPE 4 =  2000\x1b[00p", true).block_end);
        assert!(strip(b"TYPE 3 =  2000  TYPE 4 =  2000[00p ", true).block_end);
        assert!(!strip(b"\x1b[00pCASH ADDED", true).block_end);
        assert!(strip(&[0xfe; 32], true).noise);
        assert!(!strip(b"CR\xc9DIT  12.00", true).noise);
    }
}
