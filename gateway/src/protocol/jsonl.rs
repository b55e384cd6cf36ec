//! Our own protocol for sources that speak JSON: one object a line, UTF-8, ended by LF.
//!
//! ```json
//! {"id":"8842","kind":"supply.low","device":"cash_handler","component":"cassette_2","detail":"below 200 notes"}
//! ```
//!
//! Every field but `kind` may be absent. `id` is the source's own id of the event, unique per terminal: the same id a
//! second time is no second event. A line that is accepted is answered `{"seq":N}` once it is committed, a bad one
//! `{"error":"…"}`; the answers come in the order of the lines. The first line may be `{"hello":"atm-04"}`, which names
//! the terminal where several share a listener; a line can also name it in `terminal`.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Fault;
use crate::event::{Attributes, Component, Device, Event, Kind, Money, Severity, State};
use crate::mask;

/// Most bytes of a source's id.
const MAX_ID_BYTES: usize = 128;
/// Largest amount in minor units: twelve digits, as everywhere in the trade (ISO 8583 field 4), and too few for a card
/// number.
const MAX_MINOR: u64 = 999_999_999_999;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The source's id of it, unique per terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The terminal it is about, where a source speaks for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<String>,
    /// What happened.
    pub kind: Kind,
    /// How bad it is; the kind's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// The part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// `cleared` ends a condition of a kind that has no opposite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// When it happened (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Money, where it is about money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Card number; masked before it goes any further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// A sentence for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

/// A decoded line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// The source says which terminal it is.
    Hello(String),
    /// Something happened.
    Report(Box<Report>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    hello: String,
}

/// Decodes one line, without its end. Card numbers are masked wherever they stand.
///
/// # Errors
/// A fault whose reason is fit to be answered to the source.
pub fn decode(line: &[u8]) -> Result<Line, Fault> {
    let text = std::str::from_utf8(line).map_err(|_| Fault::new("the line is not UTF-8", line))?;
    let text = text.trim();
    if !text.starts_with('{') {
        return Err(Fault::new("the line is no JSON object", line));
    }
    if let Ok(Hello { hello }) = serde_json::from_str(text) {
        return Ok(Line::Hello(mask::free(&hello).into_owned()));
    }
    // The parser's message quotes names and values of the line: it is masked like the line itself.
    let mut report: Report =
        serde_json::from_str(text).map_err(|error| Fault::new(mask::free(&error.to_string()).into_owned(), line))?;
    if report.id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_ID_BYTES) {
        return Err(Fault::new(format!("`id` must have 1 to {MAX_ID_BYTES} bytes"), line));
    }
    if report.kind.is_gateways_own() {
        return Err(Fault::new(format!("`{}` is for the gateway alone to say", report.kind), line));
    }
    // Masked, two ids could become one, and an event be lost.
    if report.id.as_ref().is_some_and(|id| mask::names_card(id)) {
        return Err(Fault::new("`id` may be no card number", line));
    }
    if report.amount.is_some_and(|amount| amount.minor.unsigned_abs() > MAX_MINOR) {
        return Err(Fault::new("the amount has more than 12 digits", line));
    }
    mask_in_place(report.terminal.as_mut());
    mask_in_place(Some(&mut report.detail));
    report.card = report.card.map(|card| card_number(&card));
    report.attributes = report.attributes.into_iter().map(field).collect();
    Ok(Line::Report(Box::new(report)))
}

/// A card number as it may be shown; one that its source has masked already stays as it is.
fn card_number(card: &str) -> String {
    let digits = |chars: &mut dyn Iterator<Item = char>| chars.take_while(char::is_ascii_digit).count();
    let (front, back) = (digits(&mut card.chars()), digits(&mut card.chars().rev()));
    let all = card.chars().filter(char::is_ascii_digit).count();
    if front + back == all && front <= 6 && back <= 4 && front + back < card.len() {
        return card.to_owned();
    }
    mask::pan(&card.chars().filter(char::is_ascii_digit).collect::<String>())
}

/// Names of attributes whose values are never kept, whatever they look like.
const SECRET: [&str; 14] = [
    "track",
    "pin",
    "pinblk",
    "pinblock",
    "pinoffset",
    "epb",
    "pvv",
    "cvv",
    "cvc",
    "cav",
    "emv",
    "icc",
    "chip",
    "password",
];

/// An attribute as it may be kept: its name masked like its value, and no value where the name says what it is.
fn field((name, value): (String, serde_json::Value)) -> (String, serde_json::Value) {
    let secret = name.split(|c: char| !c.is_ascii_alphabetic()).flat_map(humps).any(is_secret);
    let value = if secret { "***".into() } else { masked(value) };
    (mask::free(&name).into_owned(), value)
}

