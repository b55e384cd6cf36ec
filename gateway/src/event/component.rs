//! The parts of a device that an event can be about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part of a device. Numbered parts count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The cash handler's bin for notes it would not give out.
    RejectBin,
    /// The bin for notes that were presented and pulled back.
    RetractBin,
    /// The card reader's bin for captured cards.
    CaptureBin,
    /// The depository's bin.
    DepositBin,
    /// A printer's paper.
    Paper,
    /// A printer's ribbon.
    Ribbon,
    /// A printer's print head.
    PrintHead,
    /// A printer's knife.
    Knife,
    /// The safe.
    Safe,
    /// The cabinet above it.
    Cabinet,
    /// The shutter in front of notes.
    Shutter,
    /// A cash cassette.
    Cassette(u8),
    /// A coin hopper.
    Hopper(u8),
    /// A storage unit of any kind, as XFS4IoT numbers them.
    Unit(u8),
    /// Another supply, by its place in the message.
    Supply(u8),
}

/// The parts that have no number, with the low byte of their code.
const SINGLE: [(Component, u8, &str); 11] = [
    (Component::RejectBin, 1, "reject_bin"),
    (Component::RetractBin, 2, "retract_bin"),
    (Component::CaptureBin, 3, "capture_bin"),
    (Component::DepositBin, 4, "deposit_bin"),
    (Component::Paper, 5, "paper"),
    (Component::Ribbon, 6, "ribbon"),
    (Component::PrintHead, 7, "print_head"),
    (Component::Knife, 8, "knife"),
    (Component::Safe, 9, "safe"),
    (Component::Cabinet, 10, "cabinet"),
    (Component::Shutter, 11, "shutter"),
];

/// What makes a numbered part of its number.
type Numbered = fn(u8) -> Component;

/// The numbered parts, with the high byte of their code.
const NUMBERED: [(Numbered, u8, &str); 4] = [
    (Component::Cassette, 1, "cassette_"),
    (Component::Hopper, 2, "hopper_"),
    (Component::Supply, 3, "supply_"),
    (Component::Unit, 4, "unit"),
];

impl Component {
    /// The number in the plugin contract: the family in the high byte, the part's number in the low one.
    pub fn code(self) -> u16 {
        match self {
            Component::Cassette(n) => 0x100 | u16::from(n),
            Component::Hopper(n) => 0x200 | u16::from(n),
            Component::Supply(n) => 0x300 | u16::from(n),
            Component::Unit(n) => 0x400 | u16::from(n),
            single => SINGLE.iter().find(|row| row.0 == single).map_or(0, |row| u16::from(row.1)),
        }
    }

    /// The part with this number in the plugin contract.
    pub fn from_code(code: u16) -> Option<Component> {
        let [family, number] = code.to_be_bytes();
        if family == 0 {
            return SINGLE.iter().find(|row| row.1 == number).map(|row| row.0);
        }
        NUMBERED.iter().find(|row| row.1 == family).map(|row| row.0(number))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Component::Cassette(n) => write!(f, "cassette_{n}"),
            Component::Hopper(n) => write!(f, "hopper_{n}"),
            Component::Supply(n) => write!(f, "supply_{n}"),
            Component::Unit(n) => write!(f, "unit{n}"),
            single => f.write_str(SINGLE.iter().find(|row| row.0 == *single).map_or("", |row| row.2)),
        }
    }
}

impl FromStr for Component {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let single = SINGLE.iter().find(|row| row.2 == text).map(|row| row.0);
        let numbered =
            || NUMBERED.iter().find_map(|(make, _, prefix)| text.strip_prefix(prefix)?.parse().ok().map(make));
        single.or_else(numbered).ok_or_else(|| format!("unknown component `{text}`"))
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_read_back() {
        let numbered = NUMBERED.iter().flat_map(|row| (1..=9).map(row.0));
        for component in SINGLE.iter().map(|row| row.0).chain(numbered) {
            assert_eq!(component.to_string().parse(), Ok(component));
            assert_eq!(Component::from_code(component.code()), Some(component));
        }
        assert!("cassette_x".parse::<Component>().is_err());
    }
}
