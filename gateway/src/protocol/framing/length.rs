//! The length before a frame, in the forms that links write it.

use serde::{Deserialize, Serialize};

/// How a length is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthForm {
    /// Two bytes, the high one first.
    #[default]
    Binary2,
    /// Four decimal digits in ASCII.
    Ascii4,
    /// Four decimal digits, two a byte.
    Bcd2,
    /// Two bytes, the high one first, and two that are zero (VISA).
    Visa4,
}

impl LengthForm {
    /// Bytes that the length itself takes.
    pub fn bytes(self) -> usize {
        match self {
            LengthForm::Binary2 | LengthForm::Bcd2 => 2,
            LengthForm::Ascii4 | LengthForm::Visa4 => 4,
        }
    }

    /// The number these bytes say; nothing where they are none.
    pub(super) fn announced(self, length: &[u8]) -> Option<usize> {
        let number = |digits: [u8; 4]| {
            digits.iter().try_fold(0, |number, digit| (*digit <= 9).then(|| number * 10 + usize::from(*digit)))
        };
        match (self, length) {
            (LengthForm::Binary2, [high, low]) | (LengthForm::Visa4, [high, low, 0, 0]) => {
                Some(usize::from(u16::from_be_bytes([*high, *low])))
            }
            (LengthForm::Bcd2, [one, two]) => number([one >> 4, one & 0x0f, two >> 4, two & 0x0f]),
            (LengthForm::Ascii4, [a, b, c, d]) => number([*a, *b, *c, *d].map(|digit| digit.wrapping_sub(b'0'))),
            _ => None,
        }
    }

    /// The bytes that say this number; nothing where it is too large for the form.
    pub(super) fn announce(self, number: usize) -> Option<Vec<u8>> {
        let short = u16::try_from(number).ok();
        let decimal = (number <= 9999).then(|| format!("{number:04}").into_bytes());
        match self {
            LengthForm::Binary2 => short.map(|short| short.to_be_bytes().to_vec()),
            LengthForm::Visa4 => short.map(|short| [short.to_be_bytes(), [0, 0]].concat()),
            LengthForm::Ascii4 => decimal,
            LengthForm::Bcd2 => {
                decimal.map(|digits| digits.chunks(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0')).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_form() {
        for (form, bytes, announced) in [
            (LengthForm::Binary2, &[0x01, 0x02][..], Some(258)),
            (LengthForm::Ascii4, b"0055", Some(55)),
            (LengthForm::Ascii4, b"00 5", None),
            (LengthForm::Bcd2, &[0x01, 0x99], Some(199)),
            (LengthForm::Bcd2, &[0x01, 0x9a], None),
            (LengthForm::Visa4, &[0x00, 0x37, 0, 0], Some(55)),
            (LengthForm::Visa4, &[0x00, 0x37, 0, 1], None),
        ] {
            assert_eq!(form.announced(bytes), announced, "{form:?} of {bytes:02x?}");
            assert_eq!(form.bytes(), bytes.len());
            if let Some(announced) = announced {
                assert_eq!(form.announce(announced).as_deref(), Some(bytes));
            }
        }
    }
}
