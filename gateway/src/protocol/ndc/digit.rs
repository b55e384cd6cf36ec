//! NDC digits: `0` to `9`, and `A` to `F` either as letters or as the six characters after `9` (`:` to `?`).

/// The value of an NDC hexadecimal digit in either writing.
pub fn value(digit: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(digit)).ok()?;
    match byte {
        b'0'..=b'?' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// Every digit of a field, or nothing where a character is none.
pub fn all(field: &str) -> Option<Vec<u8>> {
    field.chars().map(value).collect()
}

/// Decimal numbers of `width` characters each, or nothing where the field is not made of them.
pub fn numbers(field: &str, width: usize) -> Option<Vec<u32>> {
    if field.is_empty() || !field.len().is_multiple_of(width) || !field.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    (0..field.len()).step_by(width).map(|at| field[at..at + width].parse().ok()).collect()
}

/// Whether a field is exactly eight hexadecimal digits, in either writing: a time variant number or a MAC.
pub fn is_security_number(field: &str) -> bool {
    field.len() == 8 && field.chars().all(|digit| value(digit).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_writings_of_hexadecimal_are_read() {
        assert_eq!(all("09:?AFaf"), Some(vec![0, 9, 10, 15, 10, 15, 10, 15]));
        assert_eq!(all("0G"), None);
        assert_eq!(all("é"), None);
        assert!(is_security_number("01:2>1fF") && !is_security_number("0102030G") && !is_security_number("0102"));
        assert_eq!(numbers("0102", 2), Some(vec![1, 2]));
        assert_eq!(numbers("010", 2), None);
        assert_eq!(numbers("0x", 2), None);
    }
}
