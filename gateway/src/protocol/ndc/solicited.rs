//! Solicited status (class 22): the terminal answers its host.

use serde::Serialize;

use super::state::{self, TerminalState};
use super::status::DeviceStatus;
use super::{digit, shown, ungrouped, unsolicited};

/// A solicited status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Solicited {
    /// Always `22`.
    pub class: &'static str,
    /// Always `solicited_status`.
    pub kind: &'static str,
    /// Logical unit number.
    pub luno: String,
    /// Time variant number; empty where the field is there but security is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_variant: Option<String>,
    /// What is answered: 8 device fault, 9 ready, A command reject, B transaction ready, C specific command reject,
    /// F terminal state.
    pub descriptor: char,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// Groups behind a field, such as `CAM` and EMV data; without card data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub appended_group_data: Vec<String>,
    /// Message authentication code; there is no key here to check it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// What stands behind the descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// 8: a device reports a fault or an exception.
    Device(Box<DeviceStatus>),
    /// A and C: the host's message was rejected.
    Reject {
        /// Why; absent where nothing is said.
        #[serde(skip_serializing_if = "Option::is_none")]
        reject_code: Option<String>,
    },
    /// 9: carried out; B: the transaction reply was carried out.
    Ready {
        /// Transaction serial number.
        #[serde(skip_serializing_if = "Option::is_none")]
        tsn: Option<String>,
        /// Which transaction data follows: 1 deposit, 2 dispense.
        #[serde(skip_serializing_if = "Option::is_none")]
        transaction_data_id: Option<char>,
        /// The transaction data.
        #[serde(skip_serializing_if = "Option::is_none")]
        transaction_data: Option<String>,
    },
    /// F: what the host asked about the terminal.
    State(Box<TerminalState>),
    /// A descriptor nobody documented.
    Unknown {
        /// Its fields.
        raw: Vec<String>,
    },
}

/// Decodes the fields behind the LUNO.
pub(super) fn decode(luno: String, fields: &[&str]) -> Result<Solicited, String> {
    // One empty field stands in front; then the time variant number, which may be empty or missing.
    let fields = match fields {
        ["", fields @ ..] => fields,
        fields => fields,
    };
    let (time_variant, fields) = match fields {
        [first, fields @ ..] if first.is_empty() || digit::is_security_number(first) => {
            (Some((*first).to_owned()), fields)
        }
        fields => (None, fields),
    };
    let [head, fields @ ..] = fields else { return Err("no status descriptor".to_owned()) };
    let mut groups = Vec::new();
    let mut head = ungrouped(head, &mut groups).chars();
    let descriptor = head.next().ok_or("the status descriptor is empty")?;
    let glued = Some(head.as_str()).filter(|glued| !glued.is_empty());
    let (mac, fields) = mac(time_variant.as_deref(), descriptor, fields);
    let answer = match descriptor {
        '8' => {
            let status =
                unsolicited::device_status(fields.get(..fields.len().min(4)).unwrap_or_default(), &mut groups)?;
            Answer::Device(Box::new(status))
        }
        '9' => Answer::Ready { tsn: None, transaction_data_id: None, transaction_data: None },
        'A' | 'C' => {
            let code = fields.first().copied().or(glued).map(|code| ungrouped(code, &mut groups));
            Answer::Reject { reject_code: code.filter(|code| !code.is_empty()).map(shown) }
        }
        'B' => ready(fields, &mut groups),
        'F' => Answer::State(Box::new(state::decode(fields)?)),
        _ => Answer::Unknown { raw: glued.iter().chain(fields).map(|field| shown(field)).collect() },
    };
    Ok(Solicited {
        class: "22",
        kind: "solicited_status",
        luno,
        time_variant,
        descriptor,
        answer,
        appended_group_data: groups,
        mac,
    })
}

/// Transaction ready: in any order the serial number (four digits) and the transaction data.
fn ready(fields: &[&str], groups: &mut Vec<String>) -> Answer {
    let (mut tsn, mut transaction_data_id, mut transaction_data) = (None, None, None);
    for field in fields {
        let field = ungrouped(field, groups);
        if tsn.is_none() && field.len() == 4 && field.bytes().all(|byte| byte.is_ascii_digit()) {
            tsn = Some(field.to_owned());
        } else if let Some(id) = field.chars().next() {
            transaction_data_id = Some(id);
            // Counts of notes: long runs of digits, and none of them a card number.
            transaction_data = Some(field[id.len_utf8()..].to_owned());
        }
    }
    Answer::Ready { tsn, transaction_data_id, transaction_data }
}

/// Takes the MAC off the end. It needs a time variant number before it, which 9, A, B and C may leave empty.
fn mac<'a, 'b>(time_variant: Option<&str>, descriptor: char, fields: &'a [&'b str]) -> (Option<String>, &'a [&'b str]) {
    let possible = match (time_variant, descriptor) {
        (None, _) => false,
        (Some(""), descriptor) => matches!(descriptor, '9' | 'A' | 'B' | 'C'),
        (Some(_), _) => true,
    };
    match fields {
        [before @ .., last] if possible && digit::is_security_number(last) => {
            // A device with seven cassettes has eight digits of severity and of supplies, all of them 0 to 4.
            let digits = descriptor == '8' && before.len() % 2 == 1 && last.bytes().all(|digit| digit <= b'4');
            if digits { (None, fields) } else { (Some((*last).to_owned()), before) }
        }
        _ => (None, fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(fields: &[&str]) -> serde_json::Value {
        serde_json::to_value(decode("000".to_owned(), fields).expect("a message")).expect("serialises")
    }

    #[test]
    fn security_numbers_are_told_from_the_rest() {
        let message =
            json(&["", "01A2E166", "8", "E000000000", "00000000", "0301080400000000", "10000000", "3FF7AA85"]);
        assert_eq!(message["mac"], "3FF7AA85");
        assert_eq!(message["supplies"], serde_json::json!([1, 0, 0, 0, 0, 0, 0, 0]));
        let message = json(&["", "01A2E166", "8", "E000000000", "00000000", "", "10000000"]);
        assert_eq!(message.get("mac"), None);
        assert_eq!(message["supplies"], serde_json::json!([1, 0, 0, 0, 0, 0, 0, 0]));
        let message = json(&["", "8", "D1", "0", "00060000"]);
        assert_eq!(message.get("mac"), None);
        assert_eq!(message["diagnostic_raw"], "00060000");
        assert_eq!(json(&["", "", "9", "3FF7AA85"])["mac"], "3FF7AA85");
    }

    #[test]
    fn every_descriptor() {
        assert_eq!(json(&["", "A"]).get("reject_code"), None);
        assert_eq!(json(&["", "C", "C07"])["reject_code"], "C07");
        assert_eq!(json(&["", "C1"])["reject_code"], "1");
        let ready = json(&["", "", "B", "0123", "201020000", "3FF7AA85"]);
        assert_eq!(ready["tsn"], "0123");
        assert_eq!(ready["transaction_data_id"], "2");
        assert_eq!(ready["transaction_data"], "01020000");
        assert_eq!(ready["mac"], "3FF7AA85");
        assert_eq!(json(&["", "Z", "x"])["raw"], serde_json::json!(["x"]));
    }
}
