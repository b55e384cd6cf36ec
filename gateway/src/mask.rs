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
/// data too. Longer runs (counters) are cut to their last four digits, and what follows a card number behind `=` (the rest
/// of its track: expiry, service code, the issuer's own) goes whole.
///
/// Numbers printed in groups (`4123 4567 8901 0018`) are masked where their check digit is right: tables of counts look
/// the same.
pub fn text(text: &str) -> Cow<'_, str> {
    match groups(text) {
        Some(masked) => Cow::Owned(runs(&masked).into_owned()),
        None => runs(text),
    }
}

/// How card numbers are printed in groups, with one blank or hyphen between them.
const GROUPS: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];
/// Digits of the shortest of them.
const GROUPED_DIGITS: usize = 14;

/// Masks numbers that are printed in groups; nothing where there is none.
fn groups(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.iter().filter(|byte| byte.is_ascii_digit()).count() < GROUPED_DIGITS {
        return None;
    }
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    // Where runs of digits begin, and where they end.
    let starts = (0..bytes.len()).filter(|at| digit(*at) && (*at == 0 || !digit(at - 1)));
    let runs: Vec<(usize, usize)> =
        starts.map(|start| (start, (start..).find(|at| !digit(*at)).unwrap_or(bytes.len()))).collect();
    let fits = |runs: &[(usize, usize)], shape: &[usize]| {
        runs.iter().zip(shape).all(|((start, end), digits)| end - start == *digits)
            && runs.windows(2).all(|pair| pair[1].0 == pair[0].1 + 1 && matches!(bytes[pair[0].1], b' ' | b'-'))
    };
    let mut masked: Option<String> = None;
    let mut at = 0;
    while at < runs.len() {
        let card = GROUPS.iter().find_map(|shape| {
            let runs = runs.get(at..at + shape.len()).filter(|runs| fits(runs, shape))?;
            let digits: Vec<usize> = runs.iter().flat_map(|(start, end)| *start..*end).collect();
            check_digit_is_right(digits.iter().map(|at| bytes[*at] - b'0')).then_some((digits, shape.len()))
        });
        let Some((digits, groups)) = card else {
            at += 1;
            continue;
        };
        let masked = masked.get_or_insert_with(|| text.to_owned());
        for hidden in &digits[SHOWN_FRONT..digits.len() - SHOWN_BACK] {
            masked.replace_range(*hidden..hidden + 1, "*");
        }
        at += groups;
    }
    masked
}

/// The check of ISO/IEC 7812-1 (Luhn): every second digit from the right is doubled.
fn check_digit_is_right(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    let doubled = |(place, digit): (usize, u8)| match place % 2 {
        0 => u32::from(digit),
        _ => u32::from(digit * 2 / 10 + digit * 2 % 10),
    };
    digits.rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

fn runs(text: &str) -> Cow<'_, str> {
    let mut masked: Option<String> = None;
    let mut copied = 0;
    let mut rest = 0;
    let mut track_at = 0;
    let bytes = text.as_bytes();
    while rest < bytes.len() {
        let run = bytes[rest..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let track = run > 0 && rest > 1 && rest == track_at;
        if track || run >= *PAN_DIGITS.start() {
            let out = masked.get_or_insert_with(|| String::with_capacity(text.len()));
            out.push_str(&text[copied..rest]);
            let digits = &text[rest..rest + run];
            if track {
                out.push_str(&"*".repeat(run));
            } else if PAN_DIGITS.contains(&run) {
                out.push_str(&pan(digits));
            } else {
                out.push_str(&"*".repeat(run - SHOWN_BACK));
                out.push_str(&digits[run - SHOWN_BACK..]);
            }
            copied = rest + run;
            if bytes.get(copied) == Some(&b'=') {
                track_at = copied + 1;
            }
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
        assert_eq!(text("4123456789011234=29121010000000000000"), "412345******1234=********************");
        assert_eq!(text("4123456789011234=2912101 OK 2912"), "412345******1234=******* OK 2912");
        assert!(matches!(text("no digits: ünïcode"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_number_in_groups_is_a_card_number() {
        assert_eq!(text("CARD 4111 1111 1111 1111 OK"), "CARD 4111 11** **** 1111 OK");
        assert_eq!(text("17 4111-1111-1111-1111 17"), "17 4111-11**-****-1111 17");
        assert_eq!(text("3782 822463 10005"), "3782 82**** *0005");
        for table in ["1204 1077 0019 0014", "4111 1111 1111", "4111  1111 1111 1111", "4111 11111 1111 1111"] {
            assert!(matches!(text(table), Cow::Borrowed(_)), "{table}");
        }
    }

    #[test]
    fn unknown_bytes_show_no_card_number() {
        assert_eq!(bytes(b"11\x1c;4123456789011234=29\x00", 64), "11<FS>;41234**************<00>");
        assert_eq!(bytes(b">55523;?>>2:398?", 64), ">55523**********");
        assert_eq!(bytes(b"abcdef", 3), "abc… (6 bytes)");
    }
}
