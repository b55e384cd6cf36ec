//! Terminal state (22, descriptor F): configuration, supplies, fitness, counters, in the form the host asked for.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{GS, digit, shown};

/// Where the positions of a configuration's fitness and supplies strings stand for the receipt printer, the journal
/// printer and the first of four cassettes.
const RECEIPT: usize = 6;
const JOURNAL: usize = 7;
const CASSETTES: std::ops::Range<usize> = 15..19;

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
    Configuration(Configuration),
    /// 2: supply counters.
    Counters(Counters),
    /// 7: extended supply counters.
    ExtendedCounters(ExtendedCounters),
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

/// Configuration information; raw strings have one position a device, in the order of the device identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// Configuration id; empty where none was loaded.
    pub config_id: String,
    /// Fitness (error severity).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fitness_raw: Option<String>,
    /// Hardware configuration, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hw_config_raw: Option<String>,
    /// Supplies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supplies_raw: Option<String>,
    /// Sensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensors_raw: Option<String>,
    /// Software release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Software id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// Fitness of the four cassettes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cassette_fitness: Option<Vec<u8>>,
    /// Supplies of the four cassettes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cassette_supplies: Option<Vec<u8>>,
    /// Receipt paper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_paper: Option<u8>,
    /// Journal paper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_paper: Option<u8>,
}

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
    /// What follows: reserved, coins, notes accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<String>,
}

/// Extended supply counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExtendedCounters {
    /// Every group by its letter, as it came.
    pub groups: BTreeMap<String, String>,
    /// Transaction serial number (group A).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tsn: Option<String>,
    /// Transactions since the counters were cleared (group A).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_count: Option<u32>,
    /// Cards captured (group B).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cards_captured: Option<u32>,
    /// Cassettes of the first cash handler (group C).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cassettes: Vec<CassetteCounters>,
    /// Cassettes of the second cash handler (group D).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub second_handler_cassettes: Vec<CassetteCounters>,
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
    /// Notes deposited.
    pub deposited: u32,
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
        '1' => Report::Configuration(configuration(head, more)),
        '2' => Report::Counters(counters(head)),
        '5' => match head.chars().next() {
            Some(clock_status) => Report::Clock { clock_status, date_time: head[clock_status.len_utf8()..].to_owned() },
            None => Report::Raw { raw: Vec::new() },
        },
        '6' => Report::ConfigurationId { config_id: shown(head) },
        '7' => Report::ExtendedCounters(extended_counters(head)),
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
        'I' => Report::Supplies { supplies: by_device(first) },
        'J' => Report::Fitness { fitness: by_device(first) },
        'K' => Report::Sensors { sensors_raw: first.to_owned(), tamper_raw: lettered('B') },
        'L' => Report::Software { release: shown(first), software_id: lettered('B') },
        'M' => Report::Options { option_digits: first.to_owned() },
        'N' => Report::Deposit { deposit_definitions: definitions(head) },
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

fn configuration(config_id: &str, fields: &[&str]) -> Configuration {
    let field = |index: usize| fields.get(index).map(|field| (*field).to_owned());
    let digits = |index: usize| fields.get(index).and_then(|field| digit::all(field)).unwrap_or_default();
    let (fitness, supplies) = (digits(0), digits(2));
    Configuration {
        config_id: shown(config_id),
        fitness_raw: field(0),
        hw_config_raw: field(1),
        supplies_raw: field(2),
        sensors_raw: field(3),
        release: field(4).map(|release| shown(&release)),
        software_id: field(5).map(|software| shown(&software)),
        cassette_fitness: fitness.get(CASSETTES).map(<[u8]>::to_vec),
        cassette_supplies: supplies.get(CASSETTES).map(<[u8]>::to_vec),
        receipt_paper: supplies.get(RECEIPT).copied(),
        journal_paper: supplies.get(JOURNAL).copied(),
    }
}

/// Takes fixed-width numbers off the front of a text, and stops for good at the first that is none.
struct Columns<'a>(&'a str);

