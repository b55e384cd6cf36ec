//! Checkpoints, on a thread and a connection of their own: the writer never copies pages from the write-ahead log into the
//! store.
//!
//! Most of the copying is done while the writer goes on writing. What came meanwhile is little; it is copied while the writer
//! waits for its turn, and only so can the file begin anew although events never cease. An idle gateway checkpoints nothing:
//! an event costs its own sync, and one in some hundreds those of a checkpoint.
//!
//! A reader that does not end keeps the file from beginning anew. It then grows up to [`most_bytes`]; from there on nothing
//! new is accepted until the reader has gone ([`super::space`]).

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::fcntl::{FallocateFlags, fallocate};
use rusqlite::Connection;

use super::{OpenError, layout, life, open};
use crate::metrics::Metrics;

/// Bytes written after which a checkpoint is due, about: a thousand pages.
const DUE_BYTES: u64 = 4 << 20;
/// Pages that are copied while the writer waits: some milliseconds' worth.
const LITTLE: i64 = 200;
/// Tries to leave no more than that.
const TRIES: usize = 4;
/// Room that the write-ahead log has on the disk before it needs it.
const ROOM: nix::libc::off_t = 8 << 20;

/// Most bytes of the write-ahead log, whatever a reader does: a sixteenth of the store's budget, 64 to 256 MiB.
pub(super) fn most_bytes(budget: Option<u64>) -> u64 {
    budget.map_or(u64::MAX, |budget| budget / 16).clamp(64 << 20, 256 << 20)
}

/// Whose turn it is: the writer's transactions and the end of a checkpoint exclude each other without polling.
pub(super) type Turn = Arc<Mutex<()>>;

#[derive(Debug, Default)]
struct Told {
    /// Bytes written since the last checkpoint.
    written: u64,
    closed: bool,
    fault: Option<rusqlite::Error>,
}

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Told>,
    woken: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Checkpoints {
    shared: Arc<Shared>,
    turn: Turn,
    wal: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread for the store at `path`.
    pub(super) fn start(path: &Path, metrics: Arc<Metrics>) -> Result<Checkpoints, OpenError> {
        let connection = open::open_writer(path)?;
        let (shared, turn) = (Arc::<Shared>::default(), Turn::default());
        let wal = layout::wal_path(path);
        allocate(&wal);
        let work = Work {
            connection,
            path: path.to_owned(),
            wal: wal.clone(),
            shared: Arc::clone(&shared),
            turn: Arc::clone(&turn),
            metrics,
        };
        let thread = thread::Builder::new().name("log-checkpoint".to_owned()).spawn(move || work.run());
        let thread = thread.map_err(OpenError::Thread)?;
        Ok(Checkpoints { shared, turn, wal, thread: Some(thread) })
    }

    /// Held during a transaction.
    pub(super) fn turn(&self) -> Turn {
        Arc::clone(&self.turn)
    }

    /// Notes that so many bytes were written, about.
    pub(super) fn wrote(&self, bytes: u64) {
        let mut told = self.shared.lock();
        let before = told.written;
        told.written += bytes;
        if before < DUE_BYTES && told.written >= DUE_BYTES {
            self.shared.woken.notify_one();
        }
    }

    /// A checkpoint is due now: room is short.
    pub(super) fn hurry(&self) {
        self.wrote(DUE_BYTES);
    }

    /// Bytes of the write-ahead log on the disk.
    pub(super) fn wal_bytes(&self) -> u64 {
        std::fs::metadata(&self.wal).map_or(0, |metadata| metadata.len())
    }

    /// What went wrong with the disk itself.
    pub(super) fn fault(&self) -> rusqlite::Result<()> {
        self.shared.lock().fault.take().map_or(Ok(()), Err)
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The log's checkpoints ended in a panic.");
        }
    }
}

struct Work {
    connection: Connection,
    path: PathBuf,
    wal: PathBuf,
    shared: Arc<Shared>,
    turn: Turn,
    metrics: Arc<Metrics>,
}

/// What a checkpoint left: pages that were copied since the file began, pages that were not, and whether it stopped before
/// all that it was to do was done.
#[derive(Clone, Copy, Debug)]
struct Left {
    copied: i64,
    pages: i64,
    busy: bool,
}

impl Work {
    fn run(self) {
        loop {
            {
                let idle = |told: &mut Told| told.written < DUE_BYTES && !told.closed;
                let told = self.shared.lock();
                let mut told = self.shared.woken.wait_while(told, idle).unwrap_or_else(PoisonError::into_inner);
                if told.closed {
                    return;
                }
                told.written = 0;
            }
            let outcome = match self.checkpoint() {
                Ok(true) => "done",
                Ok(false) => "blocked",
                // No room for the copies: they stay in the write-ahead log, and nothing is lost.
                Err(error) if super::failure::is_full(&error) => "full",
                Err(error) => {
                    // What the disk did with the pages is not known. They are still in the write-ahead log.
                    self.shared.lock().fault = Some(error);
                    "failed"
                }
            };
            self.metrics.log_checkpoints.with_label_values(&[outcome]).inc();
        }
    }

