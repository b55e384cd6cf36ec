//! SQLite's files as <https://www.sqlite.org/fileformat2.html> describes them: their names, and the numbers in them.

use std::path::{Path, PathBuf};

/// The write-ahead log of the store at this path.
pub(super) fn wal_path(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

/// The size of that on the disk; 0 where there is none.
pub(super) fn wal_bytes(path: &Path) -> u64 {
    std::fs::metadata(wal_path(path)).map_or(0, |metadata| metadata.len())
}

/// The size of a page as a header says it; none where that can be no size.
pub(super) fn page_size(stored: u32) -> Option<usize> {
    let size = if stored == 1 { 65_536 } else { stored };
    (size.is_power_of_two() && (512..=65_536).contains(&size)).then(|| usize::try_from(size).ok()).flatten()
}

/// SQLite's number of one to nine bytes, and what comes after it.
pub(super) fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for (index, byte) in bytes.get(at..)?.iter().take(9).enumerate() {
        if index == 8 {
            return Some(((number << 8) | u64::from(*byte), at + 9));
        }
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, at + index + 1));
        }
    }
    None
}

/// A number of two bytes.
pub(super) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// A number of four bytes.
pub(super) fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}
