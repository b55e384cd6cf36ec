//! A SQLite file as bytes: its pages with what a write-ahead log beside it holds of them, and the rows of a page.
//!
//! SQLite itself refuses a damaged file as a whole, or ends a scan at the first bad page. Here each page stands alone, and each
//! row of it: what can be read is read. The format is the one that <https://www.sqlite.org/fileformat2.html> describes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::layout::{long, page_size, short, varint, wal_path};

/// What a file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The size of our pages, where the file's first page does not tell.
const USUAL_SIZE: usize = 4096;
/// What stands before the first page's own content, before the frames of a write-ahead log, and before each frame's page.
const FILE_HEADER: usize = 100;
const WAL_HEADER: usize = 32;
const WAL_HEADER_BYTES: u64 = 32;
const FRAME_HEADER: usize = 24;
/// Pages that a file may have had which was cut off: 16 GiB of ours.
const CUT_OFF: u64 = 1 << 22;
/// Longest row that is put together; events are far shorter.
const MOST_BYTES: usize = 16 << 20;
/// The byte whose page SQLite leaves alone.
const LOCKS_AT: u64 = 1 << 30;
/// What a page of a table begins with, inside its tree and at its end; no tree is deeper.
const TABLE_INSIDE: u8 = 0x05;
const TABLE_LEAF: u8 = 0x0d;
const DEEPEST: u32 = 20;

/// A file's pages, the newest form of each.
#[derive(Debug)]
pub(super) struct Pages {
    file: Option<File>,
    wal: Option<File>,
    /// Where the newest committed form of a page is in the write-ahead log.
    newer: HashMap<u32, u64>,
    size: usize,
    count: u32,
    /// How many pages the store says that it has.
    stated: Option<u32>,
    /// Bytes of the file itself.
    bytes: u64,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Number(i64),
    Text(String),
    /// Anything else, or text that is none.
    Other,
}

/// A row: its rowid where its table has one.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) rowid: Option<i64>,
    pub(super) values: Vec<Value>,
}

