//! Card data in, masked out. Whatever text leaves a codec has passed through here.
//!
//! PCI DSS 3.4.1 allows at most the first six and the last four digits of a card number to be shown.

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};

/// Digits of a card number that may be shown in front, and behind.
const SHOWN_FRONT: usize = 6;
const SHOWN_BACK: usize = 4;
/// Shortest and longest card number (ISO/IEC 7812-1: up to 19 digits; issued ones have 12 at least).
const PAN_DIGITS: RangeInclusive<usize> = 12..=19;
/// Digits after a card number, from which on they are taken for the rest of a track: expiry (4) and service code (3).
const TRACK_DIGITS: usize = 7;
/// Longest cardholder name on a track (ISO/IEC 7813).
const MAX_NAME: usize = 26;

/// A card number with only its first six and last four digits left: `412345******1234`.
///
/// A number too short to hide anything behind those ten keeps its last four digits alone.
pub fn pan(digits: &str) -> String {
    let digits: Vec<char> = digits.chars().collect();
    let front = if digits.len() > SHOWN_FRONT + SHOWN_BACK { SHOWN_FRONT } else { 0 };
    let back = digits.len().saturating_sub(SHOWN_BACK);
    digits.iter().enumerate().map(|(at, digit)| if at < front || at >= back { *digit } else { '*' }).collect()
}

/// Text with every card number and all track data in it masked, and nothing else changed.
///
/// - A run of 12 to 19 digits is masked whether or not its check digit is right: test cards and typing errors are card
///   data too. Longer runs (counters, track data) are cut to their last four digits.
/// - So is a number in the groups that cards are printed in (`4123 4567 8901 1234`, `4123-456789-01234`).
/// - What follows a number as on a magnetic track (`=` or `D` and digits; `^NAME^` and digits) is hidden wholly.
pub fn text(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut masked: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < bytes.len() {
        let run = digits(&bytes[at..]);
        let (length, shown) = if run >= *PAN_DIGITS.start() {
            (run, if PAN_DIGITS.contains(&run) { SHOWN_FRONT } else { 0 })
        } else if let Some(length) = grouped(&bytes[at..]).filter(|_| !after_digit(bytes, at)) {
            (length, SHOWN_FRONT)
        } else {
            let track = track_data(bytes, at);
            if track > 0 {
                hide(masked.get_or_insert_with(|| bytes.to_vec()), at + 1..at + track, 0, 0);
            }
            at += run.max(track).max(1);
            continue;
        };
        hide(masked.get_or_insert_with(|| bytes.to_vec()), at..at + length, shown, SHOWN_BACK);
        at += length;
    }
    // Only ASCII was overwritten, by ASCII: it is text as before.
    match masked {
        Some(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        None => Cow::Borrowed(text),
    }
}

/// How many digits stand in front.
fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn after_digit(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_digit())
}

/// The length of a number in the groups of a printed card: four digits first, then groups of four to six, and a last one
/// of up to seven, with the same blank or dash between them.
fn grouped(bytes: &[u8]) -> Option<usize> {
    let separator = *bytes.get(4).filter(|byte| matches!(byte, b' ' | b'-'))?;
    let (mut at, mut count, mut groups) = (0, 0, 0);
    loop {
        let group = digits(&bytes[at..]);
        if group == 0 || group > 7 || (groups == 0 && group != 4) {
            return None;
        }
        (at, count, groups) = (at + group, count + group, groups + 1);
        let more = bytes.get(at) == Some(&separator) && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !more || count >= *PAN_DIGITS.end() {
            break;
        }
        if !(4..=6).contains(&group) {
            return None;
        }
        at += 1;
    }
    (groups >= 3 && (13..=19).contains(&count)).then_some(at)
}

/// The length of what follows a card number on a magnetic track, its separator counted, where it begins here; 0 where none
/// does.
fn track_data(bytes: &[u8], at: usize) -> usize {
    let number = bytes[..at].iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b'*').count();
    if number < *PAN_DIGITS.start() {
        return 0;
    }
    let rest = &bytes[at + 1..];
    match bytes[at] {
        b'=' | b'D' => {
            let data = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'=')).count();
            if data >= TRACK_DIGITS { 1 + data } else { 0 }
        }
        b'^' => {
            let Some(name) = rest.iter().take(MAX_NAME + 1).position(|byte| *byte == b'^') else { return 0 };
            let letters = rest[..name].iter().any(u8::is_ascii_alphabetic);
            if letters { 2 + name + digits(&rest[name + 1..]) } else { 0 }
        }
        _ => 0,
    }
}

