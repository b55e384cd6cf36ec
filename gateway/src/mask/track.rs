//! What follows a card number on a magnetic track.

use std::borrow::Cow;
use std::ops::Range;

use super::{SHORTEST, steps};

/// Digits after a card number, from which on they are taken for the rest of a track: expiry (4) and service code (3).
const TRACK_DIGITS: usize = 7;
/// Longest cardholder name on a track (ISO/IEC 7813).
const MAX_NAME: usize = 26;

/// The text with the rest of every track hidden. `numbers` are the places where a masked number ends.
pub(super) fn hidden<'a>(text: Cow<'a, str>, numbers: &[usize]) -> Cow<'a, str> {
    steps::take(text.len());
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let mut numbers = numbers.iter().copied().peekable();
    // Digits and asterisks directly in front; a number in groups counts as one.
    let mut number = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        while numbers.next_if(|end| *end < at).is_some() {}
        if numbers.peek() == Some(&at) {
            number = SHORTEST;
        }
        if byte.is_ascii_digit() || *byte == b'*' {
            (number, at) = (number + 1, at + 1);
            continue;
        }
        let data = if number >= SHORTEST { track_data(*byte, &bytes[at + 1..]) } else { 0 };
        if data > 0 {
            found.push(at + 1..at + data);
        }
        (number, at) = (0, at + data.max(1));
    }
    if found.is_empty() { text } else { Cow::Owned(overwritten(&text, &found)) }
}

/// The length of a track's data with its separator, where it is such; 0 where not.
fn track_data(separator: u8, rest: &[u8]) -> usize {
    match separator {
        b'=' | b'D' | b'd' => {
            // Digits behind the number may be masked already.
            let data = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'=' | b'*')).count();
            // What is too short is looked at again: no more than a few bytes.
            steps::take(data);
            if data >= TRACK_DIGITS { 1 + data } else { 0 }
        }
        b'^' => {
            let Some(name) = rest.iter().take(MAX_NAME + 1).position(|byte| *byte == b'^') else { return 0 };
            let letters = rest[..name].iter().any(u8::is_ascii_alphabetic);
            let digits = rest[name + 1..].iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'*'));
            if letters { 2 + name + digits.count() } else { 0 }
        }
        _ => 0,
    }
}

/// The text with an asterisk for every character of these ranges, which do not overlap and are in order.
pub(super) fn overwritten(text: &str, ranges: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for range in ranges {
        out.push_str(&text[copied..range.start]);
        out.extend(text[range.clone()].chars().map(|_| '*'));
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    out
}
