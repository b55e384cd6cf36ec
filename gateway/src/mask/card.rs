//! One card number: how it is shown, and what tells it from other numbers.

use super::{LONGEST, SHOWN_BACK, SHOWN_FRONT};

/// Shortest number that is told from others by its check digit.
pub(super) const SHORTEST_ISSUED: usize = 13;

/// A card number with only its first six and last four digits left: `412345******1234`.
///
/// A number too short to hide anything behind those ten keeps its last four digits alone.
pub fn pan(digits: &str) -> String {
    let count = digits.chars().count();
    let front = if count > SHOWN_FRONT + SHOWN_BACK { SHOWN_FRONT } else { 0 };
    let back = count.saturating_sub(SHOWN_BACK);
    digits.chars().enumerate().map(|(at, digit)| if at < front || at >= back { digit } else { '*' }).collect()
}

/// Whether a name has a word in it that is a number somebody may have been issued a card with. Names are kept as they
/// are, for masked two of them could become one; in letters and digits mixed, as ids have them, there is no number.
pub fn names_card(name: &str) -> bool {
    name.split(|char: char| !char.is_ascii_alphanumeric()).any(|word| {
        let digits: Option<Vec<u8>> = word.bytes().map(|byte| byte.is_ascii_digit().then(|| byte - b'0')).collect();
        digits.is_some_and(|digits| is_issued(&digits))
    })
}

/// Whether digits, by their values, are such a number: length and first digits as the payment networks have them (ISO/IEC 7812-1), and a
/// right check digit.
pub(super) fn is_issued(digits: &[u8]) -> bool {
    (SHORTEST_ISSUED..=LONGEST).contains(&digits.len()) && begins_as_card(digits) && checks(digits)
}

fn begins_as_card(digits: &[u8]) -> bool {
    let [first, second, third, fourth, ..] = *digits else { return false };
    let four = u16::from(first) * 1000 + u16::from(second) * 100 + u16::from(third) * 10 + u16::from(fourth);
    match digits.len() {
        13 => first == 4,
        14 => matches!((first, second), (3, 0 | 6 | 8 | 9)),
        15 => matches!((first, second), (3, 4 | 7)),
        _ => matches!(first, 3..=6) || (2200..=2204).contains(&four) || (2221..=2720).contains(&four),
    }
}

/// The check digit of ISO/IEC 7812-1 (Luhn).
fn checks(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit) * 2) {
            (0, double) => double / 2,
            (_, double @ 10..) => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}