fn is_secret(word: &str) -> bool {
    SECRET.iter().any(|secret| word.eq_ignore_ascii_case(secret))
}

/// A word, and the words it is made of: `pinBlock` is `pin` and `Block` too.
fn humps(word: &str) -> impl Iterator<Item = &str> {
    let begins = |at: usize| {
        let bytes = word.as_bytes();
        at == 0 || (bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase())
    };
    let starts: Vec<usize> = (0..word.len()).filter(|at| begins(*at)).collect();
    let ends = starts.iter().copied().skip(1).chain([word.len()]).collect::<Vec<_>>();
    std::iter::once(word).chain(starts.into_iter().zip(ends).map(move |(start, end)| &word[start..end]))
}

fn mask_in_place(text: Option<&mut String>) {
    if let Some(text) = text
        && let Cow::Owned(masked) = mask::free(text)
    {
        *text = masked;
    }
}

fn masked(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(mut text) => {
            mask_in_place(Some(&mut text));
            Value::String(text)
        }
        Value::Number(number) => {
            let text = number.to_string();
            match mask::free(&text) {
                Cow::Borrowed(_) => Value::Number(number),
                Cow::Owned(masked) => Value::String(masked),
            }
        }
        Value::Array(values) => values.into_iter().map(masked).collect(),
        Value::Object(fields) => fields.into_iter().map(field).collect(),
        other => other,
    }
}

impl Report {
    /// The event that it is.
    pub fn event(&self) -> Event {
        let usual = self.kind.severity_of(self.device, self.component);
        let mut event = Event::new(self.kind).severity(self.severity.unwrap_or(usual));
        event.device = self.device;
        event.component = self.component;
        event.state = self.state;
        event.occurred_at = self.occurred_at;
        event.amount = self.amount;
        event.card.clone_from(&self.card);
        event.detail.clone_from(&self.detail);
        event.attributes.clone_from(&self.attributes);
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(line: &str) -> Report {
        match decode(line.as_bytes()) {
            Ok(Line::Report(report)) => *report,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_becomes_its_event() {
        let report = report(
            r#"{"id":"1","kind":"supply.out","severity":"critical","device":"cash_handler","component":"cassette_1"}"#,
        );
        assert_eq!(report.event().to_string(), "supply.out:critical:cassette_1");
        assert_eq!(decode(br#"{ "hello": "atm-04" }"#), Ok(Line::Hello("atm-04".to_owned())));
    }

    #[test]
    fn cash_that_is_out_is_critical_like_in_every_protocol() {
        let out = |rest: &str| report(&format!(r#"{{"kind":"supply.out"{rest}}}"#)).event().severity;
        assert_eq!(out(r#","component":"cassette_1""#), Severity::Critical);
        assert_eq!(out(r#","device":"receipt_printer","component":"paper""#), Severity::Major);
    }

    #[test]
    fn card_data_does_not_pass() {
        let report = report(
            r#"{"kind":"card.inserted","card":"4123456789011234","detail":"PAN 4123456789011234","attributes":{"a":[{"b":4123456789011234}]}}"#,
        );
        let json = serde_json::to_string(&report).expect("serialises");
        assert!(!json.contains("789011234"), "{json}");
        assert!(json.contains("412345******1234"));
    }

    #[test]
    fn neither_names_nor_secrets_pass() {
        let line = r#"{"kind":"card.inserted","card":"412345******1234","attributes":
            {"4123456789011234":1,"track2":"x","pin_block":"A1B2","a":{"CVV":1},"spinning":"kept"}}"#;
        let report = report(&line.replace('\n', ""));
        assert_eq!(report.card.as_deref(), Some("412345******1234"));
        let json = serde_json::to_string(&report.attributes).expect("serialises");
        assert_eq!(
            json,
            r#"{"412345******1234":1,"a":{"CVV":"***"},"pin_block":"***","spinning":"kept","track2":"***"}"#
        );
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        let reason = |line: &[u8]| decode(line).expect_err("is refused").reason;
        assert!(reason(br#"{"kind":"supply.empty"}"#).contains("unknown kind `supply.empty`"));
        assert!(reason(br#"{"kind":"supply.low","colour":1}"#).contains("unknown field `colour`"));
        assert!(reason(b"{\"kind\":").contains("EOF"));
        assert!(reason(b"\xff\xfe").contains("UTF-8"));
        assert!(reason(b"[\"1\"]").contains("no JSON object"));
        assert!(reason(br#"{"kind":"command.requested"}"#).contains("for the gateway alone"));
        assert!(!reason(br#"{"kind":"4123456789011234"}"#).contains("789011234"));
    }
}
