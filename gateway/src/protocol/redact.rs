//! Frames without their card data, byte for byte as long as before: for captures that people keep and pass on.
//!
//! What a codec drops on decoding it can drop only because it knows where it stands; a capture needs the frame itself. So
//! what is secret is overwritten in its place and nothing is moved: lengths, separators and the other fields stay, and
//! the frame decodes as it did. Digits are replaced by `0`, not by `*`, so that numbers stay numbers.
//!
//! - Runs of 12 digits and more, in groups or not, keep their first six and last four. An NDC status has no field for a card
//!   number and many long fields of digits that each mean a device: there only runs are overwritten that look like a
//!   number somebody was issued (13 to 19 digits, 2 to 6 in front, the check digit right).
//! - Behind such a number, what a magnetic stripe has (`=…?`, `D…?`, `^NAME^…?`) is overwritten up to its end.
//! - Of an NDC transaction request, everything behind the amount (PIN block, keyed buffers, chip data) is overwritten but
//!   the first character of each field, which says what the field is.
//!
//! - Of ISO 8583 the spec knows which field is what: it is read, overwritten and written again by the same table. A message
//!   that no spec explains has no rule.
//! - Of a Triton frame, fields that can be a PIN block are overwritten too, and the check character is made anew.

pub(super) mod digits;

use super::{Protocol, iso8583, triton};
use crate::profile::Profile;
use digits::{SHORTEST, any, issued, numbers, overwrite, run};

/// The field separator of NDC, and the number of the fields in a transaction request that are looked at.
const FS: u8 = 0x1c;
/// Number and time of a journal's block (18), first and last position (6 each) and length (3).
const BLOCK_HEADER: usize = 33;
/// The field behind which all is overwritten: class, LUNO, (empty), time variant, coordination, tracks 2 and 3, operation
/// code, amount.
const AMOUNT: usize = 8;

/// The frame without card data; `None` where nothing is known of how to hide it.
pub fn redact(profile: &Profile, frame: &[u8]) -> Option<Vec<u8>> {
    let mut frame = frame.to_vec();
    match profile.protocol {
        Protocol::Ndc => {
            // Some lines have a header of their own before the class.
            let first = frame.split(|byte| *byte == FS).next().unwrap_or_default();
            let is = |class: &[u8]| first.ends_with(class);
            let (status, asks) = (is(b"12") || is(b"22"), is(b"11"));
            // What numbers a block of a journal stands in front of its text.
            let from = if is(b"61") { block_text(&frame) } else { 0 };
            numbers(frame.get_mut(from..).unwrap_or_default(), if status { issued } else { any });
            if asks {
                request(&mut frame);
            }
        }
        Protocol::Journal | Protocol::Jsonl | Protocol::Upload | Protocol::Xfs4iot => numbers(&mut frame, any),
        Protocol::Iso8583 => return iso8583::redacted(&frame, &profile.iso8583),
        Protocol::Triton => triton::redact(&mut frame),
    }
    Some(frame)
}

/// Where the text of a journal's block begins: behind four separators, number, time, positions and length.
fn block_text(frame: &[u8]) -> usize {
    let separators = frame.iter().enumerate().filter(|(_, byte)| **byte == FS);
    separators.map(|(at, _)| at + 1 + BLOCK_HEADER).nth(3).unwrap_or(0)
}

/// Overwrites what an NDC transaction request has behind its amount, and the tracks that had no number to be found by.
fn request(frame: &mut [u8]) {
    for (nth, field) in frame.split_mut(|byte| *byte == FS).enumerate() {
        let secret = match nth {
            // A stripe that could not be read well may hold a part of a number.
            5 | 6 if !has_number(field) => field,
            nth if nth == AMOUNT + 1 => field,
            nth if nth > AMOUNT + 1 => field.get_mut(1..).unwrap_or_default(),
            _ => continue,
        };
        secret.iter_mut().for_each(overwrite);
    }
}

