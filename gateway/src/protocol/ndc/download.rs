//! Configuration data of a host: data commands (class 3) and EMV configuration (class 8).
//!
//! What is in them is for the terminal; which tables came, and how much, is worth an event. Keys are never kept.

use serde::Serialize;

use super::{fields, shown};

/// What names a row of a table of screens, states or financial institutions: its first three characters.
const ROW_NAME: usize = 3;

/// A data command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataCommand {
    /// `3`, with the response flag where there is one.
    pub class: String,
    /// Always `data_command`.
    pub kind: &'static str,
    /// Logical unit number; hosts may leave it empty.
    pub luno: String,
    /// Message sequence or time variant number; empty where none is used.
    pub sequence: String,
    /// What is sent: message subclass and identifier.
    pub sub: String,
    /// The same in words, where it is documented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'static str>,
    /// The configuration id that is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_id: Option<String>,
    /// The date and time that are set: YYMMDDhhmm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_time: Option<String>,
    /// The rows of a table of screens, states or financial institutions that are loaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<String>,
    /// Characters of data.
    pub data_length: usize,
    /// Message authentication code; there is no key here to check it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// What the subclass and identifier of a data command stand for.
fn content(sub: &str) -> Option<&'static str> {
    Some(match sub {
        "11" => "screens",
        "12" => "states",
        "13" => "configuration parameters",
        "15" => "financial institution tables",
        "16" => "configuration id",
        "1A" => "enhanced configuration parameters",
        "1B" => "fields for the MAC",
        "1C" => "date and time",
        "1E" => "currency map",
        "42" => "terminal PIN key",
        "45" => "terminal MAC key",
        "4H" => "request of the key verification values",
        _ => match sub.as_bytes().first() {
            Some(b'2') => "interactive transaction response",
            Some(b'3') => "encryption key",
            Some(b'4') => "extended encryption key",
            _ => return None,
        },
    })
}

/// Decodes the fields of a data command behind the LUNO.
pub(super) fn data_command(class: &str, luno: String, fields: &[&str]) -> Result<DataCommand, String> {
    let (mac, fields) = fields::mac(fields, 3);
    let mut head = fields::Columns(fields::at(fields, 1));
    let sub = head.take(2);
    if sub.is_empty() {
        return Err("no message subclass".to_owned());
    }
    let data = fields.get(2..).unwrap_or_default();
    let separators = data.len().saturating_sub(1);
    let digits = |text: &str| Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).map(shown);
    Ok(DataCommand {
        class: class.to_owned(),
        kind: "data_command",
        luno,
        sequence: fields::sequence(fields::at(fields, 0)),
        sub: sub.to_owned(),
        content: content(sub),
        config_id: (sub == "16").then(|| shown(fields::at(data, 0))),
        // Ten or twelve digits are no card number, and longer ones no date.
        date_time: if sub == "1C" {
            data.first().filter(|date| date.len() <= 12).and_then(|date| digits(date))
        } else {
            None
        },
        rows: if matches!(sub, "11" | "12" | "15") { rows(data) } else { Vec::new() },
        data_length: head.0.chars().count()
            + data.iter().map(|field| field.chars().count()).sum::<usize>()
            + separators,
        mac,
    })
}

fn rows(data: &[&str]) -> Vec<String> {
    data.iter().filter(|row| !row.is_empty()).map(|row| fields::Columns(row).take(ROW_NAME).to_owned()).collect()
}

/// EMV configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EmvConfiguration {
    /// `8`, with the response flag where there is one.
    pub class: String,
    /// Always `emv_configuration`.
    pub kind: &'static str,
    /// Logical unit number; hosts may leave it empty.
    pub luno: String,
    /// What is sent: message subclass.
    pub sub: String,
    /// The same in words, where it is documented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'static str>,
    /// Characters of data.
    pub data_length: usize,
    /// Message authentication code; there is no key here to check it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// Decodes the fields of an EMV configuration behind the LUNO.
pub(super) fn emv_configuration(class: &str, luno: String, fields: &[&str]) -> Result<EmvConfiguration, String> {
    let (mac, fields) = fields::mac(fields, 2);
    // Some hosts leave an empty field before the subclass.
    let fields = match fields {
        ["", fields @ ..] => fields,
        fields => fields,
    };
    let sub = fields::at(fields, 0);
    if sub.is_empty() {
        return Err("no message subclass".to_owned());
    }
    let data = fields.get(1..).unwrap_or_default();
    Ok(EmvConfiguration {
        class: class.to_owned(),
        kind: "emv_configuration",
        luno,
        sub: fields::Columns(sub).take(2).to_owned(),
        content: match sub {
            "1" => Some("currencies"),
            "2" => Some("transaction types"),
            "3" => Some("languages"),
            "4" => Some("terminal data"),
            "5" => Some("applications"),
            _ => None,
        },
        data_length: data.iter().map(|field| field.chars().count()).sum::<usize>() + data.len().saturating_sub(1),
        mac,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(fields: &[&str]) -> serde_json::Value {
        serde_json::to_value(data_command("3", "001".to_owned(), fields).expect("a message")).expect("serialises")
    }

    #[test]
    fn every_kind_of_data() {
        let screens = json(&["", "11", "C00\x0cWAIT", "C01", "", "u0100x"]);
        assert_eq!(screens["rows"], serde_json::json!(["C00", "C01", "u01"]));
        let states = json(&["123", "12", "000A001041064002002002001041", "1F2E3D4C"]);
        assert_eq!((&states["rows"], &states["mac"]), (&serde_json::json!(["000"]), &"1F2E3D4C".into()));
        assert_eq!(json(&["", "16", "0023"])["config_id"], "0023");
        assert_eq!(json(&["", "1C", "2601200930"])["date_time"], "2601200930");
        assert_eq!(json(&["", "1E", "04FF101000", "F7A1F496"])["mac"], "F7A1F496");
        assert_eq!(json(&["", "4H"])["content"], "request of the key verification values");
        assert_eq!(json(&["", "21001000000", "010", "screen"])["content"], "interactive transaction response");
        assert_eq!(json(&["", "9"]).get("content"), None);
        assert!(data_command("3", String::new(), &["", ""]).is_err());
    }

    #[test]
    fn keys_are_not_kept() {
        let key = json(&["", "42", "030044136218180009158174251088025041180194109047044"]);
        assert_eq!(
            key,
            serde_json::json!({
                "class": "3", "kind": "data_command", "luno": "001", "sequence": "", "sub": "42",
                "content": "terminal PIN key", "data_length": 51
            })
        );
        assert!(!json(&["", "31", "123456789"]).to_string().contains("456"));
    }

    #[test]
    fn emv_configuration_shows_which() {
        let message = emv_configuration("8", "001".to_owned(), &["1", "010177095F2A0202085F360102", "A5A6161F"]);
        let message = message.expect("a message");
        assert_eq!((message.sub.as_str(), message.content, message.data_length), ("1", Some("currencies"), 26));
        assert!(message.mac.is_some());
        assert!(emv_configuration("8", String::new(), &["", ""]).is_err());
    }
}
