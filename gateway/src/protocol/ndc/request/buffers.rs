//! The tagged buffers at the end of a transaction request; the first character of each says what it is.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::protocol::ndc::fields::Columns;
use crate::protocol::ndc::{emv, ungrouped};

/// Cassette types of a cash handler, and of one with seven; hoppers of a coin dispenser.
const CASSETTES: usize = 4;
const MORE_CASSETTES: usize = 7;
const HOPPERS: usize = 4;
/// Digits of a count.
const COUNT: usize = 5;
/// Digits of EMV flags.
const FLAGS: usize = 4;

/// What is kept of the tagged buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Buffers {
    /// Whether track 1 was there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_track1: bool,
    /// How the last transaction ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_txn: Option<LastTransaction>,
    /// Coins dispensed in the last transaction, by hopper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_txn_coins: Option<Vec<u32>>,
    /// Groups behind the last transaction, such as `CAM` and EMV data; without card data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub appended_group_data: Vec<String>,
    /// Flags of the EMV application, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cam_flags: Option<String>,
    /// Whether EMV data was there; absent where there was no EMV buffer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_emv: Option<bool>,
    /// EMV data by tag in hexadecimal, without that of the card. Empty where it could not be read: then all is dropped.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub emv: BTreeMap<String, String>,
    /// Lengths of the other buffers by their tags: they may hold PIN blocks, account numbers, anything.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub buffer_lengths: BTreeMap<char, usize>,
}

/// How a terminal's last transaction ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastTransaction {
    /// Its serial number.
    pub tsn: String,
    /// 0 no status was sent, 1 it ended well, 2 error, 3 the reply was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<char>,
    /// Notes dispensed, by cassette type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<Vec<u32>>,
}

/// Decodes the buffers.
pub(super) fn decode(fields: &[&str]) -> Buffers {
    let mut buffers = Buffers::default();
    for field in fields {
        let mut rest = Columns(field);
        let Some(tag) = rest.char() else { continue };
        match (tag, rest.0.strip_prefix("CAM")) {
            ('1', _) => buffers.has_track1 = true,
            ('2', _) => last_transaction(rest.0, &mut buffers),
            ('5', Some(cam)) => {
                let mut cam = Columns(cam);
                let flags = cam.take(FLAGS);
                let hexadecimal = flags.len() == FLAGS && flags.bytes().all(|byte| byte.is_ascii_hexdigit());
                buffers.cam_flags = hexadecimal.then(|| flags.to_owned());
                buffers.has_emv = Some(!cam.0.is_empty());
                let tags = emv::tags(cam.0).unwrap_or_default();
                buffers.emv = tags.iter().map(|(tag, value)| (format!("{tag:X}"), emv::hex(value))).collect();
            }
            _ => *buffers.buffer_lengths.entry(tag).or_default() += rest.0.chars().count(),
        }
    }
    buffers
}

/// The last transaction: serial number, status, notes by cassette type, coins by hopper.
fn last_transaction(field: &str, buffers: &mut Buffers) {
    let mut columns = Columns(ungrouped(field, &mut buffers.appended_group_data));
    let Some(tsn) = columns.digits(4) else { return };
    let status = columns.char();
    // Seven cassette types are told by the length, with and without four hoppers.
    let counts = columns.0.len() / COUNT;
    let exact = columns.0.len().is_multiple_of(COUNT);
    let more = exact && (counts == MORE_CASSETTES || counts == MORE_CASSETTES + HOPPERS);
    buffers.last_txn = Some(LastTransaction {
        tsn: tsn.to_owned(),
        status,
        notes: columns.numbers(if more { MORE_CASSETTES } else { CASSETTES }, COUNT),
    });
    if columns.0.len() >= HOPPERS * COUNT {
        buffers.last_txn_coins = columns.numbers(HOPPERS, COUNT);
    }
    // What follows (notes deposited) is laid out by the terminal's configuration, which is not known here.
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(fields: &[&str]) -> serde_json::Value {
        serde_json::to_value(decode(fields)).expect("serialises")
    }

    #[test]
    fn the_last_transaction_in_every_width() {
        let four = "00001000020000300004";
        let last = json(&[&format!("216392{four}\x1dCAM\x1d9B026000")]);
        assert_eq!(last["last_txn"], serde_json::json!({"tsn": "1639", "status": "2", "notes": [1, 2, 3, 4]}));
        assert_eq!(last["appended_group_data"], serde_json::json!(["CAM", "9B026000"]));
        let coins = json(&[&format!("216391{four}{four}0")]);
        assert_eq!(coins["last_txn_coins"], serde_json::json!([1, 2, 3, 4]));
        let seven = json(&[&format!("216391{four}000050000600007")]);
        assert_eq!(seven["last_txn"]["notes"], serde_json::json!([1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(json(&["216391"])["last_txn"], serde_json::json!({"tsn": "1639", "status": "1"}));
        assert_eq!(json(&["216"]), serde_json::json!({}));
    }

    #[test]
    fn emv_data_without_the_card() {
        let read = json(&["5CAM00049B0260005A0841234567890112345F340101"]);
        assert_eq!(
            read,
            serde_json::json!({"cam_flags": "0004", "has_emv": true, "emv": {"9B": "6000", "5F34": "01"}})
        );
        assert_eq!(json(&["5CAM0004"]), serde_json::json!({"cam_flags": "0004", "has_emv": false}));
        // Damaged: nothing of it can be told from card data.
        let damaged = json(&["5CAM00045A0941234567890112349"]);
        assert_eq!(damaged, serde_json::json!({"cam_flags": "0004", "has_emv": true}));
        assert_eq!(json(&["5CA", "", "Z12", "Z3"]), serde_json::json!({"buffer_lengths": {"5": 2, "Z": 3}}));
    }
}
