//! Transaction request (terminal, class 11): a customer wants something of the host.
//!
//! Tracks, PIN block and the buffers that customers type into are read past and dropped: what stays is that they were
//! there, and of the card the masked number.

mod buffers;

use serde::Serialize;

use super::digit;
use super::fields::{self, Columns};
use crate::mask;
use buffers::Buffers;

/// Shortest and longest card number.
const PAN_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;
/// The place of the first tagged buffer behind the LUNO.
const BUFFERS: usize = 10;
/// Digits of an amount (8 is usual too), and characters of an operation code. Longer ones are another field out of place.
const AMOUNT_DIGITS: usize = 12;
const OPCODE: usize = 8;

/// A transaction request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Always `11`.
    pub class: &'static str,
    /// Always `transaction_request`.
    pub kind: &'static str,
    /// Logical unit number.
    pub luno: String,
    /// Time variant number; empty where security is off.
    pub time_variant: String,
    /// 1: what is printed goes to the top of a receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_of_receipt: Option<char>,
    /// Coordination number: the reply to this request has the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordination: Option<char>,
    /// Whether track 2 was there.
    pub has_track2: bool,
    /// The card number on it, masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pan_masked: Option<String>,
    /// Whether track 3 was there.
    pub has_track3: bool,
    /// Operation code: the keys that led here, eight characters.
    pub opcode: String,
    /// The amount in minor units; what currency they are of is agreed elsewhere.
    pub amount_minor: Option<i64>,
    /// Whether a PIN block was there.
    pub has_pin_block: bool,
    /// Whether general purpose buffer B had content.
    pub buffer_b_present: bool,
    /// Whether general purpose buffer C had content.
    pub buffer_c_present: bool,
    /// The tagged buffers.
    #[serde(flatten)]
    pub buffers: Buffers,
    /// Message authentication code; there is no key here to check it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// Decodes the fields behind the LUNO. All but the first may be missing: requests that only go on with an EMV dialogue
/// are short.
pub(super) fn decode(luno: String, fields: &[&str]) -> Result<Request, String> {
    let field = |index: usize| fields::at(fields, index);
    let time_variant = field(1);
    let mut flags = Columns(field(2));
    if flags.0.is_empty() && fields.len() <= 3 {
        return Err("no coordination number".to_owned());
    }
    let (mac, fields) =
        if digit::is_security_number(time_variant) { fields::mac(fields, BUFFERS) } else { (None, fields) };
    Ok(Request {
        class: "11",
        kind: "transaction_request",
        luno,
        time_variant: fields::sequence(time_variant),
        top_of_receipt: flags.char(),
        coordination: flags.char(),
        has_track2: !field(3).is_empty(),
        pan_masked: pan(field(3)),
        has_track3: !field(4).is_empty(),
        opcode: Some(field(5)).filter(|opcode| opcode.len() <= OPCODE).unwrap_or_default().to_owned(),
        amount_minor: amount(field(6)),
        has_pin_block: !field(7).is_empty(),
        buffer_b_present: !field(8).is_empty(),
        buffer_c_present: !field(9).is_empty(),
        buffers: buffers::decode(fields.get(BUFFERS..).unwrap_or_default()),
        mac,
    })
}

/// The masked card number of track 2: between the start sentinel and the separator.
fn pan(track2: &str) -> Option<String> {
    let track2 = track2.strip_prefix(';').unwrap_or(track2);
    let digits = track2.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = track2.split_at(digits);
    let ends = rest.is_empty() || rest.starts_with(['=', 'D', '?', '>']);
    (ends && PAN_DIGITS.contains(&digits.len())).then(|| mask::pan(digits))
}

fn amount(field: &str) -> Option<i64> {
    let digits = !field.is_empty() && field.len() <= AMOUNT_DIGITS && field.bytes().all(|byte| byte.is_ascii_digit());
    if digits { field.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(fields: &[&str]) -> serde_json::Value {
        serde_json::to_value(decode("000".to_owned(), fields).expect("a message")).expect("serialises")
    }

    #[test]
    fn a_short_request_goes_on_with_a_dialogue() {
        assert_eq!(
            json(&["", "", "14", "", "", "", "", "", "C", ""]),
            serde_json::json!({
                "class": "11", "kind": "transaction_request", "luno": "000", "time_variant": "", "top_of_receipt": "1",
                "coordination": "4", "has_track2": false, "has_track3": false, "opcode": "", "amount_minor": null,
                "has_pin_block": false, "buffer_b_present": true, "buffer_c_present": false
            })
        );
        assert_eq!(json(&["", "", "1?"])["coordination"], "?");
        assert!(decode(String::new(), &["", "", ""]).is_err());
        assert!(decode(String::new(), &["", ""]).is_err());
    }

    #[test]
    fn the_card_dies_here() {
        let fields = [
            "",
            "01A2E166",
            "15",
            ";4123456789011234=29121010000012345678?",
            ";014123456789011234==1?",
            "I   A DC",
            "00012345",
            "<0494<076329<849",
            "4123456789",
            "11400420000001904",
            "1%B4123456789011234^EXAMPLE^2912?",
            "U0123456789ABCDEF",
            "V1",
            "e4123456789011234",
            "B3B9AA54",
        ];
        let shown = json(&fields);
        assert_eq!(shown["pan_masked"], "412345******1234");
        assert_eq!((&shown["amount_minor"], &shown["mac"]), (&12_345.into(), &"B3B9AA54".into()));
        assert_eq!(shown["buffer_lengths"], serde_json::json!({"U": 16, "V": 1, "e": 16}));
        assert_eq!((&shown["has_track1"], &shown["has_track3"]), (&true.into(), &true.into()));
        let text = shown.to_string();
        for secret in ["2912", "EXAMPLE", "0494", "4123456789", "1904", "0123456789ABCDEF"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }

    #[test]
    fn a_mac_is_told_from_an_amount() {
        let shown = json(&["", "01A2E166", "15", "", "", "A", "00050000"]);
        assert_eq!((&shown["amount_minor"], shown.get("mac")), (&50_000.into(), None));
        assert_eq!(json(&["", "", "15", "", "", "", "9x"])["amount_minor"], serde_json::Value::Null);
        assert_eq!(json(&["", "", "15", "", "", "", "9999999999999999"])["amount_minor"], serde_json::Value::Null);
        assert_eq!(json(&["", "", "15", "", "", ";4123456789011234=2912", ""])["opcode"], "");
    }

    #[test]
    fn card_numbers_of_track_2() {
        for (track2, masked) in [
            (";4123456789011234=2912?", Some("412345******1234")),
            ("4123456789011234D2912", Some("412345******1234")),
            (";XXXXXXXXXXXXXXXX=XXXX?", None),
            (";412345678X", None),
            (";41234567890112345678901234=1", None),
            ("", None),
        ] {
            assert_eq!(pan(track2).as_deref(), masked, "{track2}");
        }
    }
}
