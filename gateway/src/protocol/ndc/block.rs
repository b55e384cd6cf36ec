//! The electronic journal's upload: a block of it (terminal, class 61), and what the host says about it (class 6).

use std::borrow::Cow;

use serde::Serialize;
use zeroize::Zeroizing;

use super::{FS, digit, encode, fields, shown};
use crate::mask;
use crate::protocol::journal::controls;

/// Characters of a block's id and time stamp, of a position, and of a length.
const ID: usize = 18;
const POSITION: usize = 6;
const LENGTH: usize = 3;
/// What stays of a block the same when it is sent again: id, time stamp, first and last position.
const PLACE: usize = ID + POSITION + POSITION;
/// The time stamp is the end of the id.
const TIME: usize = 12;
/// Digits that a card number cut by the block's end may show there, and at the beginning of the next block.
const SHOWN_AT_END: usize = 6;
const SHOWN_AT_START: usize = 4;

/// A block of the electronic journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Always `61`.
    pub class: &'static str,
    /// Always `ej_upload`.
    pub kind: &'static str,
    /// Logical unit number; terminals leave it empty.
    pub luno: String,
    /// Everything before the text as it came: id with time stamp, first and last position, length.
    pub block_hex_prefix: String,
    /// The journal's id and time stamp.
    pub block_id: String,
    /// The time stamp, YYMMDDhhmmss in the terminal's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_time: Option<String>,
    /// Position of the first character.
    pub first_character: u32,
    /// Position of the last character.
    pub last_character: u32,
    /// Characters that the block announces.
    pub length: usize,
    /// Characters announced that are not there. Such a block is not acknowledged.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: usize,
    /// The text, in printable lines, card numbers masked.
    pub text: String,
    /// Message authentication code; there is no key here to check it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The protocol header that stood before it, for the answer.
    #[serde(skip)]
    header: Vec<u8>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Block {
    /// Which part of which journal this is; nothing where the part is not all there, so that the whole one counts later.
    pub fn source_id(&self) -> Option<&str> {
        self.block_hex_prefix.get(..PLACE).filter(|place| self.missing == 0 && !place.contains('*'))
    }

    /// The host's acknowledgement, without framing: the terminal may forget the text. Nothing where some of it is missing.
    ///
    /// A protocol header is the one that the block came with: what is in it only the network between knows.
    pub fn acknowledgement(&self) -> Option<Vec<u8>> {
        (self.missing == 0).then(|| [&self.header[..], &encode::journal_acknowledgement(self.last_character)].concat())
    }
}

/// Decodes what follows the LUNO.
pub(super) fn decode(luno: String, rest: &str, header: &[u8]) -> Result<Block, String> {
    // Two empty fields; the journal's text may itself hold separators.
    let block = rest.trim_start_matches(FS);
    let mut columns = fields::Columns(block);
    let id = columns.take(ID);
    let (Some(first_character), Some(last_character), Some(length)) =
        (columns.number(POSITION), columns.number(POSITION), columns.number(LENGTH))
    else {
        return Err("the journal block does not say where it belongs".to_owned());
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (text, mac) = without_mac(columns.0, length);
    let prefix = fields::Columns(block).take(PLACE + LENGTH);
    let block_time = id.get(ID - TIME..).filter(|time| is_time(time)).map(str::to_owned);
    // What has no time where the time stands, and is a card number, is no place in a journal.
    let misplaced = block_time.is_none() && matches!(mask::number(prefix), Cow::Owned(_));
    let known = |text: &str| if misplaced { mask::text(text).into_owned() } else { text.to_owned() };
    Ok(Block {
        class: "61",
        kind: "ej_upload",
        luno,
        block_hex_prefix: known(prefix),
        block_id: known(id),
        block_time,
        first_character,
        last_character,
        length,
        missing: length.saturating_sub(text.chars().count()),
        text: printable(text),
        mac,
        header: header.to_owned(),
    })
}

/// Whether twelve digits can be YYMMDDhhmmss; a clock that was never set shows zeros.
fn is_time(text: &str) -> bool {
    let pair = |at: usize| text.get(at..at + 2).and_then(|pair| pair.parse::<u8>().ok());
    let within = |at: usize, least: u8, most: u8| pair(at).is_some_and(|pair| (least..=most).contains(&pair));
    text.bytes().all(|byte| byte.is_ascii_digit())
        && within(2, 0, 12)
        && within(4, 0, 31)
        && within(6, 0, 23)
        && within(8, 0, 59)
        && within(10, 0, 59)
}

/// The text without the MAC that may follow it.
fn without_mac(text: &str, length: usize) -> (&str, Option<String>) {
    let mut columns = fields::Columns(text);
    let block = columns.take(length);
    match columns.0.strip_prefix(FS) {
        Some(mac) if digit::is_security_number(mac) => (block, Some(mac.to_owned())),
        _ => (text, None),
    }
}

/// Lines without printer controls and card numbers.
fn printable(text: &str) -> String {
    // Room for all of it at once: growing would leave copies of what may be card data behind.
    let mut lines = Zeroizing::new(String::with_capacity(text.len()));
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    bytes.extend(text.chars().map(|char| u8::try_from(char).unwrap_or(b'?')));
    let mut rest = &bytes[..];
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            0x20..=0x7e => lines.push(char::from(byte)),
            b'\t' => lines.push(' '),
            b'\r' if after.first() == Some(&b'\n') => {}
            b'\r' | b'\n' | 0x0c => lines.push('\n'),
            0x1b => rest = after.get(controls::escape_length(after)..).unwrap_or_default(),
            0x80.. => lines.push('?'),
            _ => {}
        }
    }
    hide_edges(&mut lines);
    mask::printed(&lines).into_owned()
}

