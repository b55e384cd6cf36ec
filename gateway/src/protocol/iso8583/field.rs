//! One field, read and written by its line in the spec.
//!
//! A value is text of one byte a character (Latin-1, whatever stands on the wire), or bytes where the field is binary.

use zeroize::Zeroizing;

use super::notation::{Content, Length};
use super::spec::{Encoding, Field, Fill};
use super::{digits, ebcdic};

/// What a field holds, in clear.
pub(super) type Value = Zeroizing<Vec<u8>>;

impl Field {
    /// Takes the field off the front of these bytes.
    ///
    /// # Errors
    /// What is wrong with it, without its content.
    pub(super) fn read<'a>(&self, bytes: &'a [u8]) -> Result<(Value, &'a [u8]), String> {
        let (length, bytes) = match self.notation.length {
            Length::Fixed(length) => (length, bytes),
            Length::Variable { digits, max } => self.read_length(bytes, digits, max)?,
        };
        let size = self.wire_bytes(length);
        let Some((wire, rest)) = bytes.split_at_checked(size) else {
            return Err(format!("{size} bytes are announced, {} are left", bytes.len()));
        };
        let value = match (self.notation.content, self.encoding) {
            (Content::Signed, Encoding::Bcd) => {
                let (sign, number) = wire.split_first().ok_or("no sign")?;
                let mut value = digits::unpack(number, length.saturating_sub(1), self.odd)?;
                value.insert(0, *sign);
                value
            }
            (_, Encoding::Bcd) => digits::unpack(wire, length, self.odd)?,
            (_, Encoding::Ascii | Encoding::Binary) => Zeroizing::new(wire.to_vec()),
            (_, Encoding::Ebcdic) => ebcdic::decode(wire),
            (_, Encoding::Hex) => digits::from_hex(wire).ok_or("no hexadecimal digits")?,
            (_, Encoding::EbcdicHex) => digits::from_hex(&ebcdic::decode(wire)).ok_or("no hexadecimal digits")?,
        };
        self.check(&value)?;
        Ok((value, rest))
    }

    /// Appends the field. A fixed field is filled up: numbers with zeros in front, text with spaces behind.
    ///
    /// # Errors
    /// What is wrong with the value, without it.
    pub(super) fn write(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let value = match self.notation.length {
            Length::Fixed(length) => self.filled(value, length)?,
            Length::Variable { digits, max } => {
                let fits = (value.len() <= max).then_some(value.len());
                fits.and_then(|length| digits::put_length(length, digits, self.prefix, out))
                    .ok_or_else(|| format!("{} is longer than {max}", value.len()))?;
                Zeroizing::new(value.to_vec())
            }
        };
        self.check(&value)?;
        let fill = if self.fill == Fill::Ones { 0x0f } else { 0 };
        match (self.notation.content, self.encoding) {
            (Content::Signed, Encoding::Bcd) => {
                let (sign, number) = value.split_first().ok_or("no sign")?;
                out.push(*sign);
                digits::pack(number, self.odd, fill, out);
            }
            (_, Encoding::Bcd) => digits::pack(&value, self.odd, fill, out),
            (_, Encoding::Ascii | Encoding::Binary) => out.extend_from_slice(&value),
            (_, Encoding::Ebcdic) => out.extend(value.iter().copied().map(ebcdic::from_latin1)),
            (_, Encoding::Hex) => out.extend_from_slice(digits::to_hex(&value).as_bytes()),
            (_, Encoding::EbcdicHex) => out.extend(digits::to_hex(&value).bytes().map(ebcdic::from_latin1)),
        }
        Ok(())
    }

    fn read_length<'a>(&self, bytes: &'a [u8], digits: usize, max: usize) -> Result<(usize, &'a [u8]), String> {
        let letters = "L".repeat(digits);
        let count = digits::prefix_bytes(digits, self.prefix);
        let (prefix, rest) =
            bytes.split_at_checked(count).ok_or_else(|| format!("the message ends in its {letters} prefix"))?;
        let Some(length) = digits::length(prefix, self.prefix) else {
            let shown = match self.prefix {
                Encoding::Ascii => prefix.escape_ascii().to_string(),
                _ => digits::to_hex(prefix).to_string(),
            };
            return Err(format!("{letters} prefix `{shown}` is no number"));
        };
        if length > max {
            return Err(format!("{letters} prefix says {length}, at most {max} is possible"));
        }
        Ok((length, rest))
    }

    /// Bytes on the wire of content so long.
    fn wire_bytes(&self, length: usize) -> usize {
        match (self.notation.content, self.encoding) {
            (Content::Signed, Encoding::Bcd) => 1 + length.saturating_sub(1).div_ceil(2),
            (_, Encoding::Bcd) => length.div_ceil(2),
            (_, Encoding::Hex | Encoding::EbcdicHex) => length * 2,
            (_, Encoding::Ascii | Encoding::Ebcdic | Encoding::Binary) => length,
        }
    }

    fn filled(&self, value: &[u8], length: usize) -> Result<Value, String> {
        let missing =
            length.checked_sub(value.len()).ok_or_else(|| format!("{} is longer than {length}", value.len()))?;
        let mut filled = Zeroizing::new(Vec::with_capacity(length));
        match self.notation.content {
            Content::Numeric => {
                filled.resize(missing, b'0');
                filled.extend_from_slice(value);
            }
            Content::Alphanumeric | Content::Text => {
                filled.extend_from_slice(value);
                filled.resize(length, b' ');
            }
            Content::Signed | Content::Track | Content::Binary if missing > 0 => {
                return Err(format!("{} is shorter than {length}", value.len()));
            }
            Content::Signed | Content::Track | Content::Binary => filled.extend_from_slice(value),
        }
        Ok(filled)
    }

    /// Whether a value is of the field's type.
    fn check(&self, value: &[u8]) -> Result<(), String> {
        let wrong = |allowed: fn(&u8) -> bool| value.iter().position(|byte| !allowed(byte));
        let (wrong, what) = match self.notation.content {
            Content::Numeric => (wrong(u8::is_ascii_digit), "a digit"),
            // Digits and separators; some write the separator of track 2 as D.
            Content::Track => (wrong(|byte| matches!(byte, b'0'..=b'?' | b'D')), "of a track"),
            Content::Alphanumeric => (wrong(|byte| matches!(byte, b' '..=b'~')), "printable"),
            Content::Signed => match value.split_first() {
                Some((b'C' | b'D', digits)) => (digits.iter().position(|byte| !byte.is_ascii_digit()), "a digit"),
                _ => return Err("the sign is neither C nor D".to_owned()),
            },
            Content::Text | Content::Binary => (None, ""),
        };
        wrong.map_or(Ok(()), |at| Err(format!("character {} is not {what}", at + 1)))
    }
}
