//! What networks put before the message type: kept as it came, because an answer bears it again.

use serde::{Deserialize, Serialize, Serializer};

use super::digits;

/// Which header a link's messages have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderKind {
    /// Any of the others, told by its bytes.
    #[default]
    Auto,
    /// None.
    None,
    /// A TPDU: `60`, two bytes of destination, two of source.
    Tpdu,
    /// The 22 bytes of VISA BASE I, the first of which says 22.
    Visa,
    /// `ISO` and nine digits (BASE24).
    Iso,
}

/// The header of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// There is none.
    #[default]
    None,
    /// Id, destination, source.
    Tpdu([u8; 5]),
    /// VISA BASE I.
    Visa([u8; 22]),
    /// BASE24.
    Iso([u8; 12]),
}

/// First byte of a TPDU. No message type begins so.
const TPDU: u8 = 0x60;
/// First byte of a BASE I header: its length. A message type in BCD can begin so.
const VISA: u8 = 22;

impl Header {
    /// The headers these bytes can have, the likelier one first, each with what follows it.
    pub(super) fn candidates(frame: &[u8], kind: HeaderKind) -> Vec<(Header, &[u8])> {
        let tpdu = || match frame.split_first_chunk::<5>() {
            Some((head @ [TPDU, ..], rest)) => Some((Header::Tpdu(*head), rest)),
            _ => None,
        };
        let visa = || match frame.split_first_chunk::<22>() {
            Some((head @ [VISA, ..], rest)) => Some((Header::Visa(*head), rest)),
            _ => None,
        };
        let iso = || match frame.split_first_chunk::<12>() {
            Some((head @ [b'I', b'S', b'O', digits @ ..], rest)) if digits.iter().all(u8::is_ascii_digit) => {
                Some((Header::Iso(*head), rest))
            }
            _ => None,
        };
        let none = Some((Header::None, frame));
        let found = match kind {
            HeaderKind::None => [none, None],
            HeaderKind::Tpdu => [tpdu(), None],
            HeaderKind::Visa => [visa(), None],
            HeaderKind::Iso => [iso(), None],
            HeaderKind::Auto => match tpdu().or_else(iso) {
                Some(told) => [Some(told), None],
                None => [none, visa()],
            },
        };
        found.into_iter().flatten().collect()
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Header::None
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Header::None => &[],
            Header::Tpdu(bytes) => bytes,
            Header::Visa(bytes) => bytes,
            Header::Iso(bytes) => bytes,
        }
    }

    /// The header of an answer: destination and source change places where the header has them.
    #[must_use]
    pub fn answering(self) -> Header {
        match self {
            Header::Tpdu([id, d1, d2, s1, s2]) => Header::Tpdu([id, s1, s2, d1, d2]),
            Header::Visa(mut bytes) => {
                // Bytes 6 to 8 are the destination, 9 to 11 the source.
                let (_, stations) = bytes.split_at_mut(5);
                stations[..6].rotate_left(3);
                Header::Visa(bytes)
            }
            other => other,
        }
    }
}

/// As text where it is text, else as hexadecimal digits.
impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Header::Iso(bytes) => serializer.serialize_str(&bytes.escape_ascii().to_string()),
            other => serializer.serialize_str(&digits::to_hex(other.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_told_by_their_bytes() {
        let kinds = |frame: &[u8]| -> Vec<usize> {
            Header::candidates(frame, HeaderKind::Auto).iter().map(|(header, _)| header.as_bytes().len()).collect()
        };
        assert_eq!(kinds(b"\x60\x00\x01\x02\x030800"), [5]);
        assert_eq!(kinds(b"ISO0150000170800"), [12]);
        assert_eq!(kinds(b"ISO"), [0]);
        assert_eq!(kinds(&[22; 30]), [0, 22]);
        assert!(Header::candidates(b"0800", HeaderKind::Tpdu).is_empty());
    }

    #[test]
    fn an_answer_goes_where_the_message_came_from() {
        let Header::Tpdu(bytes) = Header::Tpdu([0x60, 0, 1, 2, 3]).answering() else { panic!("a TPDU") };
        assert_eq!(bytes, [0x60, 2, 3, 0, 1]);
        let visa: Vec<u8> = (1..=22).collect();
        let answer = Header::Visa(visa.try_into().expect("22")).answering();
        assert_eq!(answer.as_bytes()[4..12], [5, 9, 10, 11, 6, 7, 8, 12]);
    }
}