impl Pages {
    /// Opens a file, and the write-ahead log beside it where there is one; of the two one may be missing. Nothing is written.
    pub(super) fn open(path: &Path) -> io::Result<Pages> {
        let wal = File::open(wal_path(path)).ok();
        let file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound && wal.is_some() => None,
            Err(error) => return Err(error),
        };
        let mut header = [0; FILE_HEADER];
        let read = file.as_ref().is_some_and(|file| file.read_exact_at(&mut header, 0).is_ok());
        let known = read && header.starts_with(MAGIC);
        let size = if known { page_size(u32::from(short(&header, 16).unwrap_or(0))) } else { None };
        let bytes = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|metadata| metadata.len()))?;
        let (mut size, mut newer, mut stated) = (size, HashMap::new(), None);
        if let Some(wal) = &wal {
            newer = frames(wal, bytes, &mut size, &mut stated);
        }
        let size = size.unwrap_or(USUAL_SIZE);
        let whole = bytes.div_ceil(u64::try_from(size).unwrap_or(u64::MAX));
        let count = u32::try_from(whole).unwrap_or(u32::MAX).max(newer.keys().copied().max().unwrap_or(0));
        // The header's number counts where it was written with the last change.
        let current = known && long(&header, 24) == long(&header, 92);
        let stated = stated.or_else(|| long(&header, 28).filter(|pages| current && *pages > 0));
        Ok(Pages { file, wal, newer, size, count, stated, bytes })
    }

    /// How many pages there should be, as the store says; as many as there are, where it does not.
    pub(super) fn expected(&self) -> u32 {
        self.stated.unwrap_or(self.count)
    }

    /// Whether a page is there to its end, and something was ever written to it.
    pub(super) fn is_whole(&self, number: u32, page: &[u8]) -> bool {
        let size = u64::try_from(self.size).unwrap_or(u64::MAX);
        let is_there = self.newer.contains_key(&number) || u64::from(number).saturating_mul(size) <= self.bytes;
        // SQLite keeps nothing on the page where its locks are.
        let is_lock = u64::from(number.saturating_sub(1)).saturating_mul(size) == LOCKS_AT;
        is_there && (is_lock || page.iter().any(|byte| *byte != 0))
    }

    /// The last row of the table whose tree begins on this page, and its page, where every page on the way there is sound:
    /// `Some(None)` is a table without a row.
    pub(super) fn last_row(&self, root: u32) -> Option<Option<Row>> {
        let mut number = root;
        for depth in 0..DEEPEST {
            let page = self.page(number)?;
            let at = start(number);
            match *page.get(at)? {
                TABLE_INSIDE => number = long(&page, at + 8)?,
                TABLE_LEAF => {
                    return match self.rows(number, &page).checked_sub(1) {
                        Some(last) => self.row(number, &page, last).map(Some),
                        None => (depth == 0).then_some(None),
                    };
                }
                _ => return None,
            }
        }
        None
    }

    /// How many pages there are; they count from 1.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The bytes of a page; none where it cannot be read. What is missing at the end of a truncated file is zero.
    pub(super) fn page(&self, number: u32) -> Option<Vec<u8>> {
        let mut page = vec![0; self.size];
        if let (Some(at), Some(wal)) = (self.newer.get(&number), &self.wal)
            && wal.read_exact_at(&mut page, *at).is_ok()
        {
            return Some(page);
        }
        let start = u64::from(number.checked_sub(1)?).checked_mul(u64::try_from(self.size).ok()?)?;
        let mut read = 0;
        while let Some(rest) = page.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.as_ref()?.read_at(rest, start.checked_add(u64::try_from(read).ok()?)?) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        (read > 0).then_some(page)
    }

    /// How many rows a page says that it has, where it is one with rows.
    pub(super) fn rows(&self, number: u32, page: &[u8]) -> u16 {
        let at = start(number);
        let kind = page.get(at).copied().and_then(Kind::of);
        let most = u16::try_from(page.len() / 4).unwrap_or(u16::MAX);
        kind.and_then(|_| short(page, at + 3)).unwrap_or(0).min(most)
    }

    /// A row of a page; none where it is not whole.
    pub(super) fn row(&self, number: u32, page: &[u8], index: u16) -> Option<Row> {
        let at = start(number);
        let kind = Kind::of(*page.get(at)?)?;
        let pointers = at + if kind == Kind::IndexInside { 12 } else { 8 };
        let cell = usize::from(short(page, pointers + 2 * usize::from(index))?);
        let cell = if kind == Kind::IndexInside { cell + 4 } else { cell };
        let (length, cell) = varint(page, cell)?;
        let (rowid, cell) = if kind == Kind::Table {
            let (rowid, cell) = varint(page, cell)?;
            (Some(rowid.cast_signed()), cell)
        } else {
            (None, cell)
        };
        let length = usize::try_from(length).ok().filter(|length| (1..=MOST_BYTES).contains(length))?;
        let payload = self.payload(page, cell, length, kind)?;
        Some(Row { rowid, values: values(&payload)? })
    }

    /// A row's bytes, with those on pages of their own where it is too long for one.
    fn payload(&self, page: &[u8], cell: usize, length: usize, kind: Kind) -> Option<Vec<u8>> {
        let usable = self.size;
        let most = if kind == Kind::Table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
        if length <= most {
            return Some(page.get(cell..cell.checked_add(length)?)?.to_vec());
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let fit = least + (length - least) % (usable - 4);
        let here = if fit <= most { fit } else { least };
        let mut payload = page.get(cell..cell.checked_add(here)?)?.to_vec();
        let mut next = long(page, cell + here)?;
        // Each page brings some bytes: a chain that goes in circles ends too.
        while payload.len() < length {
            let more = if (1..=self.count).contains(&next) { self.page(next)? } else { return None };
            let take = (length - payload.len()).min(usable - 4);
            payload.extend_from_slice(more.get(4..4 + take)?);
            next = long(&more, 0)?;
        }
        Some(payload)
    }
}

