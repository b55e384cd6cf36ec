//! The bitmap: which fields a message has. Bit 1 of the first eight bytes says that eight more follow.

use super::digits;
use super::ebcdic;
use super::spec::Encoding;

/// The field whose bit would announce a third bitmap. No standard of 1987 or 1993 has one.
const THIRD: u8 = 65;

/// Reads the bitmap and says which fields there are, and what follows.
pub(super) fn read(bytes: &[u8], encoding: Encoding) -> Result<(Vec<u8>, &[u8]), String> {
    let (first, rest) = half(bytes, encoding)?;
    let (second, rest) = if first & 1 << 63 == 0 { (0, rest) } else { half(rest, encoding)? };
    let bits = u128::from(first) << 64 | u128::from(second);
    let fields: Vec<u8> = (2..=128).filter(|field| bits & bit(*field) != 0).collect();
    if fields.contains(&THIRD) {
        return Err("bitmap: field 65 announces a third bitmap".to_owned());
    }
    Ok((fields, rest))
}

/// Appends the bitmap of these fields, eight or sixteen bytes of it.
pub(super) fn write(fields: impl Iterator<Item = u8>, encoding: Encoding, out: &mut Vec<u8>) {
    let mut bits = fields.fold(0, |bits, field| bits | bit(field));
    if bits & u128::from(u64::MAX) != 0 {
        bits |= bit(1);
    }
    let bytes = bits.to_be_bytes();
    let bytes = if bits & bit(1) == 0 { &bytes[..8] } else { &bytes[..] };
    match encoding {
        Encoding::Hex | Encoding::Ascii => out.extend_from_slice(digits::to_hex(bytes).as_bytes()),
        Encoding::EbcdicHex | Encoding::Ebcdic => out.extend(digits::to_hex(bytes).bytes().map(ebcdic::from_latin1)),
        Encoding::Binary | Encoding::Bcd => out.extend_from_slice(bytes),
    }
}

/// The bit of a field, 1 to 128: the first one is the highest.
fn bit(field: u8) -> u128 {
    1_u128.checked_shl(128_u32.saturating_sub(u32::from(field))).unwrap_or_default()
}

fn half(bytes: &[u8], encoding: Encoding) -> Result<(u64, &[u8]), String> {
    let count = if matches!(encoding, Encoding::Binary | Encoding::Bcd) { 8 } else { 16 };
    let (bytes, rest) = bytes.split_at_checked(count).ok_or("bitmap: the message ends in it")?;
    let bits = match encoding {
        Encoding::Hex | Encoding::Ascii => digits::from_hex(bytes),
        Encoding::EbcdicHex | Encoding::Ebcdic => digits::from_hex(&ebcdic::decode(bytes)),
        Encoding::Binary | Encoding::Bcd => Some(bytes.to_vec().into()),
    };
    let bits = bits.ok_or("bitmap: no hexadecimal digits")?;
    let bits = <[u8; 8]>::try_from(bits.as_slice()).map_err(|_| "bitmap: not eight bytes")?;
    Ok((u64::from_be_bytes(bits), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps_of_every_encoding_read_and_write() {
        let one = (&[2, 3, 64][..], "6000000000000001");
        let two = (&[7, 11, 70, 128][..], "82200000000000000400000000000001");
        for (fields, hex) in [one, two] {
            let binary = digits::from_hex(hex.as_bytes()).expect("hexadecimal").to_vec();
            let ebcdic: Vec<u8> = hex.bytes().map(ebcdic::from_latin1).collect();
            for (wire, encoding) in
                [(hex.as_bytes().to_vec(), Encoding::Hex), (binary, Encoding::Binary), (ebcdic, Encoding::EbcdicHex)]
            {
                let mut out = Vec::new();
                write(fields.iter().copied(), encoding, &mut out);
                assert_eq!(out, wire);
                assert_eq!(read(&wire, encoding), Ok((fields.to_vec(), &[][..])));
            }
        }
    }

    #[test]
    fn a_bitmap_cut_off_or_with_a_third_part_is_refused() {
        assert!(read(b"82200000000000000400", Encoding::Hex).is_err());
        assert!(read(b"822000000000000x", Encoding::Hex).is_err());
        let third = read(b"80000000000000008000000000000000", Encoding::Hex).expect_err("refused");
        assert!(third.contains("third"), "{third}");
    }
}
