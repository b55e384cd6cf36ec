//! What a core dump would hold: every writable page of a running process.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Largest piece read at once.
const PIECE: u64 = 4 * 1024 * 1024;

/// Hands on the process's memory piece by piece; pieces overlap by `overlap` bytes.
pub(crate) fn each_piece(pid: u32, overlap: u64, mut take: impl FnMut(&str, &[u8])) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its map of memory");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory");
    let mut buffer = Vec::new();
    let mut total = 0;
    for line in maps.lines() {
        let mut columns = line.split_whitespace();
        let (Some(range), Some(rights)) = (columns.next(), columns.next()) else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        let (begin, end) = range.split_once('-').expect("a range");
        let address = |text: &str| u64::from_str_radix(text, 16).expect("an address");
        let (mut at, end) = (address(begin), address(end));
        while at < end {
            let length = (end - at).min(PIECE);
            buffer.resize(usize::try_from(length).expect("small"), 0);
            // Pages that were never touched, and the kernel's own, cannot be read.
            if memory.read_exact_at(&mut buffer, at).is_ok() {
                total += length;
                take(line, &buffer);
            }
            at += if length == PIECE { PIECE - overlap } else { length };
        }
    }
    assert!(total > 1024 * 1024, "only {total} bytes of memory could be read");
}
