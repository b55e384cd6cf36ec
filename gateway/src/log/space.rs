//! How much room the disk has, and whether anything new is accepted.
//!
//! Three things make room short: others fill the disk, SQLite says that it is full, and a reader that does not end holds the
//! write-ahead log. In each, what was acknowledged stays and what is new is refused to whoever can hear it, while positions,
//! the ends of commands and the gateway's own events go on: for them there is the room that was left free, and that of
//! the write-ahead log, which is allocated before it is needed ([`super::checkpoint`]).

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statvfs::{FsFlags, statvfs};

/// A disk that was full stays so for a moment, and until so much is free, whatever the reserve.
const FULL: Duration = Duration::from_secs(1);
const LEAST: u64 = 8 << 20;

/// Why nothing new is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The disk has less free than half of the reserve.
    Reserve,
    /// The disk is full: a transaction found no room.
    Full,
    /// The write-ahead log is as large as it may become, because a reader holds it.
    Reader,
}

impl NoRoom {
    /// A word for metrics and events.
    pub fn name(self) -> &'static str {
        match self {
            NoRoom::Reserve => "reserve",
            NoRoom::Full => "full",
            NoRoom::Reader => "reader",
        }
    }
}

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NoRoom::Reserve => "the gateway's disk is nearly full",
            NoRoom::Full => "the gateway's disk is full",
            NoRoom::Reader => "a long reader holds the gateway's write-ahead log",
        })
    }
}

/// The room on the disk, as it was looked at last.
#[derive(Debug)]
pub(super) struct Space {
    dir: PathBuf,
    reserve: u64,
    /// Most bytes of the write-ahead log.
    wal_most: u64,
    /// Bytes free, where the system says.
    pub(super) free: Option<u64>,
    refusing: Option<NoRoom>,
    /// When a transaction found no room, until there is some again.
    full: Option<Instant>,
}

impl Space {
    pub(super) fn new(dir: &Path, reserve: u64, wal_most: u64) -> Space {
        Space { dir: dir.to_owned(), reserve, wal_most, free: None, refusing: None, full: None }
    }

    /// Looks at the disk. `wal` is the size of the write-ahead log.
    pub(super) fn look(&mut self, wal: u64) {
        self.free = free(&self.dir);
        let free = self.free.unwrap_or(u64::MAX);
        if self.full.is_some_and(|at| at.elapsed() >= FULL) && free >= (self.reserve / 4 * 3).max(LEAST) {
            self.full = None;
        }
        // Once refused, there must be some more before anything is accepted again.
        let (least, most) = match self.refusing {
            None => (self.reserve / 2, self.wal_most),
            Some(_) => (self.reserve / 4 * 3, self.wal_most / 2),
        };
        self.refusing = if self.full.is_some() {
            Some(NoRoom::Full)
        } else if free < least {
            Some(NoRoom::Reserve)
        } else if wal > most {
            Some(NoRoom::Reader)
        } else {
            None
        };
    }

    /// Whether less is free than the reserve: what nobody needs goes early.
    pub(super) fn is_tight(&self) -> bool {
        self.full.is_some() || self.free.is_some_and(|free| free < self.reserve)
    }

    /// Why nothing new is accepted, where nothing is.
    pub(super) fn refusing(&self) -> Option<NoRoom> {
        self.refusing
    }

    /// A transaction found no room.
    pub(super) fn filled(&mut self) {
        self.full = Some(Instant::now());
        self.refusing = Some(NoRoom::Full);
    }
}

/// What keeps the disk of a data folder from ever taking an event, or from taking one now, with its figures; `None` where there is
/// room. The folder must be there.
pub fn cramped(config: &super::Config) -> Option<String> {
    let disk = statvfs(&config.dir).ok()?;
    judge(free(&config.dir)?, bytes(disk.blocks(), disk.fragment_size()), config.reserve())
}

