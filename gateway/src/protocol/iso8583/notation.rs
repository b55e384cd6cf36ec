//! The trade's notation of a field: `n6` is six digits, `n..19` up to nineteen behind a length of two digits.

use std::str::FromStr;

/// What a field consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `n`: digits.
    Numeric,
    /// `x+n`: C (credit) or D (debit), then digits.
    Signed,
    /// `z`: track data: digits and separators.
    Track,
    /// `a`, `an`, `anp`: printable text.
    Alphanumeric,
    /// `ans`, `as`, `ns`, `s`: any text, and in practice any bytes.
    Text,
    /// `b`: bytes.
    Binary,
}

/// How long a field is, in characters; in bytes for binary content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Always so long.
    Fixed(usize),
    /// As long as the length before it says.
    Variable {
        /// Digits of the length: 1 to 4.
        digits: usize,
        /// Longest content.
        max: usize,
    },
}

/// Content and length together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notation {
    /// What it consists of.
    pub content: Content,
    /// How long it is. The sign of `x+n` counts.
    pub length: Length,
}

/// Longest content that four digits can announce.
const LONGEST: usize = 9999;

impl FromStr for Notation {
    type Err = String;

    fn from_str(text: &str) -> Result<Notation, String> {
        let letters = text.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let rest = &text[letters.len()..];
        let size = rest.trim_start_matches('.');
        let content = match letters {
            "n" => Content::Numeric,
            "x+n" => Content::Signed,
            "z" => Content::Track,
            "a" | "an" | "anp" => Content::Alphanumeric,
            "ans" | "as" | "ns" | "s" => Content::Text,
            "b" => Content::Binary,
            other => return Err(format!("`{other}` is no type: n, x+n, z, a, an, ans and b are")),
        };
        let sign = usize::from(content == Content::Signed);
        let size = size.parse().ok().filter(|size| (1..=LONGEST).contains(size));
        let size: usize = size.ok_or_else(|| format!("`{text}` has no length of 1 to {LONGEST}"))?;
        let length = match rest.bytes().take_while(|byte| *byte == b'.').count() {
            0 => Length::Fixed(size + sign),
            digits @ 1..=4 if (size + sign).to_string().len() <= digits => {
                Length::Variable { digits, max: size + sign }
            }
            digits => return Err(format!("`{text}`: {size} does not fit into {digits} digits of length")),
        };
        Ok(Notation { content, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_reads() {
        let variable = |digits, max| Length::Variable { digits, max };
        for (text, content, length) in [
            ("n6", Content::Numeric, Length::Fixed(6)),
            ("n..19", Content::Numeric, variable(2, 19)),
            ("x+n8", Content::Signed, Length::Fixed(9)),
            ("z..37", Content::Track, variable(2, 37)),
            ("anp12", Content::Alphanumeric, Length::Fixed(12)),
            ("ans...999", Content::Text, variable(3, 999)),
            ("b....9999", Content::Binary, variable(4, 9999)),
        ] {
            assert_eq!(text.parse(), Ok(Notation { content, length }), "{text}");
        }
    }

    #[test]
    fn what_is_no_notation_is_refused() {
        for text in ["", "n", "n0", "q4", "n..", "n.6.", "n..100", "n.....9", "n99999", "n-1", "ü3", "n6x"] {
            assert!(text.parse::<Notation>().is_err(), "{text}");
        }
    }
}
