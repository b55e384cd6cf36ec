//! The message type indicator: version, class, function and origin, one digit each.

use std::fmt;

use serde::{Serialize, Serializer};

/// What a message is about: the second digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 1: whether a transaction would be allowed.
    Authorisation,
    /// 2: a transaction.
    Financial,
    /// 3: a change of files.
    FileAction,
    /// 4: a transaction is taken back, or charged back.
    Reversal,
    /// 5: totals are compared.
    Reconciliation,
    /// 6: messages between people and systems.
    Administrative,
    /// 7: fees.
    FeeCollection,
    /// 8: the network itself.
    Network,
}

/// A message type indicator of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mti([u8; 4]);

impl Mti {
    /// The indicator of these four digits; nothing where no standard has such a one.
    pub fn new(digits: [u8; 4]) -> Option<Mti> {
        // Functions above 4 and origins above 5 are reserved.
        let valid = matches!(digits, [b'0'..=b'2', b'1'..=b'8', b'0'..=b'4', b'0'..=b'5']);
        valid.then_some(Mti(digits))
    }

    /// The four digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// 0 for 1987, 1 for 1993, 2 for 2003.
    pub fn version(self) -> u8 {
        self.0[0].wrapping_sub(b'0')
    }

    /// What it is about.
    pub fn class(self) -> Class {
        match self.0[1] {
            b'1' => Class::Authorisation,
            b'2' => Class::Financial,
            b'3' => Class::FileAction,
            b'4' => Class::Reversal,
            b'5' => Class::Reconciliation,
            b'6' => Class::Administrative,
            b'7' => Class::FeeCollection,
            _ => Class::Network,
        }
    }

    /// Whether it answers: the third digit is 1 (response) or 3 (response to an advice).
    pub fn is_response(self) -> bool {
        matches!(self.0[2], b'1' | b'3')
    }

    /// Whether it tells what was done already: the third digit is 2 (advice) or 4 (notification).
    pub fn is_advice(self) -> bool {
        matches!(self.0[2], b'2' | b'4')
    }

    /// Whether it was sent before: the last digit is odd.
    pub fn is_repeat(self) -> bool {
        matches!(self.0[3], b'1' | b'3' | b'5')
    }
}

impl fmt::Display for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Mti {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_digits() {
        let mti = |digits: &str| Mti::new(digits.as_bytes().try_into().expect("four"));
        let advice = mti("0421").expect("valid");
        assert_eq!((advice.version(), advice.class()), (0, Class::Reversal));
        assert!(advice.is_advice() && advice.is_repeat() && !advice.is_response());
        assert!(mti("1814").expect("valid").is_response());
        for wrong in ["0000", "0900", "3200", "0250", "0208", "02A0"] {
            assert_eq!(mti(wrong), None, "{wrong}");
        }
    }
}