fn judge(free: u64, size: u64, reserve: u64) -> Option<String> {
    let least = (reserve / 2).max(1 << 20);
    let megabytes = |bytes: u64| bytes >> 20;
    if reserve / 2 >= size {
        return Some(format!(
            "its disk has {} MB in all, and log.reserve_mb = {} leaves no room for events: below half of it nothing is accepted",
            megabytes(size),
            megabytes(reserve)
        ));
    }
    (free < least).then(|| {
        format!(
            "its disk has {} of {} MB free: with log.reserve_mb = {} nothing is accepted below {} MB",
            megabytes(free),
            megabytes(size),
            megabytes(reserve),
            megabytes(least)
        )
    })
}

/// Bytes that others than root may still write, where the system says.
fn free(dir: &Path) -> Option<u64> {
    let disk = statvfs(dir).ok()?;
    Some(bytes(disk.blocks_available(), disk.fragment_size()))
}

/// So many blocks as bytes; 32-bit systems count in other types.
fn bytes(blocks: impl Into<u64>, size: impl Into<u64>) -> u64 {
    blocks.into().saturating_mul(size.into())
}

/// Whether not even a page of the store finds room.
pub(super) fn is_full(dir: &Path) -> bool {
    free(dir).is_some_and(|free| free < 32 << 10)
}

/// Whether the file system can only be read. One that an error has made so may not say it before it is asked to write.
pub(super) fn is_read_only(dir: &Path) -> bool {
    let says = statvfs(dir).is_ok_and(|disk| disk.flags().contains(FsFlags::ST_RDONLY));
    says || {
        let probe = dir.join("events.probe");
        let refused = File::create(&probe).is_err_and(|error| error.kind() == ErrorKind::ReadOnlyFilesystem);
        // Where there was none, there is none to remove.
        let _ = std::fs::remove_file(probe);
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refuses_below_half_of_the_reserve_and_accepts_again_a_little_later() {
        let dir = tempfile::tempdir().expect("temp dir");
        let there = free(dir.path()).expect("the system says");
        assert!(there > 1 << 20, "the test needs some room");
        let look = |space: &mut Space, reserve: u64| {
            space.reserve = reserve;
            space.look(0);
            (space.is_tight(), space.refusing())
        };
        // What others do to the disk meanwhile is far less than these differ by.
        let mut space = Space::new(dir.path(), 0, u64::MAX);
        assert_eq!(look(&mut space, there / 2), (false, None));
        assert_eq!(look(&mut space, there / 2 * 3), (true, None));
        assert_eq!(look(&mut space, there * 3), (true, Some(NoRoom::Reserve)));
        assert_eq!(
            look(&mut space, there / 5 * 8),
            (true, Some(NoRoom::Reserve)),
            "not before three quarters are free"
        );
        assert_eq!(look(&mut space, there / 10 * 11), (true, None));
        space.filled();
        assert_eq!(look(&mut space, 0), (true, Some(NoRoom::Full)));
        space.full = Instant::now().checked_sub(FULL);
        assert_eq!(look(&mut space, 0), (false, None));
    }

    #[test]
    fn a_disk_that_takes_nothing_is_told_with_its_figures() {
        let mb = |count: u64| count << 20;
        assert_eq!(judge(mb(100), mb(1000), mb(128)), None);
        let small = judge(mb(64), mb(64), mb(128)).expect("too small");
        assert!(small.contains("64 MB in all") && small.contains("reserve_mb = 128"), "{small}");
        let full = judge(mb(63), mb(1000), mb(128)).expect("too full");
        assert!(full.contains("63 of 1000 MB") && full.contains("below 64 MB"), "{full}");
        assert!(judge(0, mb(1000), 0).is_some(), "full is full, without a reserve too");
        let dir = tempfile::tempdir().expect("temp dir");
        let config = |reserve_mb| crate::log::Config { dir: dir.path().to_owned(), reserve_mb, ..Default::default() };
        assert_eq!(cramped(&config(0)), None);
        assert!(cramped(&config(1_000_000_000)).is_some(), "a petabyte");
    }

    #[test]
    fn a_write_ahead_log_may_grow_to_its_bound_and_must_be_far_below_it_again() {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut space = Space::new(dir.path(), 0, 1000);
        let refusing = [900, 1001, 900, 501, 499, 900].map(|wal| {
            space.look(wal);
            space.refusing().is_some()
        });
        assert_eq!(refusing, [false, true, true, true, false, false]);
    }
}
