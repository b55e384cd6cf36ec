//! The kinds of fields, and the table of transaction codes.

/// Whether a field is a transaction code: two digits.
pub(super) fn is_code(field: &[u8]) -> bool {
    matches!(field, [b'0'..=b'9', b'0'..=b'9'])
}

/// Whether a field has so many digits and nothing else.
pub(super) fn digits(field: &[u8], count: std::ops::RangeInclusive<usize>) -> bool {
    count.contains(&field.len()) && field.iter().all(u8::is_ascii_digit)
}

/// A field as text, without the blanks that fill it up; what could be a card number is masked.
pub(super) fn text(field: &[u8]) -> String {
    let text: String = field.iter().copied().map(char::from).collect();
    crate::mask::text(text.trim()).into_owned()
}

/// The same; `None` where it is empty.
pub(super) fn filled(field: Option<&&[u8]>) -> Option<String> {
    field.map(|field| text(field)).filter(|text| !text.is_empty())
}

/// An amount in the smallest unit of its currency: eight digits, or as many as fit a 64-bit number.
pub(super) fn amount(field: Option<&&[u8]>) -> Option<i64> {
    let field = field.filter(|field| digits(field, 1..=12))?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// What a transaction code asks for, and from or for which account.
pub(super) fn meaning(code: &str) -> Option<(&'static str, Option<&'static str>)> {
    let row = CODES.iter().find(|row| row.0 == code)?;
    Some((row.1, Some(row.2).filter(|account| !account.is_empty())))
}

const CODES: [(&str, &str, &str); 27] = [
    ("01", "pin_change", ""),
    ("11", "withdrawal", "checking"),
    ("12", "withdrawal", "savings"),
    ("15", "withdrawal", "credit"),
    ("21", "transfer", "checking"),
    ("22", "transfer", "savings"),
    ("25", "transfer", "credit"),
    ("29", "reversal", ""),
    ("31", "balance", "checking"),
    ("32", "balance", "savings"),
    ("35", "balance", "credit"),
    ("41", "non_cash", "checking"),
    ("42", "non_cash", "savings"),
    ("43", "non_cash", "credit"),
    ("44", "non_cash", ""),
    ("45", "non_cash", "credit"),
    ("46", "non_cash", "checking"),
    ("47", "non_cash", "savings"),
    ("48", "non_cash", ""),
    ("49", "non_cash", ""),
    ("50", "totals", ""),
    ("51", "totals_day_close", ""),
    ("52", "non_cash", ""),
    ("53", "non_cash", ""),
    ("60", "configuration", ""),
    // The amount stands in a miscellaneous field, which is not read.
    ("61", "withdrawal", "checking"),
    ("62", "withdrawal", "savings"),
];
