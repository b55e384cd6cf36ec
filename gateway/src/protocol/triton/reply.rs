//! What a host answers.

use serde::Serialize;

use super::Message;
use super::fields::{amount, digits, filled, meaning, text};

/// Digits of a totals field: three counts of four, and an amount of eight.
const TOTALS: usize = 20;

/// An answer to a transaction request, or to a reversal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// `reply`, or `reversal_reply`.
    pub kind: &'static str,
    /// Which terminal.
    pub terminal_id: String,
    /// Transaction code of the request.
    pub code: String,
    /// What it asked for, as in a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<&'static str>,
    /// The account, as in a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<&'static str>,
    /// Sequence number of the request.
    pub seq: String,
    /// Response code, three digits; 000 is approved.
    pub response: String,
    /// Authorisation number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// The host's date, MMDDYY.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The host's time, hhmmss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Business date, MMDDYY.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub business_date: Option<String>,
    /// The account's balance, in the smallest unit of the terminal's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_minor: Option<i64>,
    /// Surcharge, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surcharge_minor: Option<i64>,
}

impl Reply {
    /// Whether the host approved.
    pub fn approved(&self) -> bool {
        self.response == "000"
    }
}

/// The host's totals of a business day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// `totals`.
    pub kind: &'static str,
    /// Which terminal.
    pub terminal_id: String,
    /// 50, or 51 where the business day was closed with it.
    pub code: String,
    /// Business date, MMDDYY.
    pub business_date: String,
    /// The digits as they came: three counts of four, and the settlement amount of eight.
    pub totals_raw: String,
    /// The three counts, in the order of the message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<u32>,
    /// What is settled, in the smallest unit of the terminal's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settlement_minor: Option<i64>,
}

/// The host's configuration; the key in it is never kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// `configuration`.
    pub kind: &'static str,
    /// Which terminal.
    pub terminal_id: String,
    /// 60.
    pub code: String,
    /// Whether a key came with it.
    pub has_key: bool,
}

/// A reply that begins with its flag for several blocks.
pub(super) fn read(id: &[u8], code: &[u8], rest: &[&[u8]]) -> Result<Message, &'static str> {
    match without_flag(id, code, rest) {
        Some(message) => message,
        None => transaction(id, code, rest).ok_or("a reply without a sequence number and a response code"),
    }
}

/// A reply of a kind that has no such flag; `None` where the fields look like a request, or like no reply at all.
pub(super) fn without_flag(id: &[u8], code: &[u8], rest: &[&[u8]]) -> Option<Result<Message, &'static str>> {
    let terminal_id = text(id);
    match (code, rest) {
        (b"50" | b"51", [date, totals, ..]) if digits(date, 6..=6) && digits(totals, TOTALS..=TOTALS) => {
            Some(Ok(Message::Totals(Totals {
                kind: "totals",
                terminal_id,
                code: text(code),
                business_date: text(date),
                // One digit more than any card number has: what a mask would hide here are counts.
                totals_raw: totals.iter().copied().map(char::from).collect(),
                counts: totals.chunks(4).take(3).filter_map(count).collect(),
                settlement_minor: amount(totals.get(12..).as_ref()),
            })))
        }
        (b"60", [key, after @ ..]) if after.iter().all(|field| field.is_empty()) && !digits(key, 0..=8) => {
            Some(Ok(Message::Configuration(Configuration {
                kind: "configuration",
                terminal_id,
                code: text(code),
                has_key: true,
            })))
        }
        // A track never has just three digits.
        (_, [_, response, ..]) if digits(response, 3..=3) => transaction(id, code, rest).map(Ok),
        _ => None,
    }
}

fn transaction(id: &[u8], code: &[u8], rest: &[&[u8]]) -> Option<Message> {
    let [seq, response, after @ ..] = rest else { return None };
    if !digits(seq, 1..=8) || !digits(response, 3..=3) {
        return None;
    }
    let code = text(code);
    let (transaction, account) = meaning(&code).map_or((None, None), |(what, account)| (Some(what), account));
    Some(Message::Reply(Box::new(Reply {
        kind: if transaction == Some("reversal") { "reversal_reply" } else { "reply" },
        terminal_id: text(id),
        code,
        transaction,
        account,
        seq: text(seq),
        response: text(response),
        auth: filled(after.first()),
        date: filled(after.get(1)),
        time: filled(after.get(2)),
        business_date: filled(after.get(3)),
        balance_minor: amount(after.get(4)),
        surcharge_minor: amount(after.get(5)),
    })))
}

fn count(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