fn has_number(field: &[u8]) -> bool {
    (0..field.len()).any(|at| run(&field[at..]).1 >= SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(protocol: Protocol) -> Profile {
        Profile::builtin(protocol.usual_profile()).expect("built in")
    }

    fn redacted(protocol: Protocol, frame: &str) -> String {
        let redacted = redact(&profile(protocol), frame.as_bytes()).expect("has a rule");
        String::from_utf8(redacted).expect("text stays text")
    }

    #[test]
    fn secrets_are_overwritten_in_their_places() {
        for (protocol, frame, expected) in [
            (Protocol::Journal, "PAN 4123456789011234 AT 12:00", "PAN 4123450000001234 AT 12:00"),
            (Protocol::Journal, "4123 4567 8901 1234", "4123 4500 0000 1234"),
            (Protocol::Journal, ";4123456789011234=29121010000123?", ";4123450000001234=00000000000000?"),
            (Protocol::Journal, "%B4123456789011234^DOE/JANE^2912101?", "%B4123450000001234^AAA/AAAA^0000000?"),
            (Protocol::Jsonl, r#"{"card":4123456789011234}"#, r#"{"card":4123450000001234}"#),
            (Protocol::Upload, r#"a<>24{"x":"4123-4567-8901-1234"}"#, r#"a<>24{"x":"4123-4500-0000-1234"}"#),
            (
                Protocol::Ndc,
                "61\u{1c}\u{1c}\u{1c}\u{1c}000001181001142259000001000020019PAN 4123456789011234",
                "61\u{1c}\u{1c}\u{1c}\u{1c}000001181001142259000001000020019PAN 4123450000001234",
            ),
            (Protocol::Ndc, "12\u{1c}001000001\u{1c}\u{1c}E0", "12\u{1c}001000001\u{1c}\u{1c}E0"),
            (Protocol::Ndc, "22\u{1c}0\u{1c}F0000040000000000", "22\u{1c}0\u{1c}F0000040000000000"),
            (Protocol::Ndc, "22\u{1c}0\u{1c}F4111111111111111", "22\u{1c}0\u{1c}F4111110000001111"),
        ] {
            assert_eq!(redacted(protocol, frame), expected);
        }
    }

    #[test]
    fn a_transaction_request_keeps_what_says_what_was_asked() {
        let fields = [
            "11",
            "001000001",
            "",
            "01A2E166",
            "12",
            ";4123456789011234=29121011234?",
            "",
            "AAC     ",
            "00012000",
            ">55523;?>>2:398?",
            "B1234",
            "C9876",
            "5CAM9F2701805A084123456789011234",
            "8857D63E9",
        ];
        let frame = fields.join("\u{1c}");
        let shown = redacted(Protocol::Ndc, &frame);
        assert_eq!(shown.len(), frame.len());
        let shown: Vec<&str> = shown.split('\u{1c}').collect();
        assert_eq!(shown[..5], fields[..5]);
        assert_eq!(shown[5], ";4123450000001234=00000000000?");
        assert_eq!(shown[7..9], fields[7..9]);
        assert_eq!(shown[9], "0000000000000000");
        assert_eq!(shown[10..12], ["B0000", "C0000"]);
        assert!(shown[12].starts_with('5') && !shown[12].contains("4123"), "{}", shown[12]);
    }

    #[test]
    fn what_is_short_stays_and_the_length_never_changes() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..2_000 {
            let frame: Vec<u8> = (0..round % 97)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let alphabet = b"11\x1c0123456789=D^? -;AB\xff{";
                    alphabet[usize::try_from(random >> 40).expect("small") % alphabet.len()]
                })
                .collect();
            for protocol in [Protocol::Ndc, Protocol::Journal] {
                let profile = profile(protocol);
                let once = redact(&profile, &frame).expect("has a rule");
                assert_eq!(once.len(), frame.len());
                assert_eq!(redact(&profile, &once).expect("has a rule"), once, "a second time changes nothing");
            }
        }
    }
}