    /// Copies everything that no reader holds; whether the file begins anew.
    fn checkpoint(&self) -> rusqlite::Result<bool> {
        let mut before = None;
        for _ in 0..TRIES {
            let left = self.pages("PASSIVE")?;
            if left.pages <= LITTLE {
                break;
            }
            // Not a page more than before: somebody reads what is old.
            if before == Some(left.copied) {
                return Ok(false);
            }
            before = Some(left.copied);
        }
        let large = std::fs::metadata(&self.wal).map_or(0, |metadata| metadata.len()) > open::WAL_BYTES.unsigned_abs();
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = if large { !life::empty(&self.connection, &self.path)? } else { self.pages("RESTART")?.busy };
        // Nothing is written into an emptied log before the mark stands again.
        if !life::is_marked(&self.path) {
            match life::mark_open(&self.connection, &self.path, large && !busy) {
                Err(OpenError::Sqlite(error)) => return Err(error),
                Err(error) => tracing::warn!(%error, "It will not be noticed whether the write-ahead log gets lost."),
                Ok(()) => {}
            }
        }
        drop(turn);
        if large && !busy {
            allocate(&self.wal);
        }
        Ok(!busy)
    }

    fn pages(&self, mode: &str) -> rusqlite::Result<Left> {
        self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            let (busy, all, copied): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(Left { copied, pages: (all - copied).max(0), busy: busy != 0 })
        })
    }
}

/// Takes room on the disk for the write-ahead log, behind its end: so there is some for positions and the ends of commands
/// even where others have filled the disk. No lock stands on this file, so that it may be opened beside SQLite.
fn allocate(wal: &Path) {
    let file = OpenOptions::new().write(true).open(wal);
    let allocated = file
        .and_then(|file| fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, ROOM).map_err(std::io::Error::from));
    if let Err(error) = allocated {
        tracing::debug!(%error, "The write-ahead log has no room of its own on this file system.");
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::log::{reading, wal};

    fn store() -> (tempfile::TempDir, open::Store, Checkpoints, Arc<Metrics>) {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens");
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let checkpoints = Checkpoints::start(&store.path, Arc::clone(&metrics)).expect("starts");
        (dir, store, checkpoints, metrics)
    }

    /// Writes some megabytes in small transactions, as the writer does.
    fn write(store: &open::Store, checkpoints: &Checkpoints, rows: i64) {
        let turn = checkpoints.turn();
        let first: i64 =
            store.connection.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0)).expect("reads");
        for seq in first + 1..=first + rows {
            let held = turn.lock().expect("no panic");
            let json = "x".repeat(3000);
            store.connection.execute("INSERT INTO event VALUES (?1, 1, 1, 1, ?2)", (seq, json)).expect("inserts");
            drop(held);
            checkpoints.wrote(3 * 4096);
        }
    }

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(20), "never {what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_write_ahead_log_stays_small_while_events_never_cease() {
        let (_dir, store, checkpoints, metrics) = store();
        let mut largest = 0;
        for _ in 0..40 {
            write(&store, &checkpoints, 250);
            largest = largest.max(checkpoints.wal_bytes());
        }
        // 10,000 rows in three pages each are 120 MB of frames.
        assert!(largest < 64 << 20, "{largest}");
        let done = metrics.log_checkpoints.with_label_values(&["done"]);
        assert!(done.get() > 0);
        checkpoints.fault().expect("no fault");
    }

    #[test]
    fn a_reader_that_has_gone_leaves_no_large_file_behind() {
        let (_dir, store, checkpoints, metrics) = store();
        write(&store, &checkpoints, 10);
        let reader = reading::open_reader(&store.path).expect("opens");
        reader.execute_batch("BEGIN; SELECT count(*) FROM event").expect("reads");
        write(&store, &checkpoints, 3000);
        eventually("blocked", || metrics.log_checkpoints.with_label_values(&["blocked"]).get() > 0);
        assert!(checkpoints.wal_bytes() > open::WAL_BYTES.unsigned_abs());
        reader.execute_batch("COMMIT").expect("ends");
        checkpoints.hurry();
        eventually("cut back", || checkpoints.wal_bytes() <= open::WAL_BYTES.unsigned_abs());
        drop(checkpoints);
        assert!(life::is_marked(&store.path));
        assert_eq!(wal::look(&store.path, true).expect("reads"), wal::Finding::Whole, "no empty log beside the mark");
        let rows: i64 = reader.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).expect("reads");
        assert_eq!(rows, 3010);
    }

    #[test]
    fn the_bound_follows_the_budget() {
        assert_eq!(
            [None, Some(32 << 20), Some(2 << 30), Some(1 << 40)].map(most_bytes),
            [256 << 20, 64 << 20, 128 << 20, 256 << 20]
        );
    }
}
