//! Extended supply counters: groups, each with its letter.

use std::collections::BTreeMap;

use serde::Serialize;

use super::GS;
use super::counters::{COUNT, DepositedNotes};
use crate::protocol::ndc::fields::Columns;

/// Digits of a cassette's counters with notes deposited, and of a hopper's with coins deposited.
const CASSETTE: usize = 28;
const HOPPER: usize = 22;

/// Extended supply counters. What is damaged is absent, but for the group as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExtendedCounters {
    /// Every group by its letter, as it came.
    pub groups: BTreeMap<String, String>,
    /// Transaction serial number (A).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tsn: Option<String>,
    /// Transactions since the counters were cleared (A).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_count: Option<u32>,
    /// Cards captured (B).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cards_captured: Option<u32>,
    /// Cards captured by the second card reader (T).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_reader_cards_captured: Option<u32>,
    /// Cassettes of the first cash handler (C), or of both together (l).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cassettes: Vec<CassetteCounters>,
    /// Cassettes of the second cash handler (D).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub second_handler_cassettes: Vec<CassetteCounters>,
    /// Hoppers of the coin dispenser (E).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hoppers: Vec<HopperCounters>,
    /// Envelopes deposited (F).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelopes_deposited: Option<u32>,
    /// Serial number of the last envelope (F).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_envelope_serial: Option<u32>,
    /// Camera film left (G).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera_film_remaining: Option<u32>,
    /// Documents in the bin of the document processing module (H).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<BinCount>,
    /// Notes that the note acceptor put into each cassette (I).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted_notes: Vec<AcceptedNotes>,
    /// Cheques in each bin of the cheque processor (J).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cheques: Vec<BinCount>,
    /// What became of the notes that customers put in (K).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deposited_notes: Option<DepositedNotes>,
    /// Notes suspected to be counterfeit (N, ECB category 2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub category_2_notes: Vec<AcceptedNotes>,
    /// Notes that could not be authenticated clearly (O, ECB category 3).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub category_3_notes: Vec<AcceptedNotes>,
}

/// Counters of one cassette type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CassetteCounters {
    /// Cassette type.
    pub cassette_type: u32,
    /// Notes in it.
    pub in_cassette: u32,
    /// Notes rejected.
    pub rejected: u32,
    /// Notes dispensed.
    pub dispensed: u32,
    /// Notes dispensed in the last transaction.
    pub last_dispensed: u32,
    /// Notes deposited; absent where the cash handler takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deposited: Option<u32>,
}

/// Counters of one hopper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HopperCounters {
    /// Hopper type.
    pub hopper_type: u32,
    /// Coins in it.
    pub remaining: u32,
    /// Coins dispensed.
    pub dispensed: u32,
    /// Coins dispensed in the last transaction.
    pub last_dispensed: u32,
    /// Coins deposited; absent where the dispenser takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deposited: Option<u32>,
}

/// What lies in a bin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BinCount {
    /// The bin.
    pub bin: String,
    /// How many.
    pub count: u32,
}

/// Notes in one cassette of a note acceptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AcceptedNotes {
    /// Cassette type.
    pub cassette_type: u32,
    /// Notes of all types.
    pub count: u32,
    /// Notes by note type, four hexadecimal digits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub note_types: BTreeMap<String, u32>,
}

/// Decodes the report.
pub(super) fn decode(text: &str) -> ExtendedCounters {
    let mut counters = ExtendedCounters::default();
    for group in text.split(GS) {
        let mut columns = Columns(group);
        let Some(letter) = columns.char() else { continue };
        counters.groups.insert(letter.to_string(), columns.0.to_owned());
        match letter {
            'A' => {
                counters.tsn = columns.digits(4).map(str::to_owned);
                counters.transaction_count = columns.number(7);
            }
            'B' => counters.cards_captured = columns.number(COUNT),
            'C' | 'l' => counters.cassettes = cassettes(columns),
            'D' => counters.second_handler_cassettes = cassettes(columns),
            'E' => counters.hoppers = hoppers(columns),
            'F' => {
                counters.envelopes_deposited = columns.number(COUNT);
                counters.last_envelope_serial = columns.number(COUNT);
            }
            'G' => counters.camera_film_remaining = columns.number(COUNT),
            'H' => counters.documents = bin(&mut columns, 2),
            'I' => counters.accepted_notes = columns.rows(accepted),
            'J' => counters.cheques = columns.rows(|columns| bin(columns, 1)),
            'K' => counters.deposited_notes = DepositedNotes::read(&mut columns),
            'N' => counters.category_2_notes = columns.rows(accepted),
            'O' => counters.category_3_notes = columns.rows(accepted),
            'T' => counters.second_reader_cards_captured = columns.number(COUNT),
            _ => {}
        }
    }
    counters
}

