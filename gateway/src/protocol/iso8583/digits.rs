//! Numbers as they stand on the wire: BCD half bytes, lengths in digits of any kind, hexadecimal digits, check digits.

use zeroize::Zeroizing;

use super::ebcdic;
use super::spec::{Encoding, Side};

/// Half bytes to characters: 0 to 9 are digits, D is the separator `=` of a track, the others `:;<>?`.
///
/// Where `count` is odd one half byte is spare; it must be 0 or F.
pub(super) fn unpack(bytes: &[u8], count: usize, odd: Side) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len() * 2));
    for byte in bytes {
        out.extend([b'0' + (byte >> 4), b'0' + (byte & 0x0f)]);
    }
    if out.len() > count {
        let spare = match odd {
            Side::Left => out.remove(0),
            Side::Right => out.pop().unwrap_or_default(),
        };
        if !matches!(spare, b'0' | b'?') {
            return Err("the spare half byte is neither 0 nor F".to_owned());
        }
    }
    Ok(out)
}

/// Characters to half bytes, the spare one filled.
pub(super) fn pack(characters: &[u8], odd: Side, fill: u8, out: &mut Vec<u8>) {
    let spare = (!characters.len().is_multiple_of(2)).then_some(fill);
    let (front, behind) = match odd {
        Side::Left => (spare, None),
        Side::Right => (None, spare),
    };
    let halves = front.into_iter().chain(characters.iter().map(|byte| byte & 0x0f)).chain(behind);
    let mut high = None;
    for half in halves {
        match high.take() {
            None => high = Some(half),
            Some(high) => out.push(high << 4 | half),
        }
    }
}

/// Bytes that a length of so many digits takes.
pub(super) fn prefix_bytes(digits: usize, encoding: Encoding) -> usize {
    match encoding {
        Encoding::Bcd => digits.div_ceil(2),
        // One byte counts to 255, two to 65535.
        Encoding::Binary => 1 + usize::from(digits > 2),
        _ => digits,
    }
}

/// The length that a prefix announces; nothing where it is no number.
pub(super) fn length(prefix: &[u8], encoding: Encoding) -> Option<usize> {
    let radix = if encoding == Encoding::Binary { 256 } else { 10 };
    let mut digits = Vec::with_capacity(prefix.len() * 2);
    for &byte in prefix {
        match encoding {
            Encoding::Binary => digits.push(byte),
            Encoding::Bcd => digits.extend([byte >> 4, byte & 0x0f]),
            Encoding::Ebcdic | Encoding::EbcdicHex => digits.push(ebcdic::to_latin1(byte).wrapping_sub(b'0')),
            Encoding::Ascii | Encoding::Hex => digits.push(byte.wrapping_sub(b'0')),
        }
    }
    digits
        .iter()
        .try_fold(0_usize, |number, &digit| (usize::from(digit) < radix).then(|| number * radix + usize::from(digit)))
}

/// Appends a length; nothing where it does not fit.
pub(super) fn put_length(length: usize, digits: usize, encoding: Encoding, out: &mut Vec<u8>) -> Option<()> {
    if encoding == Encoding::Binary {
        let bytes = u16::try_from(length).ok()?.to_be_bytes();
        let (high, low) = bytes.split_at(2 - prefix_bytes(digits, encoding));
        out.extend_from_slice(low);
        return high.iter().all(|byte| *byte == 0).then_some(());
    }
    let text = format!("{length:0digits$}");
    if text.len() > digits {
        return None;
    }
    match encoding {
        Encoding::Bcd => pack(text.as_bytes(), Side::Left, 0, out),
        Encoding::Ebcdic | Encoding::EbcdicHex => out.extend(text.bytes().map(ebcdic::from_latin1)),
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Some(())
}

/// Hexadecimal digits to bytes; nothing where they are none.
pub(super) fn from_hex(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut out = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    for pair in digits.chunks(2) {
        let [high, low] = pair else { return None };
        out.push(value(high)? << 4 | value(low)?);
    }
    Some(out)
}

/// Bytes as hexadecimal digits, capital ones.
pub(super) fn to_hex(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut out = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0x0f)]]);
    }
    out
}

/// Whether the last digit is the check digit of the others (ISO/IEC 7812-1).
pub(super) fn checks(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .map(|digit| u32::from(digit.wrapping_sub(b'0')))
        .zip([1, 2].into_iter().cycle())
        .map(|(digit, weight)| digit * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_number_of_digits_leaves_a_half_byte_on_either_side() {
        for (characters, odd, fill, wire) in [
            ("123", Side::Left, 0, &[0x01, 0x23][..]),
            ("123", Side::Right, 0, &[0x12, 0x30]),
            ("123", Side::Right, 0xf, &[0x12, 0x3f]),
            ("12=4", Side::Left, 0, &[0x12, 0xd4]),
            ("", Side::Left, 0, &[]),
        ] {
            let mut out = Vec::new();
            pack(characters.as_bytes(), odd, fill, &mut out);
            assert_eq!(out, wire, "{characters}");
            assert_eq!(unpack(wire, characters.len(), odd).expect("digits").as_slice(), characters.as_bytes());
        }
        assert!(unpack(&[0x91, 0x23], 3, Side::Left).is_err());
    }

    #[test]
    fn check_digits() {
        assert!(checks(b"4123456789012349"));
        assert!(!checks(b"4123456789012348"));
    }

    #[test]
    fn lengths_of_every_kind() {
        for (number, digits, encoding, wire) in [
            (7, 2, Encoding::Ascii, &b"07"[..]),
            (123, 3, Encoding::Ebcdic, &[0xf1, 0xf2, 0xf3]),
            (37, 2, Encoding::Bcd, &[0x37]),
            (11, 3, Encoding::Bcd, &[0x00, 0x11]),
            (99, 2, Encoding::Binary, &[0x63]),
            (999, 3, Encoding::Binary, &[0x03, 0xe7]),
        ] {
            let mut out = Vec::new();
            put_length(number, digits, encoding, &mut out).expect("fits");
            assert_eq!(out, wire);
            assert_eq!(prefix_bytes(digits, encoding), wire.len());
            assert_eq!(length(wire, encoding), Some(number));
        }
        assert_eq!(length(b"1a", Encoding::Ascii), None);
        assert_eq!(length(&[0x1c], Encoding::Bcd), None);
        assert!(put_length(100, 2, Encoding::Ascii, &mut Vec::new()).is_none());
        assert!(put_length(300, 2, Encoding::Binary, &mut Vec::new()).is_none());
    }
}