impl<'a> Columns<'a> {
    fn text(&mut self, width: usize) -> Option<&'a str> {
        let column = self.0.get(..width).filter(|column| column.bytes().all(|byte| byte.is_ascii_digit()));
        // Columns behind a damaged one are not to be trusted.
        self.0 = if column.is_some() { &self.0[width..] } else { "" };
        column
    }

    fn number(&mut self, width: usize) -> Option<u32> {
        self.text(width)?.parse().ok()
    }

    fn numbers(&mut self, count: usize, width: usize) -> Option<Vec<u32>> {
        (0..count).map(|_| self.number(width)).collect()
    }
}

fn counters(text: &str) -> Counters {
    let mut groups = text.split(GS);
    let mut columns = Columns(groups.next().unwrap_or_default());
    let mut counters = Counters {
        tsn: columns.text(4).map(str::to_owned),
        transaction_count: columns.number(7),
        notes_in_cassettes: columns.numbers(4, 5),
        notes_rejected: columns.numbers(4, 5),
        notes_dispensed: columns.numbers(4, 5),
        last_notes_dispensed: columns.numbers(4, 5),
        cards_captured: columns.number(5),
        envelopes_deposited: columns.number(5),
        camera_film_remaining: columns.number(5),
        last_envelope_serial: columns.number(5),
        further: Vec::new(),
    };
    counters.further =
        std::iter::once(columns.0).chain(groups).filter(|rest| !rest.is_empty()).map(str::to_owned).collect();
    counters
}

fn extended_counters(text: &str) -> ExtendedCounters {
    let mut counters = ExtendedCounters::default();
    for group in text.split(GS) {
        let mut chars = group.chars();
        let Some(letter) = chars.next() else { continue };
        let body = chars.as_str();
        let mut columns = Columns(body);
        match letter {
            'A' => {
                counters.tsn = columns.text(4).map(str::to_owned);
                counters.transaction_count = columns.number(7);
            }
            'B' => counters.cards_captured = columns.number(5),
            'C' => counters.cassettes = cassettes(columns),
            'D' => counters.second_handler_cassettes = cassettes(columns),
            _ => {}
        }
        counters.groups.insert(letter.to_string(), body.to_owned());
    }
    counters
}

fn cassettes(mut columns: Columns<'_>) -> Vec<CassetteCounters> {
    std::iter::from_fn(|| {
        Some(CassetteCounters {
            cassette_type: columns.number(3)?,
            in_cassette: columns.number(5)?,
            rejected: columns.number(5)?,
            dispensed: columns.number(5)?,
            last_dispensed: columns.number(5)?,
            deposited: columns.number(5)?,
        })
    })
    .collect()
}

/// Groups of a device identifier and its digits.
fn by_device(text: &str) -> BTreeMap<String, Vec<u8>> {
    let group = |group: &str| {
        let dig = group.chars().next()?;
        Some((dig.to_string(), digit::all(&group[dig.len_utf8()..])?))
    };
    text.split(GS).filter_map(group).collect()
}

/// Definitions of eleven characters each; the letter A of the first field may stand before them.
fn definitions(text: &str) -> Vec<String> {
    const WIDTH: usize = 11;
    let text: String = text.chars().filter(|char| *char != GS).collect();
    let chars: Vec<char> = text.chars().collect();
    let chars = if chars.len() % WIDTH == 1 { &chars[1..] } else { &chars[..] };
    chars.chunks(WIDTH).map(|definition| shown(&definition.iter().collect::<String>())).collect()
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

    #[test]
    fn counters_cut_short_leave_the_rest_absent() {
        let counters = json(&["200010000002000110002"]);
        assert_eq!(counters, serde_json::json!({"state_id": "2", "tsn": "0001", "transaction_count": 2}));
        let cassettes = json(&["7C0010001200003004560000700000\x1dB00019"]);
        assert_eq!(
            cassettes["cassettes"][0],
            serde_json::json!({
                "cassette_type": 1, "in_cassette": 12, "rejected": 3, "dispensed": 456, "last_dispensed": 7, "deposited": 0
            })
        );
        assert_eq!(cassettes["cards_captured"], 19);
    }

    #[test]
    fn a_configuration_with_short_strings() {
        let configuration = json(&["18300", "000", "", "0001", ""]);
        assert_eq!(configuration["config_id"], "8300");
        assert_eq!(configuration.get("receipt_paper"), None);
    }
}