/// Overwrites the digits of a range but for the first and last so many; with none to show, every byte of it.
fn hide(text: &mut [u8], range: Range<usize>, front: usize, back: usize) {
    let count = text[range.clone()].iter().filter(|byte| byte.is_ascii_digit()).count();
    let all = front == 0 && back == 0;
    let mut seen = 0;
    for byte in &mut text[range] {
        if !byte.is_ascii_digit() {
            if all {
                *byte = b'*';
            }
            continue;
        }
        if seen >= front && seen + back < count {
            *byte = b'*';
        }
        seen += 1;
    }
}

/// Bytes as printable text for a `protocol.error`: control bytes named, at most `limit` bytes, all that could be card
/// data hidden. Nobody knows what these bytes are, so much is hidden that is none: all of a run of more than six
/// hexadecimal digits but for six decimal ones in front (blanks and dashes between digits count as nothing), and names as
/// tracks write them. `:;<=>?` count as digits: NDC writes a PIN block with them for A to F.
pub fn bytes(bytes: &[u8], limit: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit)];
    let hidden = hidden(shown);
    let mut out = String::new();
    for (&byte, hidden) in shown.iter().zip(hidden) {
        match byte {
            _ if hidden => out.push('*'),
            0x20..=0x7e => out.push(char::from(byte)),
            0x1c => out.push_str("<FS>"),
            0x1d => out.push_str("<GS>"),
            0x1e => out.push_str("<RS>"),
            0x0d => out.push_str("<CR>"),
            0x0a => out.push_str("<LF>"),
            other => out.push_str(&format!("<{other:02X}>")),
        }
    }
    if bytes.len() > limit {
        out.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    out
}

/// Which bytes of a frame that nobody understands must not be shown.
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
        if run.iter().any(|byte| matches!(byte, b'0'..=b'?')) {
            let count = run.iter().filter(|byte| digit(byte)).count();
            let front = if run.iter().any(u8::is_ascii_alphabetic) { 0 } else { SHOWN_FRONT };
            if count > SHOWN_FRONT {
                let shown = run.iter().scan(0, |seen, byte| {
                    *seen += usize::from(digit(byte));
                    Some(*seen <= front)
                });
                hidden[start..at].iter_mut().zip(shown).for_each(|(hidden, shown)| *hidden = !shown);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_keeps_six_and_four() {
        assert_eq!(pan("4123456789011234"), "412345******1234");
        assert_eq!(pan("1234567890"), "******7890");
        assert_eq!(pan("12"), "12");
    }

    #[test]
    fn text_keeps_all_but_card_numbers() {
        assert_eq!(text("PAN 4123456789011234 AT 12:00"), "PAN 412345******1234 AT 12:00");
        assert_eq!(text("TRAN NO 000312"), "TRAN NO 000312");
        assert_eq!(text("counters 00001000020000300004"), "counters ****************0004");
        assert!(matches!(text("no digits: ünïcode"), Cow::Borrowed(_)));
    }

    #[test]
    fn numbers_in_the_groups_of_a_printed_card_are_masked() {
        assert_eq!(text("PAN 4123 4567 8901 1234."), "PAN 4123 45** **** 1234.");
        assert_eq!(text("4123-4567-8901-1234"), "4123-45**-****-1234");
        assert_eq!(text("3782 822463 10005"), "3782 82**** *0005");
        for kept in ["2026-11-20 21:42:05", "01980 00000 00020 00040", "1234 5678", "1 2 3 4 5 6 7 8 9 10 11 12 13"] {
            assert_eq!(text(kept), kept);
        }
    }

    #[test]
    fn what_follows_a_number_on_a_track_is_hidden() {
        assert_eq!(text(";4123456789011234=29121010000000000000?"), ";412345******1234=********************?");
        assert_eq!(text("412345******1234D29121011234"), "412345******1234D***********");
        assert_eq!(text("%B412345******1234^DOE/JOHN^29121011234?"), "%B412345******1234^********************?");
        for kept in [
            "TYPE 1 = 0000100",
            "0054^ TA^    0002^2024^11^05^00^12^41^CS00000^CW^2000^2000^X",
            "************^03072025^140755^",
            "A=1234567",
        ] {
            assert_eq!(text(kept), kept);
        }
    }

    #[test]
    fn unknown_bytes_show_no_card_number() {
        assert_eq!(bytes(b"11\x1c;4123456789011234=29\x00", 64), "11<FS>;41234**************<00>");
        assert_eq!(bytes(b"\x1cA1B2C3D4E5F60718\x1c", 64), "<FS>****************<FS>");
        assert_eq!(bytes(b"4123 4567 8901 1234", 64), "4123 45************");
        assert_eq!(bytes(b"1%B4123456789011234^DOE/JOHN^2912", 64), "1%***************************2912");
        assert_eq!(bytes(b"{\"kind\":\"supply.lowish\"}", 64), "{\"kind\":\"supply.lowish\"}");
        assert_eq!(bytes(b">55523;?>>2:398?", 64), ">55523**********");
        assert_eq!(bytes(b"abcdef", 3), "abc… (6 bytes)");
    }
}
