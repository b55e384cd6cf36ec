//! Secrets in hexadecimal digits: PIN blocks, chip data.

use std::borrow::Cow;
use std::ops::Range;

use super::track::overwritten;
use super::{SHORTEST, steps};

/// Hexadecimal digits of a PIN block (ISO 9564-1: 8 bytes).
const PIN_BLOCK: usize = 16;
/// Fewest digits of a track with its number, separator, expiry and service code.
const TRACK: usize = 20;
/// How far in front of a secret a word may say what it is.
const SAID_BEFORE: usize = 24;

/// Who wrote a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// A program: small letters are names of sessions and the like, unless it says that they are a PIN.
    Program,
    /// A printer: nobody prints such names.
    Printer,
}

/// The text with its secrets hidden.
pub(super) fn hidden(text: &str, writer: Writer) -> Cow<'_, str> {
    if text.len() < PIN_BLOCK {
        return Cow::Borrowed(text);
    }
    let mut found = runs(text, u8::is_ascii_hexdigit);
    found.retain(|run| is_secret(text, run, writer));
    if writer == Writer::Printer {
        let ndc =
            runs(text, |byte| matches!(byte, b'0'..=b'?')).into_iter().filter(|run| is_ndc_block(&text[run.clone()]));
        found.extend(ndc);
        found.sort_unstable_by_key(|run| run.start);
        // Both kinds have decimal digits in common, so that one may lie in the other.
        let mut end = 0;
        found.retain_mut(|run| {
            run.start = run.start.max(end);
            end = end.max(run.end);
            run.start < run.end
        });
    }
    if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(overwritten(text, &found)) }
}

/// All runs of such bytes, ASCII alone, that are as long as a PIN block.
fn runs(text: &str, is: impl Fn(&u8) -> bool) -> Vec<Range<usize>> {
    steps::take(text.len());
    let mut found = Vec::new();
    let mut start = 0;
    for (at, byte) in text.bytes().chain([0]).enumerate() {
        if !is(&byte) {
            if at - start >= PIN_BLOCK {
                found.push(start..at);
            }
            start = at + 1;
        }
    }
    found
}

fn is_secret(text: &str, run: &Range<usize>, writer: Writer) -> bool {
    let digits = &text.as_bytes()[run.clone()];
    steps::take(digits.len());
    let letters = digits.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    if letters == 0 || letters == digits.len() {
        return false;
    }
    // A card number with its track: the mask shows the number as far as it may.
    let first = digits.iter().position(u8::is_ascii_alphabetic).unwrap_or_default();
    let padding = usize::from(digits.len() > first + 1 && matches!(digits.last(), Some(b'F' | b'f')));
    if digits.len() >= TRACK && first >= SHORTEST && letters == 1 + padding && matches!(digits[first], b'D' | b'd') {
        return false;
    }
    let capitals = !digits.iter().any(u8::is_ascii_lowercase);
    capitals
        || writer == Writer::Printer
        || says_pin(&text.as_bytes()[run.start.saturating_sub(SAID_BEFORE)..run.start])
}

fn says_pin(before: &[u8]) -> bool {
    before.windows(3).any(|word| word.eq_ignore_ascii_case(b"pin"))
}

/// A PIN block as NDC writes it. What has no other sign than `=` is a sum.
fn is_ndc_block(run: &str) -> bool {
    steps::take(run.len());
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    run.len() == PIN_BLOCK && digits > 0 && run.bytes().any(|byte| matches!(byte, b':' | b';' | b'<' | b'>' | b'?'))
}
