//! What a core dump would hold: every writable page of a running process.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::Command;

/// Largest piece read at once.
const PIECE: u64 = 4 * 1024 * 1024;
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// Hands on a core dump of the process, as `gcore` of gdb writes it. Without gdb on the machine, the pages above are the
/// same: a core dump is these pages and the registers, which hold nothing of what a task that waits has read.
pub(crate) fn core_dump(pid: u32, overlap: usize, mut take: impl FnMut(&str, &[u8])) {
    let folder = tempfile::tempdir().expect("temp dir");
    let prefix = folder.path().join("core");
    let Ok(dumped) = Command::new("gcore").arg("-o").arg(&prefix).arg(pid.to_string()).output() else { return };
    let mut file = match File::open(prefix.with_extension(pid.to_string())) {
        Ok(file) => file,
        // A machine may forbid to trace other processes.
        Err(error) => {
            let said = String::from_utf8_lossy(&dumped.stderr).into_owned();
            assert!(said.contains("ptrace") || said.contains("not permitted"), "no core dump: {error}: {said}");
            return;
        }
    };
    let mut buffer = vec![0; PIECE_BYTES + overlap];
    let (mut kept, mut at) = (0, 0);
    loop {
        let read = file.read(&mut buffer[kept..]).expect("reads");
        if read == 0 {
            break;
        }
        take(&format!("at {at}"), &buffer[..kept + read]);
        at += read;
        let end = kept + read;
        let tail = end.saturating_sub(overlap);
        buffer.copy_within(tail..end, 0);
        kept = end - tail;
    }
    assert!(at > 1024 * 1024, "only {at} bytes of a core dump");
}

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
