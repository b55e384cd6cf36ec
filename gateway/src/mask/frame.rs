//! Bytes that nobody understands, for a person who looks for what is wrong with a line.

/// Longest run of digits that is shown: a message class, a descriptor, a severity.
const SHOWN: usize = 3;
/// Longest cardholder name on a track (ISO/IEC 7813).
const MAX_NAME: usize = 26;

/// Bytes as printable text for a `protocol.error`: control bytes named, at most `limit` bytes, and structure instead of
/// content: of every run of more than three decimal, hexadecimal or NDC digits (`:;<=>?` for A to F) nothing is shown,
/// with blanks and dashes between them counted as nothing, and names as tracks write them are hidden.
pub fn bytes(bytes: &[u8], limit: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit)];
    written(shown, &hidden(shown), bytes.len())
}

/// Bytes whose card data was overwritten before, as printable text of at most `limit` of them.
pub fn redacted(bytes: &[u8], limit: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit)];
    super::printed(&written(shown, &vec![false; shown.len()], bytes.len())).into_owned()
}

fn written(shown: &[u8], hidden: &[bool], length: usize) -> String {
    let mut out = String::new();
    for (&byte, hidden) in shown.iter().zip(hidden) {
        match byte {
            _ if *hidden => out.push('*'),
            0x20..=0x7e => out.push(char::from(byte)),
            0x1c => out.push_str("<FS>"),
            0x1d => out.push_str("<GS>"),
            0x1e => out.push_str("<RS>"),
            0x0d => out.push_str("<CR>"),
            0x0a => out.push_str("<LF>"),
            // Nothing that is text: two digits packed in a byte, perhaps.
            0x80.. => out.push('*'),
            other => out.push_str(&format!("<{other:02X}>")),
        }
    }
    if length > shown.len() {
        out.push_str(&format!("… ({length} bytes)"));
    }
    out
}

/// Which bytes of a frame must not be shown.
fn hidden(bytes: &[u8]) -> Vec<bool> {
    let digit = |byte: &u8| matches!(byte, b'0'..=b'?' | b'A'..=b'F' | b'a'..=b'f');
    let mut hidden = vec![false; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        // A run: digits, with single blanks or dashes between them.
        while at < bytes.len()
            && (digit(&bytes[at])
                || (at > start && matches!(bytes[at], b' ' | b'-') && bytes.get(at + 1).is_some_and(digit)))
        {
            at += 1;
        }
        let run = &bytes[start..at];
        // Letters alone are words, not digits.
        let any = run.iter().any(u8::is_ascii_digit);
        if any && run.iter().filter(|byte| digit(byte)).count() > SHOWN {
            hidden[start..at].fill(true);
        }
        at = at.max(start + 1);
    }
    // A name on a track stands between two `^`, and has a `/`.
    let name = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'^' | b'.' | b' ');
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| matches!(byte, b'^' | b'/')) {
        let back = bytes[..at].iter().rev().take_while(|byte| name(byte)).take(MAX_NAME).count();
        let on = bytes[at..].iter().take_while(|byte| name(byte)).take(MAX_NAME).count();
        hidden[at - back..at + on].fill(true);
    }
    hidden
}
