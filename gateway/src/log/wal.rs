//! The write-ahead log as bytes, looked at before SQLite does: it takes the first frame that is not whole for the end, and says
//! nothing of what stands behind it. Those transactions would be gone, and their ids given again.
//!
//! The format is the one of <https://www.sqlite.org/walformat.html>. A frame's checksum goes on from the one that stands in the
//! frame before, so a frame behind a bad one can still be judged by what is *stored* there: one that agrees is genuine.
//!
//! # Damage, and what a power cut leaves
//!
//! What was written since the last sync may be left in any part and any order, and that is no damage. One writer writes; a
//! transaction with events is synced before the next one begins; positions alone are not synced. A start begins the log anew
//! ([`super::life::empty`]), so that all frames with the header's salts are of one process.
//!
//! - A genuine frame that goes on from the commit of a transaction with new events proves that this transaction was synced, and
//!   all before it: a bad frame up to there is damage, whatever happened to the machine.
//! - Where the machine has not been started since the log was begun (its boot stands in the mark), there was no power cut: what
//!   was written is there, synced or not. Then any whole transaction behind a bad frame proves damage.
//! - There, where the bad frame is itself the last commit, it is damage or a kill between two writes: nothing tells them apart.
//!   If new events may be in it, they may have been acknowledged, and no id is to be given twice: a new life begins.
//! - After another boot, a bad frame in the last transaction is taken for what it nearly always is: one that was on its way
//!   when the power went, and that nobody was told of. What comes within a second after each event (positions) makes the
//!   time in which damage could hide behind this short.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::layout::{long, page_size, short, varint, wal_path};
use super::place::place;
use super::reading::open_alone;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// What an event's JSON form begins with, and within how many bytes of its row.
const FRONT: &[u8] = br#"{"seq":"#;
const FRONT_WITHIN: usize = 40;

/// What a write-ahead log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is not there, or too short for anything.
    Missing,
    /// There are bytes, and SQLite would not take them for a log.
    Headless,
    /// Nothing that was synced is missing, as far as anybody can tell.
    Whole,
    /// The last transaction cannot be read, and may have been acknowledged.
    Torn,
    /// This frame cannot be read, counted from 1, and synced transactions are lost with it.
    Damaged(u64),
}

/// Looks at the log beside this store. `same_boot`: whether the machine has run ever since the log was begun.
///
/// # Errors
/// Where it is there and cannot be opened.
pub(super) fn look(path: &Path, same_boot: bool) -> io::Result<Finding> {
    let file = match File::open(wal_path(path)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Finding::Missing),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut header = [0; HEADER];
    if length < u64::try_from(HEADER).unwrap_or(u64::MAX) {
        return Ok(Finding::Missing);
    }
    file.read_exact_at(&mut header, 0)?;
    let Some((log, checksum)) = Log::of(&header) else { return Ok(Finding::Headless) };
    let mut walk = Walk::new(path, checksum);
    let mut frame = vec![0; FRAME_HEADER + log.page];
    let mut at = HEADER;
    let step = frame.len();
    while let Ok(offset) = u64::try_from(at) {
        match file.read_exact_at(&mut frame, offset) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            // What the disk does not give back is as bad as what is wrong.
            Err(_) => frame.fill(0),
        }
        walk.step(&log, &frame);
        at += step;
    }
    Ok(walk.finding(same_boot))
}

