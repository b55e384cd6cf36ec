//! Terminal state (22, descriptor F): configuration, supplies, fitness, counters, in the form the host asked for.

mod configuration;
mod counters;
mod extended;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{GS, shown};
pub use configuration::Configuration;
pub use counters::{Counters, DepositedNotes};
pub use extended::{AcceptedNotes, BinCount, CassetteCounters, ExtendedCounters, HopperCounters};

/// What a terminal says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TerminalState {
    /// Which report this is.
    pub state_id: char,
    /// The report.
    #[serde(flatten)]
    pub report: Report,
}

/// The report of a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// 1: configuration information.
    Configuration(Box<Configuration>),
    /// 2: supply counters.
    Counters(Box<Counters>),
    /// 7: extended supply counters.
    ExtendedCounters(Box<ExtendedCounters>),
    /// 5: date and time.
    Clock {
        /// State of the clock.
        clock_status: char,
        /// Date and time as the terminal has them: YYMMDDhhmmss.
        date_time: String,
    },
    /// 6: configuration id.
    ConfigurationId {
        /// The id.
        config_id: String,
    },
    /// H: hardware configuration.
    Hardware {
        /// Configuration id.
        config_id: String,
        /// Product class.
        #[serde(skip_serializing_if = "Option::is_none")]
        product_class: Option<String>,
        /// A device and the code of its kind, each.
        hw_config: Vec<String>,
    },
    /// I: supplies by device identifier.
    Supplies {
        /// The digits of a device, first to last.
        supplies: BTreeMap<String, Vec<u8>>,
    },
    /// J: fitness (error severity) by device identifier.
    Fitness {
        /// The digits of a device, first to last.
        fitness: BTreeMap<String, Vec<u8>>,
    },
    /// K: tamper and sensor status.
    Sensors {
        /// Sensors, one character each.
        sensors_raw: String,
        /// Tamper indicators, one character each.
        #[serde(skip_serializing_if = "Option::is_none")]
        tamper_raw: Option<String>,
        /// Both by name: whether each is active (a bin: whether it is in its place).
        #[serde(skip_serializing_if = "Option::is_none")]
        sensor_bits: Option<BTreeMap<&'static str, bool>>,
    },
    /// L: software release.
    Software {
        /// Release number.
        release: String,
        /// Software id.
        #[serde(skip_serializing_if = "Option::is_none")]
        software_id: Option<String>,
    },
    /// M: local configuration option digits.
    Options {
        /// The digits.
        option_digits: String,
    },
    /// N: cash deposit definitions.
    Deposit {
        /// The definitions, eleven characters each.
        deposit_definitions: Vec<String>,
    },
    /// 3 tallies, 4 error log, and what nobody documented.
    Raw {
        /// The fields.
        raw: Vec<String>,
    },
}

/// Decodes the fields behind the descriptor F.
pub(super) fn decode(fields: &[&str]) -> Result<TerminalState, String> {
    let [head, more @ ..] = fields else { return Err("no terminal state".to_owned()) };
    let mut chars = head.chars();
    let state_id = chars.next().ok_or("the terminal state is empty")?;
    let head = chars.as_str();
    // In the reports with letters every field begins with its own: A is the first, in `head`.
    let first = head.strip_prefix('A').unwrap_or(head);
    let lettered = |letter: char| more.iter().find_map(|field| field.strip_prefix(letter)).map(str::to_owned);
    let report = match state_id {
        '1' => Report::Configuration(Box::new(configuration::decode(head, more))),
        '2' => Report::Counters(Box::new(counters::decode(head))),
        '5' => match head.chars().next() {
            Some(clock_status) => Report::Clock { clock_status, date_time: head[clock_status.len_utf8()..].to_owned() },
            None => Report::Raw { raw: Vec::new() },
        },
        '6' => Report::ConfigurationId { config_id: shown(head) },
        '7' => Report::ExtendedCounters(Box::new(extended::decode(head))),
        'H' => Report::Hardware {
            config_id: shown(first),
            product_class: lettered('B'),
            hw_config: more
                .iter()
                .filter(|field| field.starts_with('C'))
                .flat_map(|field| field.split(GS))
                .map(shown)
                .collect(),
        },
        'I' => Report::Supplies { supplies: configuration::by_device(first) },
        'J' => Report::Fitness { fitness: configuration::by_device(first) },
        'K' => configuration::sensors(first, lettered('B')),
        'L' => Report::Software { release: shown(first), software_id: lettered('B') },
        'M' => Report::Options { option_digits: first.to_owned() },
        'N' => Report::Deposit { deposit_definitions: configuration::deposit_definitions(head) },
        _ => Report::Raw {
            raw: std::iter::once(head)
                .chain(more.iter().copied())
                .filter(|field| !field.is_empty())
                .map(shown)
                .collect(),
        },
    };
    Ok(TerminalState { state_id, report })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(fields: &[&str]) -> serde_json::Value {
        serde_json::to_value(decode(fields).expect("a state")).expect("serialises")
    }

    #[test]
    fn every_report() {
        assert_eq!(json(&["60022"])["config_id"], "0022");
        assert_eq!(json(&["51260120093045"])["clock_status"], "1");
        assert_eq!(json(&["51260120093045"])["date_time"], "260120093045");
        assert_eq!(json(&["IAD1\x1dE12230\x1dG3111"])["supplies"]["E"], serde_json::json!([1, 2, 2, 3, 0]));
        assert_eq!(
            json(&["KA0100", "B00"]),
            serde_json::json!({"state_id": "K", "sensors_raw": "0100", "tamper_raw": "00"})
        );
        assert_eq!(json(&["LA0102", "BG531-0283"])["software_id"], "G531-0283");
        assert_eq!(json(&["MA00"])["option_digits"], "00");
        assert_eq!(
            json(&["NA0123456789X0123456789Y"])["deposit_definitions"],
            serde_json::json!(["0123456789X", "0123456789Y"])
        );
        assert_eq!(json(&["3x", "y"])["raw"], serde_json::json!(["x", "y"]));
        assert_eq!(json(&["?"])["raw"], serde_json::json!([]));
        assert!(decode(&[]).is_err() && decode(&[""]).is_err());
    }
}
