//! Transaction reply (host, class 4): what the terminal is to do now.
//!
//! Screens show balances and receipts print names: neither is kept, only that they were there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fields::{self, Columns};
use super::{GS, digit, emv, shown};
use crate::mask;

/// The tag of the response code in EMV data (ISO 8583 field 39 of the issuer).
const RESPONSE_CODE: u32 = 0x8a;

/// A transaction reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// `4`, with the response flag where there is one.
    pub class: String,
    /// Always `transaction_reply`.
    pub kind: &'static str,
    /// Logical unit number; hosts may leave it empty.
    pub luno: String,
    /// Message sequence or time variant number; empty where none is used.
    pub sequence: String,
    /// The state that the terminal goes on with.
    pub next_state: String,
    /// Notes to dispense, two digits for each cassette type; empty where there are none.
    pub notes_to_dispense: String,
    /// The same as numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes_requested: Option<Vec<u32>>,
    /// Transaction serial number.
    pub tsn: String,
    /// What the terminal is to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_id: Option<char>,
    /// The screen to show; empty where none is named.
    pub screen: String,
    /// Whether the screen is changed.
    pub has_screen_update: bool,
    /// Coordination number of the request that is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coordination: Option<char>,
    /// 0 return the card, 1 keep it, 4 return it while the transaction goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_flag: Option<char>,
    /// Where is printed: 0 nowhere, 1 journal, 2 receipt, 3 both, 8 statement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub printer_flags: Vec<char>,
    /// The issuer's response code in the EMV data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_code: Option<String>,
    /// Lengths of the other buffers by their tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub buffer_lengths: BTreeMap<char, usize>,
    /// Message authentication code; there is no key here to check it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// Decodes the fields behind the LUNO.
pub(super) fn decode(class: &str, luno: String, fields: &[&str]) -> Result<Reply, String> {
    let sequence = fields::at(fields, 0);
    let (mac, fields) = if digit::is_security_number(sequence) { fields::mac(fields, 4) } else { (None, fields) };
    let notes = fields::at(fields, 2);
    let mut function = Columns(fields::at(fields, 3));
    let mut card = Columns(fields::at(fields, 4));
    if fields.len() < 2 || (fields::at(fields, 1).is_empty() && function.0.is_empty()) {
        return Err("neither a next state nor a function".to_owned());
    }
    let mut reply = Reply {
        class: class.to_owned(),
        kind: "transaction_reply",
        luno,
        sequence: fields::sequence(sequence),
        next_state: shown(fields::at(fields, 1)),
        // Counts of notes, two or four digits each.
        notes_to_dispense: mask::number(notes).into_owned(),
        notes_requested: digit::numbers(notes, 2),
        tsn: function.take(4).to_owned(),
        function_id: function.char(),
        screen: function.take(3).to_owned(),
        has_screen_update: !function.0.is_empty(),
        coordination: card.char(),
        card_flag: card.char(),
        printer_flags: card.0.split(GS).filter_map(|print| print.chars().next()).collect(),
        response_code: None,
        buffer_lengths: BTreeMap::new(),
        mac,
    };
    for buffer in fields.get(5..).unwrap_or_default() {
        match (buffer.strip_prefix("5CAM"), buffer.chars().next()) {
            (Some(tags), _) => {
                reply.response_code = emv::tags(tags).and_then(|tags| code(tags.get(&RESPONSE_CODE)?));
            }
            (None, Some(tag)) => {
                *reply.buffer_lengths.entry(tag).or_default() += buffer.chars().count() - 1;
            }
            (None, None) => {}
        }
    }
    Ok(reply)
}

/// Two characters, as ISO 8583 has them in field 39.
fn code(value: &[u8]) -> Option<String> {
    let code = value.iter().copied().map(char::from).collect::<String>();
    (value.len() == 2 && value.iter().all(u8::is_ascii_alphanumeric)).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(fields: &[&str]) -> serde_json::Value {
        serde_json::to_value(decode("4", "000".to_owned(), fields).expect("a message")).expect("serialises")
    }

    #[test]
    fn a_full_reply() {
        let update = "8636A111150\x0cACCOUNT 4123456789011234";
        let print = "701 CARD 4123456789011234\x1d2MR EXAMPLE\x1d3";
        let reply = json(&[
            "01A2E166",
            "152",
            "0504",
            update,
            print,
            "5CAM910A5F91BC42284BD48D30308A023035",
            "Zabc",
            "1F68644D",
        ]);
        assert_eq!(
            reply,
            serde_json::json!({
                "class": "4", "kind": "transaction_reply", "luno": "000", "sequence": "01A2E166", "next_state": "152",
                "notes_to_dispense": "0504", "notes_requested": [5, 4], "tsn": "8636", "function_id": "A", "screen": "111",
                "has_screen_update": true, "coordination": "7", "card_flag": "0", "printer_flags": ["1", "2", "3"],
                "response_code": "05", "buffer_lengths": {"Z": 3}, "mac": "1F68644D"
            })
        );
    }

    #[test]
    fn fields_may_be_missing() {
        let reply = json(&["", "133"]);
        assert_eq!((&reply["next_state"], &reply["tsn"], reply.get("card_flag")), (&"133".into(), &"".into(), None));
        assert_eq!(json(&["", "", "", "07759"])["function_id"], "9");
        assert!(decode("4", String::new(), &["", "", "0102"]).is_err());
        assert!(decode("4", String::new(), &[""]).is_err());
    }
}
