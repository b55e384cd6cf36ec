//! Basic supply counters.

use serde::Serialize;

use super::GS;
use crate::protocol::ndc::fields::Columns;

/// Digits of a count.
pub(super) const COUNT: usize = 5;
/// Cassettes and hoppers in the report.
const PARTS: usize = 4;

/// Supply counters. A report that is cut short leaves the rest absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Transaction serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tsn: Option<String>,
    /// Transactions since the counters were cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_count: Option<u32>,
    /// Notes in each cassette.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes_in_cassettes: Option<Vec<u32>>,
    /// Notes rejected, by cassette.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes_rejected: Option<Vec<u32>>,
    /// Notes dispensed, by cassette.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes_dispensed: Option<Vec<u32>>,
    /// Notes dispensed in the last transaction, by cassette.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_notes_dispensed: Option<Vec<u32>>,
    /// Cards captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cards_captured: Option<u32>,
    /// Envelopes deposited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelopes_deposited: Option<u32>,
    /// Camera film left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera_film_remaining: Option<u32>,
    /// Serial number of the last envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_envelope_serial: Option<u32>,
    /// Coins in each hopper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coins_remaining: Option<Vec<u32>>,
    /// Coins dispensed, by hopper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coins_dispensed: Option<Vec<u32>>,
    /// Coins dispensed in the last transaction, by hopper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_coins_dispensed: Option<Vec<u32>>,
    /// What became of the notes that customers put in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deposited_notes: Option<DepositedNotes>,
    /// What follows, as it came: reserved, coins, notes deposited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<String>,
}

/// What became of notes that customers put in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DepositedNotes {
    /// Given back.
    pub refunded: u32,
    /// Not recognised.
    pub rejected: u32,
    /// Put into cassettes.
    pub encashed: u32,
    /// In the escrow.
    pub escrowed: u32,
}

impl DepositedNotes {
    /// Four counts.
    pub(super) fn read(columns: &mut Columns<'_>) -> Option<DepositedNotes> {
        Some(DepositedNotes {
            refunded: columns.number(COUNT)?,
            rejected: columns.number(COUNT)?,
            encashed: columns.number(COUNT)?,
            escrowed: columns.number(COUNT)?,
        })
    }
}

/// Decodes the report.
pub(super) fn decode(text: &str) -> Counters {
    let mut groups = text.split(GS);
    let mut columns = Columns(groups.next().unwrap_or_default());
    let mut counters = Counters {
        tsn: columns.digits(4).map(str::to_owned),
        transaction_count: columns.number(7),
        notes_in_cassettes: columns.numbers(PARTS, COUNT),
        notes_rejected: columns.numbers(PARTS, COUNT),
        notes_dispensed: columns.numbers(PARTS, COUNT),
        last_notes_dispensed: columns.numbers(PARTS, COUNT),
        cards_captured: columns.number(COUNT),
        envelopes_deposited: columns.number(COUNT),
        camera_film_remaining: columns.number(COUNT),
        last_envelope_serial: columns.number(COUNT),
        ..Counters::default()
    };
    // The groups have no letters: coins are told by their length, and what follows them are the notes deposited.
    let mut coins = false;
    let rest = std::iter::once(columns.0).chain(groups).filter(|rest| !rest.is_empty());
    for group in rest {
        let mut columns = Columns(group);
        if !coins && group.len() == 3 * PARTS * COUNT {
            coins = true;
            counters.coins_remaining = columns.numbers(PARTS, COUNT);
            counters.coins_dispensed = columns.numbers(PARTS, COUNT);
            counters.last_coins_dispensed = columns.numbers(PARTS, COUNT);
        } else if coins && counters.deposited_notes.is_none() {
            counters.deposited_notes = DepositedNotes::read(&mut columns);
        }
        counters.further.push(group.to_owned());
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(counters: impl Serialize) -> serde_json::Value {
        serde_json::to_value(counters).expect("serialises")
    }

    #[test]
    fn counters_cut_short_leave_the_rest_absent() {
        assert_eq!(json(decode("00010000002000110002")), serde_json::json!({"tsn": "0001", "transaction_count": 2}));
        assert_eq!(json(decode("")), serde_json::json!({}));
    }

    #[test]
    fn coins_and_notes_deposited_follow_the_basic_counters() {
        let fixed = format!("0001{}", "0".repeat(7 + 16 * 5 + 4 * 5));
        let coins = "00001000020000300004000050000600007000080000900010000110001200";
        let report = json(decode(&format!("{fixed}0\x1d{}\x1d00001000020000300004", &coins[..60])));
        assert_eq!(report["coins_dispensed"], serde_json::json!([5, 6, 7, 8]));
        assert_eq!(
            report["deposited_notes"],
            serde_json::json!({"refunded": 1, "rejected": 2, "encashed": 3, "escrowed": 4})
        );
        assert_eq!(report["further"].as_array().map(Vec::len), Some(3));
    }
}
