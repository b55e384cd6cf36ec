//! EMV data in group fields: kept, but for the tags that are card data.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Tags never kept: track 1 and 2, PAN, cardholder name, expiry date, PIN block, discretionary data of the tracks.
const CARD_TAGS: [u32; 10] = [0x56, 0x57, 0x5a, 0x5f20, 0x5f24, 0x99, 0x9f0b, 0x9f1f, 0x9f20, 0x9f6b];

/// Deepest nesting of templates that is read; below that all is dropped.
const DEPTH: u8 = 4;

/// Longest group kept that is no EMV data, such as `CAM`: in a longer one may be a track that lost its place.
const TEXT: usize = 16;

/// A group without card data. What is no EMV data is kept where it is short, with every run of digits masked that could be
/// a card number; of a longer one only its length is told.
pub(super) fn without_card_data(group: &str) -> String {
    // The tags may stand alone, behind `CAM`, or behind `CAM` and four digits of flags.
    for prefix in [0, 3, 7] {
        let Some((before, tags)) = group.split_at_checked(prefix) else { break };
        if prefix > 0 && !before.starts_with("CAM") {
            break;
        }
        if let Some(kept) = bytes(tags).filter(|bytes| !bytes.is_empty()).and_then(|bytes| without_tags(&bytes, DEPTH))
        {
            return format!("{before}{}", self::hex(&kept));
        }
    }
    match group.chars().count() {
        0..=TEXT => super::shown(group),
        count => format!("({count} characters)"),
    }
}

/// The data objects of EMV data by their tags, without those of the card; nothing where this is no EMV data.
pub(super) fn tags(hex: &str) -> Option<BTreeMap<u32, Vec<u8>>> {
    let bytes = bytes(hex)?;
    let mut rest = &bytes[..];
    let mut tags = BTreeMap::new();
    while !rest.is_empty() {
        let (tag, constructed, after) = tag(rest)?;
        let (length, after) = length(after)?;
        let (value, after) = after.split_at_checked(length)?;
        if !CARD_TAGS.contains(&tag) {
            tags.insert(tag, if constructed { without_tags(value, DEPTH)? } else { value.to_vec() });
        }
        rest = after;
    }
    Some(tags)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02X}");
        hex
    })
}

/// The data objects without card data; nothing where these bytes are no BER-TLV.
pub(in crate::protocol) fn kept(tags: &[u8]) -> Option<Vec<u8>> {
    without_tags(tags, DEPTH)
}

fn bytes(hex: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect();
    bytes.map(zeroize::Zeroizing::new)
}

/// The data objects without those of the card; nothing where these bytes are no BER-TLV.
fn without_tags(mut bytes: &[u8], depth: u8) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(bytes.len());
    while !bytes.is_empty() {
        let object = bytes;
        let (tag, constructed, rest) = tag(bytes)?;
        let (length, rest) = length(rest)?;
        let (value, rest) = rest.split_at_checked(length)?;
        let head = &object[..object.len() - rest.len() - length];
        if CARD_TAGS.contains(&tag) {
            // Dropped.
        } else if constructed {
            let inner = if depth > 0 { without_tags(value, depth - 1)? } else { Vec::new() };
            // A shorter template needs a new length; below 128 bytes it is one byte.
            kept.extend_from_slice(&head[..tag_bytes(object)]);
            match u8::try_from(inner.len()) {
                Ok(length @ ..=0x7f) => kept.push(length),
                Ok(length) => kept.extend([0x81, length]),
                Err(_) => kept.extend([&[0x82][..], &u16::try_from(inner.len()).ok()?.to_be_bytes()].concat()),
            }
            kept.extend(inner);
        } else {
            kept.extend_from_slice(head);
            kept.extend_from_slice(value);
        }
        bytes = rest;
    }
    Some(kept)
}

/// The tag at the beginning, whether it is a template, and what follows.
fn tag(bytes: &[u8]) -> Option<(u32, bool, &[u8])> {
    let count = tag_bytes(bytes);
    let (tag, rest) = bytes.split_at_checked(count)?;
    let first = *tag.first()?;
    let number = tag.iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
    Some((number, first & 0x20 != 0, rest))
}

/// Bytes of the tag at the beginning: one, or two or three where its low five bits are all set.
fn tag_bytes(bytes: &[u8]) -> usize {
    match bytes {
        [first, second, ..] if first & 0x1f == 0x1f => 2 + usize::from(second & 0x80 != 0),
        _ => 1,
    }
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [length @ ..=0x7f, rest @ ..] => Some((usize::from(*length), rest)),
        [0x81, length, rest @ ..] => Some((usize::from(*length), rest)),
        [0x82, high, low, rest @ ..] => Some((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_tags_are_dropped_at_every_depth() {
        assert_eq!(without_card_data("9B026000"), "9B026000");
        assert_eq!(without_card_data("CAM00009B0260005A084123456789011234"), "CAM00009B026000");
        assert_eq!(without_card_data("700D5A0841234567890112349C0100"), "70039C0100");
        assert_eq!(without_card_data("57104123456789011234D29122010000000F9C0100"), "9C0100");
        // A damaged length: no EMV data any more, so only digits are masked.
        assert!(!without_card_data("5A7F4123456789011234").contains("4123456789011234"));
    }

    #[test]
    fn tags_are_read_by_name() {
        let read = tags("5A084123456789011234910A5F91BC42284BD48D30308A02303077045F2401AA").expect("EMV data");
        let names: Vec<String> = read.iter().map(|(tag, value)| format!("{tag:X}={}", hex(value))).collect();
        assert_eq!(names, ["77=", "8A=3030", "91=5F91BC42284BD48D3030"]);
        assert_eq!(tags("9F26"), None);
        assert_eq!(tags("5A0853324X"), None);
    }

    #[test]
    fn other_text_is_masked() {
        assert_eq!(without_card_data("CAM"), "CAM");
        assert_eq!(without_card_data("X41234567890112"), "X412345****0112");
        assert_eq!(without_card_data(";4123456789011234=2912"), "(22 characters)");
    }
}