/// Hides digits at both ends, where a card number may be cut: its parts must not show more together than a whole one.
fn hide_edges(lines: &mut String) {
    let start = lines.bytes().take_while(u8::is_ascii_digit).count();
    let end = lines.bytes().rev().take_while(u8::is_ascii_digit).count();
    let hide = |lines: &mut String, at: usize, count: usize| lines.replace_range(at..at + count, &"*".repeat(count));
    let (at, count) = (lines.len() - end + SHOWN_AT_END.min(end), end.saturating_sub(SHOWN_AT_END));
    hide(lines, at, count);
    hide(lines, 0, start.saturating_sub(SHOWN_AT_START));
}

/// What a host says about the electronic journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalHost {
    /// `6`, with the response flag where there is one.
    pub class: String,
    /// Always `ej_host`.
    pub kind: &'static str,
    /// Logical unit number; hosts may leave it empty.
    pub luno: String,
    /// 1 acknowledgement, 3 options and timers.
    pub command: char,
    /// An acknowledgement: position of the last character that arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_character: Option<u32>,
    /// Options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    /// Timers: number (two digits) and value, each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timers: Vec<String>,
}

/// Decodes the fields of the host's message behind the LUNO.
pub(super) fn of_host(class: &str, luno: String, fields: &[&str]) -> Result<JournalHost, String> {
    let empty = fields.iter().take_while(|field| field.is_empty()).count();
    let fields = fields.get(empty..).unwrap_or_default();
    let mut head = fields::Columns(fields::at(fields, 0));
    let command = head.char().ok_or("no journal command")?;
    Ok(JournalHost {
        class: class.to_owned(),
        kind: "ej_host",
        luno,
        command,
        acknowledged_character: if command == '1' { fields::Columns(head.0).number(POSITION) } else { None },
        options: (command == '3').then(|| shown(head.0)),
        timers: fields
            .get(1..)
            .unwrap_or_default()
            .iter()
            .filter(|_| command == '3')
            .map(|timer| shown(timer))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "000001181011124235279606279633";

    fn block(text: &str) -> Block {
        decode(String::new(), &format!("\x1c\x1c{PREFIX}{text}"), b"").expect("a block")
    }

    #[test]
    fn a_block_knows_its_place() {
        let whole = block("027gooffline\r\nGoOutOfService");
        assert_eq!((whole.first_character, whole.last_character, whole.length), (279_606, 279_633, 27));
        assert_eq!(whole.missing, 2);
        assert_eq!((whole.source_id(), whole.acknowledgement()), (None, None));
        let whole = block("027gooffline\r\nGoOutOfService\r\n\x1c01A2E166");
        assert_eq!(whole.text, "gooffline\nGoOutOfService\n");
        assert_eq!(whole.mac.as_deref(), Some("01A2E166"));
        assert_eq!(whole.block_time.as_deref(), Some("181011124235"));
        assert_eq!(whole.source_id(), Some(PREFIX));
        assert_eq!(whole.acknowledgement().as_deref(), Some(&b"6\x1c\x1c\x1c1279633"[..]));
        assert!(decode(String::new(), &PREFIX[..29], b"").is_err());
        assert!(decode(String::new(), "", b"").is_err());
    }

    #[test]
    fn the_text_is_printable_and_shows_no_card() {
        assert_eq!(block("000\x1b[020tA\x1b(1\tB\x01\u{e9}\n\nC").text, "A B?\n\nC");
        assert_eq!(block("000CARD 4123456789011234 OK").text, "CARD 412345******1234 OK");
        assert_eq!(block("00041234\x0056789011234").text, "*".repeat(16), "nothing but digits");
        // A card number that is cut by the block's end shows six digits here and four there.
        let (front, back) = (block("000CARD 4123456789011"), block("000234 OK"));
        assert_eq!((front.text.as_str(), back.text.as_str()), ("CARD 412345*******", "234 OK"));
        assert_eq!(block("00089011234 OK").text, "****1234 OK");
        assert_eq!(block("000TOTAL 123456").text, "TOTAL 123456");
    }

    #[test]
    fn what_the_host_says() {
        let host = |fields: &[&str]| of_host("6", String::new(), fields);
        let options = host(&["", "36090061000", "60255"]).expect("a message");
        assert_eq!((options.options.as_deref(), &options.timers[..]), (Some("6090061000"), &["60255".to_owned()][..]));
        assert_eq!(host(&["", "1275186"]).expect("a message").acknowledged_character, Some(275_186));
        assert_eq!(host(&["", "1"]).expect("a message").acknowledged_character, None);
        assert!(host(&["", ""]).is_err());
    }
}