/// The pages that have rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    IndexInside,
    IndexLeaf,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        match byte {
            TABLE_LEAF => Some(Kind::Table),
            0x02 => Some(Kind::IndexInside),
            0x0a => Some(Kind::IndexLeaf),
            _ => None,
        }
    }
}

/// Where a page's own content begins.
fn start(number: u32) -> usize {
    if number == 1 { FILE_HEADER } else { 0 }
}

/// Where the newest committed form of each page is. What follows a frame that is damaged still counts if it is of this life of
/// the log and a commit comes after it: each row is judged for itself later. `bytes` is the length of the file itself; `stated`
/// becomes the number of pages that the last commit says there are.
fn frames(wal: &File, bytes: u64, size: &mut Option<usize>, stated: &mut Option<u32>) -> HashMap<u32, u64> {
    let mut header = [0; WAL_HEADER];
    let (mut newer, mut waiting) = (HashMap::new(), Vec::new());
    let mut frame = [0; FRAME_HEADER];
    if wal.read_exact_at(&mut header, 0).is_err() || wal.read_exact_at(&mut frame, WAL_HEADER_BYTES).is_err() {
        return newer;
    }
    let magic = matches!(long(&header, 0), Some(0x377f_0682 | 0x377f_0683));
    let told = long(&header, 8).and_then(page_size).filter(|told| magic && size.is_none_or(|size| size == *told));
    // A header that is damaged tells nothing: then the first frame is taken for one of this life, of pages of the usual size.
    let page = told.or(*size).unwrap_or(USUAL_SIZE);
    let salts = if magic && header.get(16..24) == frame.get(8..16) { header.get(16..24) } else { frame.get(8..16) };
    let salts = salts.map(<[u8]>::to_vec);
    // No log makes a file longer than by its own length: what says so is no frame of it.
    let page_bytes = u64::try_from(page).unwrap_or(u64::MAX);
    let most = (bytes + wal.metadata().map_or(0, |all| all.len())) / page_bytes;
    // Unless the file was cut off: a log whose header is sound is believed as far as is likely.
    let most = if told.is_some() { most.max(CUT_OFF) } else { most };
    *size = Some(page);
    let mut at = WAL_HEADER;
    while let Ok(offset) = u64::try_from(at) {
        if wal.read_exact_at(&mut frame, offset).is_err() {
            break;
        }
        let ours = frame.get(8..16) == salts.as_deref();
        if let (Some(number @ 1..), Some(after), true) = (long(&frame, 0), long(&frame, 4), ours)
            && u64::from(number) <= most
        {
            waiting.push((number, at + FRAME_HEADER));
            if after > 0 {
                *stated = Some(after);
                let places = waiting.drain(..).filter_map(|(number, at)| Some((number, u64::try_from(at).ok()?)));
                newer.extend(places);
            }
        }
        at += FRAME_HEADER + page;
    }
    newer
}

/// The values of a row.
fn values(payload: &[u8]) -> Option<Vec<Value>> {
    let (header, mut at) = varint(payload, 0)?;
    let header = usize::try_from(header).ok().filter(|header| *header <= payload.len())?;
    let mut body = header;
    let mut values = Vec::new();
    while at < header {
        let (kind, next) = varint(payload, at)?;
        at = next;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => usize::try_from((kind - 12) / 2).ok()?,
        };
        let bytes = payload.get(body..body.checked_add(length)?)?;
        body += length;
        values.push(match kind {
            0 => Value::Null,
            8 => Value::Number(0),
            9 => Value::Number(1),
            1..=6 => {
                let first: i64 = if bytes.first().is_some_and(|byte| *byte >= 0x80) { -1 } else { 0 };
                Value::Number(bytes.iter().fold(first, |number, byte| (number << 8) | i64::from(*byte)))
            }
            13.. if kind % 2 == 1 => String::from_utf8(bytes.to_vec()).map_or(Value::Other, Value::Text),
            _ => Value::Other,
        });
    }
    Some(values)
}

#[cfg(test)]
mod tests;
