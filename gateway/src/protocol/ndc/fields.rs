//! Fields of a message: separators, fixed columns, and the MAC at the end.

use super::{FS, digit};

/// Characters of a message sequence or time variant number.
const SEQUENCE: usize = 8;

/// The first field, and what follows its separator where it has one.
pub(super) fn first(text: &str) -> (&str, Option<&str>) {
    match text.split_once(FS) {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    }
}

/// A field by its place; one that the sender left off the end is empty.
pub(super) fn at<'a>(fields: &[&'a str], index: usize) -> &'a str {
    fields.get(index).copied().unwrap_or_default()
}

/// A message sequence or time variant number. A longer field is another one out of place, and may be anything.
pub(super) fn sequence(field: &str) -> String {
    Some(field).filter(|field| field.len() <= SEQUENCE).unwrap_or_default().to_owned()
}

/// Takes the MAC off the end where the last field can be one and stands at this place or behind it.
pub(super) fn mac<'a, 'b>(fields: &'a [&'b str], from: usize) -> (Option<String>, &'a [&'b str]) {
    match fields {
        [before @ .., last] if before.len() >= from && digit::is_security_number(last) => {
            (Some((*last).to_owned()), before)
        }
        _ => (None, fields),
    }
}

/// Takes characters off the front of a field.
pub(super) struct Columns<'a>(pub(super) &'a str);

impl<'a> Columns<'a> {
    /// The next characters, or as many as there are.
    pub(super) fn take(&mut self, count: usize) -> &'a str {
        let end = self.0.char_indices().nth(count).map_or(self.0.len(), |(at, _)| at);
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    /// The next character.
    pub(super) fn char(&mut self) -> Option<char> {
        self.take(1).chars().next()
    }

    /// The next `width` digits. Where they are none, what follows is not to be trusted: nothing is left.
    pub(super) fn digits(&mut self, width: usize) -> Option<&'a str> {
        let column = self.0.get(..width).filter(|column| column.bytes().all(|byte| byte.is_ascii_digit()));
        self.0 = if column.is_some() { &self.0[width..] } else { "" };
        column
    }

    /// The next number, of `width` digits.
    pub(super) fn number(&mut self, width: usize) -> Option<u32> {
        self.digits(width)?.parse().ok()
    }

    /// The next `count` numbers, or nothing where one of them is none.
    pub(super) fn numbers(&mut self, count: usize, width: usize) -> Option<Vec<u32>> {
        (0..count).map(|_| self.number(width)).collect()
    }

    /// Rows until the first that is cut short or damaged.
    pub(super) fn rows<T>(&mut self, mut row: impl FnMut(&mut Self) -> Option<T>) -> Vec<T> {
        std::iter::from_fn(|| if self.0.is_empty() { None } else { row(self) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_end_at_the_first_damaged_one() {
        let mut columns = Columns("0012é34");
        assert_eq!((columns.take(2), columns.digits(2), columns.take(1)), ("00", Some("12"), "é"));
        assert_eq!((columns.number(3), columns.0), (None, ""));
        assert_eq!(Columns("010203x4").rows(|row| row.number(2)), [1, 2, 3]);
        assert_eq!(Columns("00100002").numbers(2, 5), None);
    }

    #[test]
    fn a_mac_is_last_and_not_too_early() {
        assert_eq!(mac(&["a", "0123ABCD"], 1), (Some("0123ABCD".to_owned()), &["a"][..]));
        assert_eq!(mac(&["0123ABCD"], 1).0, None);
        assert_eq!(mac(&["a", "0123ABCG"], 0).0, None);
        assert_eq!(first("12"), ("12", None));
    }
}
