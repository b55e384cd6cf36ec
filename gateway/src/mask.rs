//! Card data in, masked out. Whatever text leaves a codec has passed through here.
//!
//! PCI DSS 3.4.1 allows at most the first six and the last four digits of a card number to be shown. Three degrees:
//!
//! - [`number`], where digits are known to mean something else (counters, a fitness of every device): only what by its
//!   length, first digits and check digit is a card number.
//! - [`text`], [`free`] and [`printed`], where a text may hold anything: whatever could be a card number, and more.
//! - [`bytes`], where nobody knows what the bytes are: nothing but their structure.
//!
//! Text in base64 is not recognised: its letters are those of words and names. Codecs drop the fields that hold it.
//!
//! Every function takes time in proportion to its text, whatever stands in it: what comes from outside may be a megabyte
//! of any one character. [`facts`] and [`Shown`] are the gate: each value that leaves a message passes one of them.

mod card;
mod frame;
mod gate;
mod number;
mod secret;
#[cfg(test)]
mod tests;
mod track;

use std::borrow::Cow;

pub use card::{names_card, pan};
pub use frame::{bytes, redacted};
pub use gate::{Shown, facts, value};

use number::Degree;

/// Digits of a card number that may be shown in front, and behind.
const SHOWN_FRONT: usize = 6;
const SHOWN_BACK: usize = 4;
/// Shortest and longest card number (ISO/IEC 7812-1: up to 19 digits; issued ones have 12 at least).
const SHORTEST: usize = 12;
const LONGEST: usize = 19;

/// Text in which digits have a meaning of their own, with what is a card number all the same masked.
///
/// That is a run of 13 to 19 digits, in groups or not, which begins as card numbers do and whose check digit is right.
/// One in ten of other numbers that begin so has a right check digit as well.
pub fn number(text: &str) -> Cow<'_, str> {
    masked(text, Degree::Issued)
}

/// Text with every card number and all track data in it masked, and nothing else changed.
///
/// - A run of 12 to 19 digits is masked whether or not its check digit is right: test cards and typing errors are card
///   data too. Longer runs (counters, track data) are cut to their last four digits.
/// - So is a number in the groups that cards are printed in (`4123 4567 8901 1234`, `4123-456789-01234`).
/// - In other groups, and with anything else between them (`4123.4567.8901.1234`, `4 1 2 3 …`), a number is masked where
///   its length, first digits and check digit are a card's: amounts, dates and counters stay readable.
/// - What follows a number as on a magnetic track (`=` or `D` and digits; `^NAME^` and digits) is hidden wholly.
pub fn text(text: &str) -> Cow<'_, str> {
    masked(text, Degree::Any)
}

/// Text that a program wrote as it liked: masked like [`text`], and so is every run of 16 or more hexadecimal digits in
/// capitals, letters among them: a PIN block, chip data. In small letters only where the text says that it is a PIN
/// block: sessions and traces have such names.
pub fn free(text: &str) -> Cow<'_, str> {
    both(secret::hidden(text, secret::Writer::Program))
}

/// What a printer printed: masked like [`free`], hexadecimal digits in small letters too, and NDC's own (`:;<=>?` for A
/// to F) where there are as many as a PIN block has.
pub fn printed(text: &str) -> Cow<'_, str> {
    both(secret::hidden(text, secret::Writer::Printer))
}

fn both(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => masked(text, Degree::Any),
        Cow::Owned(text) => Cow::Owned(match masked(&text, Degree::Any) {
            Cow::Borrowed(_) => text,
            Cow::Owned(masked) => masked,
        }),
    }
}

fn masked(text: &str, degree: Degree) -> Cow<'_, str> {
    let (text, numbers) = number::hidden(text, degree);
    track::hidden(text, &numbers)
}

/// Counts the steps that a function of this module takes, so that a test can tell time that grows with the square of
/// the text without a clock.
#[cfg(test)]
mod steps {
    use std::cell::Cell;

    thread_local!(static TAKEN: Cell<usize> = const { Cell::new(0) });

    pub(super) fn take(count: usize) {
        TAKEN.set(TAKEN.get() + count);
    }

    /// How many steps this takes.
    pub(super) fn of(work: impl FnOnce()) -> usize {
        TAKEN.set(0);
        work();
        TAKEN.get()
    }
}

#[cfg(not(test))]
mod steps {
    pub(super) fn take(_: usize) {}
}
