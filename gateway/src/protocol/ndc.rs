//! NDC, NDC+ and Advance NDC: one frame, one message.
//!
//! Fields are separated by FS, groups inside a field by GS. The first field is the message class: 12 is unsolicited
//! status, 22 solicited status. Of every other class only class and LUNO are read, because the rest may be card data.

pub mod codes;
pub mod digit;
pub(super) mod emv;
pub mod solicited;
pub mod state;
pub mod status;
mod unsolicited;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Fault;
pub use solicited::Solicited;
pub use unsolicited::Unsolicited;

/// Field separator.
const FS: u8 = 0x1c;
/// Group separator.
const GS: char = '\x1d';
/// End of text, which some senders leave at the end of a frame.
const ETX: u8 = 0x03;
/// Longest LUNO taken for one: three digits, or nine with the machine number, and some room.
const LUNO_MAX: usize = 16;

/// What differs by terminal model and host link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Bytes of a protocol header before the message class.
    pub header: usize,
    /// Whether one ETX at the end of a frame does not belong to the message.
    pub strip_etx: bool,
}

/// An NDC message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Message {
    /// Class 12.
    Unsolicited(Unsolicited),
    /// Class 22.
    Solicited(Solicited),
    /// Any other class, without its content.
    Other(Other),
}

impl Message {
    /// The logical unit number: which terminal of the host's network this is.
    pub fn luno(&self) -> &str {
        match self {
            Message::Unsolicited(message) => &message.luno,
            Message::Solicited(message) => &message.luno,
            Message::Other(message) => &message.luno,
        }
    }
}

/// A message of which only class and LUNO are known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// Message class, with its subclass or response flag.
    pub class: String,
    /// Logical unit number.
    pub luno: String,
}

/// Decodes one frame.
///
/// # Errors
/// Where the frame has no message class, or not what its class must have.
pub fn decode(frame: &[u8], options: &Options) -> Result<Message, Fault> {
    let fault = |reason: &str| Fault::new(reason, frame);
    let body = frame.get(options.header..).ok_or_else(|| fault("shorter than its protocol header"))?;
    let body = match body {
        [body @ .., ETX] if options.strip_etx => body,
        body => body,
    };
    let mut head = body.split(|byte| *byte == FS);
    let class = head.next().unwrap_or_default();
    let luno = head.next();
    let (class, luno) = match (class, luno) {
        ([], None) => return Err(fault("empty message")),
        ([b'0'..=b'9'] | [b'0'..=b'9', 0x21..=0x7e], Some(luno)) => (text(class), text(luno)),
        _ => return Err(fault("no NDC message class")),
    };
    if luno.len() > LUNO_MAX {
        return Err(fault("the LUNO is too long"));
    }
    let luno = crate::mask::text(&luno).into_owned();
    match class.as_str() {
        "12" | "22" => {
            let body = text(body);
            let fields: Vec<&str> = body.split(char::from(FS)).skip(2).collect();
            if class.as_str() == "12" {
                unsolicited::decode(luno, &fields).map(Message::Unsolicited).map_err(|reason| fault(&reason))
            } else {
                solicited::decode(luno, &fields).map(Message::Solicited).map_err(|reason| fault(&reason))
            }
        }
        _ => Ok(Message::Other(Other { class: class.as_str().to_owned(), luno })),
    }
}

/// Bytes as text, one character each: NDC is ASCII, and what is not must not be lost or merged.
fn text(bytes: &[u8]) -> Zeroizing<String> {
    // Twice the length, so that no character beyond ASCII makes it move and leave a copy.
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(bytes.iter().copied().map(char::from));
    Zeroizing::new(text)
}

/// A field without its groups; the groups, cleaned of card data, go to `groups`.
fn ungrouped<'a>(field: &'a str, groups: &mut Vec<String>) -> &'a str {
    match field.split_once(GS) {
        None => field,
        Some((field, rest)) => {
            groups.extend(rest.split(GS).map(emv::without_card_data));
            field
        }
    }
}

/// A field nobody knows the meaning of, fit to be shown.
fn shown(field: &str) -> String {
    crate::mask::text(field).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(frame: &str) -> serde_json::Value {
        let message = decode(frame.replace('|', "\x1c").replace('~', "\x1d").as_bytes(), &Options::default());
        serde_json::to_value(message.expect("a message")).expect("serialises")
    }

    #[test]
    fn other_classes_show_nothing_but_class_and_luno() {
        let shown = json("11|001000001||01A2E166|12|;4123456789011234=2912?||");
        assert_eq!(shown, serde_json::json!({"class": "11", "luno": "001000001"}));
        assert_eq!(json("4|000||133"), serde_json::json!({"class": "4", "luno": "000"}));
        let long = decode(b"11\x1c4123456789011234\x1c\x1c", &Options::default()).expect("a message");
        assert_eq!(long.luno(), "412345******1234");
    }

    #[test]
    fn header_and_etx_are_taken_off() {
        let options = Options { header: 3, strip_etx: true };
        let message = decode(b"xyz12\x1c000\x1c\x1cB8300\x03", &options).expect("a message");
        assert_eq!(serde_json::to_value(&message).expect("serialises")["config_id"], "8300");
        assert!(decode(b"xy", &options).is_err());
    }

    #[test]
    fn what_is_no_message_is_a_fault() {
        for frame in ["", "\x1c", "12", "hello", "12|000", "12|000|", "12|000||", "22|000||", "22|000|||", "22|000||8"]
        {
            let frame = frame.replace('|', "\x1c");
            assert!(decode(frame.as_bytes(), &Options::default()).is_err(), "{frame:?}");
        }
    }

    #[test]
    fn groups_lose_card_data() {
        let shown =
            json("12|000||E000000000|00000|0301~CAM~9B026000~5A0841234567890112345F3401019F2608B2746052B28B6413|10000");
        assert_eq!(
            shown["appended_group_data"],
            serde_json::json!(["CAM", "9B026000", "5F3401019F2608B2746052B28B6413"])
        );
        assert_eq!(shown["diagnostic_raw"], "0301");
        assert_eq!(shown["supplies"], serde_json::json!([1, 0, 0, 0, 0]));
    }

    #[test]
    fn no_bytes_make_it_fail() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let alphabet = *b"\x1c\x1c\x1c\x1d0123456789ABCFHIJKLMNPRE\xff\xe9:?";
        for _ in 0..50_000 {
            let mut frame = if random & 1 == 0 { b"22\x1c000\x1c\x1c".to_vec() } else { b"12\x1c000\x1c\x1c".to_vec() };
            for _ in 0..random % 40 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = usize::try_from(random >> 40).expect("24 bits") % alphabet.len();
                frame.push(alphabet[at]);
            }
            random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 7;
            if let Ok(message) = decode(&frame, &Options { header: 0, strip_etx: true }) {
                serde_json::to_string(&message).expect("serialises");
            }
        }
    }
}