/// What a log's header says.
struct Log {
    page: usize,
    salts: [u8; 8],
    big_endian: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Checksum(u32, u32);

impl Log {
    /// Reads a header, with its checksum; none where it is no sound one.
    fn of(header: &[u8; HEADER]) -> Option<(Log, Checksum)> {
        let big_endian = match long(header, 0)? {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let page = page_size(long(header, 8)?)?;
        let log = Log { page, salts: header.get(16..24)?.try_into().ok()?, big_endian };
        let stored = Checksum(long(header, 24)?, long(header, 28)?);
        (log.sum(Checksum(0, 0), header.get(..24)?) == stored).then_some((log, stored))
    }

    fn sum(&self, Checksum(mut one, mut two): Checksum, bytes: &[u8]) -> Checksum {
        let word = |bytes: &[u8]| -> u32 {
            let bytes = bytes.try_into().unwrap_or_default();
            if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        for pair in bytes.chunks_exact(8) {
            let (first, second) = pair.split_at(4);
            one = one.wrapping_add(word(first)).wrapping_add(two);
            two = two.wrapping_add(word(second)).wrapping_add(one);
        }
        Checksum(one, two)
    }
}

/// What is known when some of the frames have been looked at.
struct Walk<'a> {
    path: &'a Path,
    /// Frames so far.
    count: u64,
    /// The checksum that is stored in the frame before.
    stored: Checksum,
    /// The last place of the transactions that are whole, and of the one that is being read.
    head: Option<u64>,
    open: Option<u64>,
    /// The first frame that SQLite does not take.
    bad: Option<u64>,
    /// Whether that would have been a commit, if it is one of this log at all.
    bad_commit: bool,
    /// Whole commits behind it.
    commits: u64,
    /// Whether the frame before is such a commit, of a transaction with new events.
    synced: bool,
    proven: bool,
}

impl<'a> Walk<'a> {
    fn new(path: &'a Path, stored: Checksum) -> Walk<'a> {
        Walk {
            path,
            count: 0,
            stored,
            head: None,
            open: None,
            bad: None,
            bad_commit: false,
            commits: 0,
            synced: false,
            proven: false,
        }
    }

    fn step(&mut self, log: &Log, frame: &[u8]) {
        self.count += 1;
        let (header, page) = frame.split_at(FRAME_HEADER);
        let number = |at| long(header, at).unwrap_or(0);
        let ours = header.get(8..16) == Some(log.salts.as_slice()) && number(0) > 0;
        let is_commit = number(4) > 0;
        let sum = log.sum(log.sum(self.stored, header.get(..8).unwrap_or_default()), page);
        self.stored = Checksum(number(16), number(20));
        let genuine = ours && sum == self.stored;
        if self.bad.is_none() && !genuine {
            self.bad = Some(self.count);
            self.bad_commit = ours && is_commit;
            self.head = self.head.or_else(|| head_in_file(self.path));
        }
        self.proven |= genuine && self.synced;
        self.synced = false;
        if ours {
            self.open = self.open.max(newest(page, number(0)));
        }
        if genuine && is_commit {
            let new = self.open > self.head && self.head.is_some();
            if self.bad.is_some() {
                self.commits += 1;
                self.synced = new;
            }
            if self.bad.is_none() || new {
                self.head = self.open.max(self.head);
            }
            self.open = None;
        }
    }

    fn finding(&self, same_boot: bool) -> Finding {
        match self.bad {
            Some(frame) if self.proven || (same_boot && self.commits > 0) => Finding::Damaged(frame),
            Some(_) if same_boot && self.bad_commit && self.head.is_some() && self.open > self.head => Finding::Torn,
            _ => Finding::Whole,
        }
    }
}

/// The last place among a page's events; none where it is no page with events.
fn newest(page: &[u8], number: u32) -> Option<u64> {
    let at = if number == 1 { 100 } else { 0 };
    if page.get(at) != Some(&0x0d) {
        return None;
    }
    let count = usize::from(short(page, at + 3)?);
    let event = |index: usize| -> Option<u64> {
        let cell = usize::from(short(page, at + 8 + 2 * index)?);
        let (_, cell) = varint(page, cell)?;
        let (rowid, cell) = varint(page, cell)?;
        let row = page.get(cell..)?;
        let row = row.get(..FRONT_WITHIN.min(row.len()))?;
        row.windows(FRONT.len()).any(|bytes| bytes == FRONT).then_some(place(rowid.cast_signed()))
    };
    (0..count.min(page.len() / 4)).filter_map(event).max()
}

/// The last place in the store's file without its log; none where that cannot be read.
fn head_in_file(path: &Path) -> Option<u64> {
    let file = open_alone(path).ok()?;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'event'";
    let made: i64 = file.query_row(tables, [], |row| row.get(0)).ok()?;
    if made == 0 {
        return Some(0);
    }
    let head: Option<i64> = file.query_row("SELECT max(seq) FROM event", [], |row| row.get(0)).ok()?;
    Some(place(head.unwrap_or(0)))
}

#[cfg(test)]
mod tests;
