//! Card data in, masked out. Whatever text leaves a codec has passed through here.
//!
//! PCI DSS 3.4.1 allows at most the first six and the last four digits of a card number to be shown.

use std::borrow::Cow;

/// Digits of a card number that may be shown in front, and behind.
const SHOWN_FRONT: usize = 6;
const SHOWN_BACK: usize = 4;
/// Shortest and longest card number (ISO/IEC 7812-1: up to 19 digits; issued ones have 12 at least).
const PAN_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;

/// A card number with only its first six and last four digits left: `412345******1234`.
///
/// A number too short to hide anything behind those ten keeps its last four digits alone.
pub fn pan(digits: &str) -> String {
    let digits: Vec<char> = digits.chars().collect();
    let front = if digits.len() > SHOWN_FRONT + SHOWN_BACK { SHOWN_FRONT } else { 0 };
    let back = digits.len().saturating_sub(SHOWN_BACK);
    digits.iter().enumerate().map(|(at, digit)| if at < front || at >= back { *digit } else { '*' }).collect()
}

/// Text with every run of digits that could be a card number masked, and nothing else changed.
///
/// A run of 12 to 19 digits is masked whether or not its check digit is right: test cards and typing errors are card
/// data too. Longer runs (counters, track data) are cut to their last four digits.
pub fn text(text: &str) -> Cow<'_, str> {
    let mut masked: Option<String> = None;
    let mut copied = 0;
    let mut rest = 0;
    let bytes = text.as_bytes();
    while rest < bytes.len() {
        let run = bytes[rest..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if run >= *PAN_DIGITS.start() {
            let out = masked.get_or_insert_with(|| String::with_capacity(text.len()));
            out.push_str(&text[copied..rest]);
            let digits = &text[rest..rest + run];
            if PAN_DIGITS.contains(&run) {
                out.push_str(&pan(digits));
            } else {
                out.push_str(&"*".repeat(run - SHOWN_BACK));
                out.push_str(&digits[run - SHOWN_BACK..]);
            }
            copied = rest + run;
        }
        rest += run.max(1);
    }
    match masked {
        Some(mut out) => {
            out.push_str(&text[copied..]);
            Cow::Owned(out)
        }
        None => Cow::Borrowed(text),
    }
}

/// Text that people or foreign programs wrote, with card numbers masked also where their digits stand in groups
/// (`4123 4567 8901 1234`, `4123-4567-8901-1234`), and what a magnetic stripe has behind the number left out.
///
/// The digits of a group keep their places, so that the text has as many characters as before.
pub fn free_text(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < bytes.len() {
        let (end, digits) = grouped(&bytes[at..]);
        if digits >= *PAN_DIGITS.start() {
            let out = out.get_or_insert_with(|| bytes.to_vec());
            let front = if PAN_DIGITS.contains(&digits) { SHOWN_FRONT } else { 0 };
            let numbers = out[at..at + end].iter_mut().filter(|byte| byte.is_ascii_digit());
            for (_, byte) in numbers.enumerate().filter(|(nth, _)| *nth >= front && nth + SHOWN_BACK < digits) {
                *byte = b'*';
            }
            at += end;
            // Track 2: the separator, then expiry, service code and the bank's own data.
            if bytes.get(at) == Some(&b'=') {
                at += 1;
                while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                    out[at] = b'*';
                    at += 1;
                }
            }
        } else {
            at += end.max(1);
        }
    }
    match out.map(String::from_utf8) {
        // Only digits were replaced, by a character of the same length.
        Some(Ok(masked)) => Cow::Owned(masked),
        Some(Err(_)) => Cow::Owned(String::new()),
        None => Cow::Borrowed(text),
    }
}

/// The length of the run of digits in front, single spaces and hyphens between them included, and how many digits it has.
fn grouped(bytes: &[u8]) -> (usize, usize) {
    let (mut end, mut digits) = (0, 0);
    loop {
        let run = bytes[end..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if run == 0 {
            // The separator before belongs to nobody.
            return (end.saturating_sub(usize::from(end > 0)), digits);
        }
        (end, digits) = (end + run, digits + run);
        match bytes.get(end) {
            Some(b' ' | b'-') => end += 1,
            _ => return (end, digits),
        }
    }
}

/// Bytes as printable text for a `protocol.error`: control bytes named, at most `limit` bytes, digits that could be card
/// data hidden. Runs shorter than a card number are hidden too, from seven digits on: nobody knows what they are.
/// `:;<=>?` count as digits: NDC writes a PIN block with them for A to F.
pub fn bytes(bytes: &[u8], limit: usize) -> String {
    let mut out = String::new();
    let mut run = 0_usize;
    for &byte in bytes.iter().take(limit) {
        run = if matches!(byte, b'0'..=b'?') { run + 1 } else { 0 };
        match byte {
            b'0'..=b'?' if run > SHOWN_FRONT => out.push('*'),
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
        assert_eq!(text("4123456789011234=29121010000000000000"), "412345******1234=****************0000");
        assert!(matches!(text("no digits: ünïcode"), Cow::Borrowed(_)));
    }

    #[test]
    fn digits_in_groups_are_masked_in_their_places() {
        for (said, masked) in [
            ("Card 4123-4567-8901-1234, ATM 7", "Card 4123-45**-****-1234, ATM 7"),
            ("4123 4567 8901 1234 ", "4123 45** **** 1234 "),
            ("4123456789011234", "412345******1234"),
            (";4123456789011234=2912101123?", ";412345******1234=**********?"),
            ("12345678901234567890123", "*******************0123"),
            ("ü4123456789011234ü", "ü412345******1234ü"),
        ] {
            assert_eq!(free_text(said), masked);
        }
        for plain in
            ["2024-03-05T10:15:00Z", "2024-03-05 10", "192.168.100.100", "XXXX-XXXX-XXXX-1234", "1-", "12 ", ""]
        {
            assert!(matches!(free_text(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
    }

    #[test]
    fn unknown_bytes_show_no_card_number() {
        assert_eq!(bytes(b"11\x1c;4123456789011234=29\x00", 64), "11<FS>;41234**************<00>");
        assert_eq!(bytes(b">55523;?>>2:398?", 64), ">55523**********");
        assert_eq!(bytes(b"abcdef", 3), "abc… (6 bytes)");
    }
}