/// Cash handlers that take notes too have one count more for every cassette; the length tells which.
fn cassettes(mut columns: Columns<'_>) -> Vec<CassetteCounters> {
    let recycles = columns.0.len().is_multiple_of(CASSETTE);
    columns.rows(|columns| {
        Some(CassetteCounters {
            cassette_type: columns.number(3)?,
            in_cassette: columns.number(COUNT)?,
            rejected: columns.number(COUNT)?,
            dispensed: columns.number(COUNT)?,
            last_dispensed: columns.number(COUNT)?,
            deposited: if recycles { Some(columns.number(COUNT)?) } else { None },
        })
    })
}

/// As with cassettes.
fn hoppers(mut columns: Columns<'_>) -> Vec<HopperCounters> {
    let recycles = columns.0.len().is_multiple_of(HOPPER);
    columns.rows(|columns| {
        Some(HopperCounters {
            hopper_type: columns.number(2)?,
            remaining: columns.number(COUNT)?,
            dispensed: columns.number(COUNT)?,
            last_dispensed: columns.number(COUNT)?,
            deposited: if recycles { Some(columns.number(COUNT)?) } else { None },
        })
    })
}

fn bin(columns: &mut Columns<'_>, width: usize) -> Option<BinCount> {
    let bin = columns.take(width);
    (bin.chars().count() == width).then_some(())?;
    Some(BinCount { bin: bin.to_owned(), count: columns.number(COUNT)? })
}

/// Cassette type, notes in it, how many types of notes, and for each its type and count.
fn accepted(columns: &mut Columns<'_>) -> Option<AcceptedNotes> {
    let (cassette_type, count, types) = (columns.number(3)?, columns.number(COUNT)?, columns.number(3)?);
    let mut note_types = BTreeMap::new();
    for _ in 0..types {
        let note_type = columns.take(4);
        let hexadecimal = note_type.len() == 4 && note_type.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal.then_some(())?;
        note_types.insert(note_type.to_owned(), columns.number(COUNT)?);
    }
    Some(AcceptedNotes { cassette_type, count, note_types })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(counters: impl Serialize) -> serde_json::Value {
        serde_json::to_value(counters).expect("serialises")
    }

    #[test]
    fn groups_cut_short_leave_the_rest_absent() {
        let cut = json(decode("C00100012000030045600007\x1dB0001"));
        assert_eq!(
            cut,
            serde_json::json!({"groups": {"B": "0001", "C": "00100012000030045600007"}, "cassettes": [
                {"cassette_type": 1, "in_cassette": 12, "rejected": 3, "dispensed": 456, "last_dispensed": 7}
            ]})
        );
        assert_eq!(
            json(decode("I00100099002000100099000")),
            serde_json::json!({"groups": {"I": "00100099002000100099000"}})
        );
    }

    #[test]
    fn every_group() {
        let report = json(decode(
            "A08690000684\x1dB00019\x1dC0010001200003004560000700008\x1dD0020001200003004560000700009\
             \x1dE01001000000200003000040200100000020000300004\x1dF0000500006\x1dG00007\x1dH0100008\x1dI00100099001000500099\
             002000000000\x1dJ100009200010\x1dK00001000020000300004\x1dN00100001001000500001\x1dO00200000000\x1dT00011\x1dz1",
        ));
        assert_eq!((&report["tsn"], &report["transaction_count"]), (&"0869".into(), &684.into()));
        assert_eq!((&report["cards_captured"], &report["second_reader_cards_captured"]), (&19.into(), &11.into()));
        assert_eq!(
            (&report["cassettes"][0]["deposited"], &report["second_handler_cassettes"][0]["deposited"]),
            (&8.into(), &9.into())
        );
        assert_eq!(
            report["hoppers"][1],
            serde_json::json!({"hopper_type": 2, "remaining": 100, "dispensed": 2, "last_dispensed": 3, "deposited": 4}),
        );
        assert_eq!((&report["envelopes_deposited"], &report["last_envelope_serial"]), (&5.into(), &6.into()));
        assert_eq!((&report["camera_film_remaining"], &report["documents"]["count"]), (&7.into(), &8.into()));
        assert_eq!(
            report["accepted_notes"][0],
            serde_json::json!({"cassette_type": 1, "count": 99, "note_types": {"0005": 99}})
        );
        assert_eq!(report["accepted_notes"][1], serde_json::json!({"cassette_type": 2, "count": 0}));
        assert_eq!(report["cheques"][1], serde_json::json!({"bin": "2", "count": 10}));
        assert_eq!(report["deposited_notes"]["encashed"], 3);
        assert_eq!(
            (&report["category_2_notes"][0]["count"], &report["category_3_notes"][0]["count"]),
            (&1.into(), &0.into())
        );
        assert_eq!(report["groups"]["z"], "1");
    }
}
