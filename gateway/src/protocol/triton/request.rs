//! What a terminal asks its host for.

use serde::Serialize;

use super::Message;
use super::fields::{amount, digits, filled, meaning, text};

/// Longest first field that is a terminal id; a longer one is the communications header.
const ID_MAX: usize = 18;
/// Hexadecimal digits of a PIN block.
const PIN_BLOCK: usize = 16;

/// A request. Track and PIN block are never kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// `request`, or `reversal_request`.
    pub kind: &'static str,
    /// The communications header, where the terminal sends one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// Which terminal.
    pub terminal_id: String,
    /// Transaction code, two digits.
    pub code: String,
    /// What the code asks for: `withdrawal`, `transfer`, `reversal`, `balance`, `non_cash`, `totals`,
    /// `totals_day_close`, `configuration`, `pin_change`; absent for a code that nobody documented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<&'static str>,
    /// `checking`, `savings` or `credit`, where the code says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<&'static str>,
    /// The terminal's sequence number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<String>,
    /// Amount, in the smallest unit of the terminal's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_minor: Option<i64>,
    /// Surcharge, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surcharge_minor: Option<i64>,
    /// A reversal's amount that was really dispensed, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispensed_minor: Option<i64>,
    /// Masked card number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pan_masked: Option<String>,
    /// Whether a PIN block came with it.
    pub has_pin_block: bool,
    /// How many miscellaneous fields came with it.
    #[serde(skip_serializing_if = "is_zero")]
    pub misc_fields: usize,
}

/// The communications header of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Communications identifier, eight characters.
    pub communications_id: String,
    /// Terminal type, two characters.
    pub terminal_type: String,
    /// Software version, two characters.
    pub software_version: String,
    /// Encryption flag, one character.
    pub encryption: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Whether a first field is a communications header.
pub(super) fn is_header(field: &[u8]) -> bool {
    field.len() > ID_MAX
}

pub(super) fn read(header: Option<&[u8]>, id: &[u8], code: &[u8], rest: &[&[u8]]) -> Result<Message, &'static str> {
    let code = text(code);
    let (transaction, account) = meaning(&code).map_or((None, None), |(what, account)| (Some(what), account));
    let [seq, after @ ..] = rest else { return Err("a request without a sequence number") };
    if !seq.is_empty() && !digits(seq, 1..=8) {
        return Err("a request whose sequence number is no number");
    }
    let reversal = transaction == Some("reversal");
    let fourth = after.get(3);
    let has_pin_block = fourth.is_some_and(|field| field.len() == PIN_BLOCK && field.iter().all(u8::is_ascii_hexdigit));
    Ok(Message::Request(Box::new(Request {
        kind: if reversal { "reversal_request" } else { "request" },
        header: header.map(read_header),
        terminal_id: text(id),
        code,
        transaction,
        account,
        seq: Some(text(seq)).filter(|seq| !seq.is_empty()),
        pan_masked: after.first().and_then(|track| card(track)),
        amount_minor: amount(after.get(1)),
        surcharge_minor: amount(after.get(2)),
        dispensed_minor: fourth.filter(|_| reversal && !has_pin_block).and_then(|field| amount(Some(field))),
        has_pin_block,
        misc_fields: after.iter().skip(4).filter(|field| !field.is_empty()).count(),
    })))
}

fn read_header(header: &[u8]) -> Header {
    let part = |from: usize, to: usize| filled(header.get(from..to).as_ref()).unwrap_or_default();
    Header {
        communications_id: part(0, 8),
        terminal_type: part(8, 10),
        software_version: part(10, 12),
        encryption: part(12, 13),
    }
}

/// The card number of a track 2, masked; nothing else of the track is read.
fn card(track: &[u8]) -> Option<String> {
    let track = track.strip_prefix(b";").unwrap_or(track);
    let length = track.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(track.get(..length)?).ok()?;
    (!number.is_empty()).then(|| crate::mask::pan(number))
}
