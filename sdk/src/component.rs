//! The parts of a device: the family in the high byte, the part's number, from 1, in the low one. A test of the gateway
//! compares this file with its own table.

/// The cash handler's bin for notes it would not give out.
pub const REJECT_BIN: u16 = 1;
/// The bin for notes that were presented and pulled back.
pub const RETRACT_BIN: u16 = 2;
/// The card reader's bin for captured cards.
pub const CAPTURE_BIN: u16 = 3;
/// The depository's bin.
pub const DEPOSIT_BIN: u16 = 4;
/// A printer's paper.
pub const PAPER: u16 = 5;
/// A printer's ribbon.
pub const RIBBON: u16 = 6;
/// A printer's print head.
pub const PRINT_HEAD: u16 = 7;
/// A printer's knife.
pub const KNIFE: u16 = 8;
/// The safe.
pub const SAFE: u16 = 9;
/// The cabinet above it.
pub const CABINET: u16 = 10;
/// The shutter in front of notes.
pub const SHUTTER: u16 = 11;

const SINGLE: [(u16, &str); 11] = [
    (REJECT_BIN, "reject_bin"),
    (RETRACT_BIN, "retract_bin"),
    (CAPTURE_BIN, "capture_bin"),
    (DEPOSIT_BIN, "deposit_bin"),
    (PAPER, "paper"),
    (RIBBON, "ribbon"),
    (PRINT_HEAD, "print_head"),
    (KNIFE, "knife"),
    (SAFE, "safe"),
    (CABINET, "cabinet"),
    (SHUTTER, "shutter"),
];

const NUMBERED: [(u8, &str); 4] = [(1, "cassette_"), (2, "hopper_"), (3, "supply_"), (4, "unit")];

/// The cash cassette with this number.
pub const fn cassette(number: u8) -> u16 {
    u16::from_be_bytes([1, number])
}

/// The coin hopper with this number.
pub const fn hopper(number: u8) -> u16 {
    u16::from_be_bytes([2, number])
}

/// The number of the cash cassette, where the part is one.
pub fn cassette_number(component: u16) -> Option<u8> {
    let [family, number] = component.to_be_bytes();
    (family == 1).then_some(number)
}

/// The part's name: `cassette_2`; empty for a part that is newer than this SDK.
pub fn name(component: u16) -> String {
    let [family, number] = component.to_be_bytes();
    if let Some(row) = SINGLE.iter().find(|row| row.0 == component) {
        return row.1.to_owned();
    }
    NUMBERED.iter().find(|row| row.0 == family).map_or_else(String::new, |row| format!("{}{number}", row.1))
}

/// The part with this name.
pub fn named(name: &str) -> Option<u16> {
    let numbered = || {
        NUMBERED.iter().find_map(|row| {
            let number = name.strip_prefix(row.1)?.parse().ok()?;
            Some(u16::from_be_bytes([row.0, number]))
        })
    };
    SINGLE.iter().find(|row| row.1 == name).map(|row| row.0).or_else(numbered)
}
