//! The plugin folder: which `.wasm` files are new, changed or gone, once their content stands still.
//!
//! Editors and copies write files in pieces, delete and rename; so a file counts only when it has looked the same for a
//! moment, and what it holds is compared by hash. The time comes from outside, and tests need no waiting.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::load::{FILE_BYTES, LoadError};

/// How long a file must have looked the same.
pub(super) const SETTLE: Duration = Duration::from_millis(300);
/// How long an empty file must have: a copy begins with one, and a slow card may leave it so for a while.
const SETTLE_EMPTY: Duration = Duration::from_secs(5);
/// Longest name of a plugin.
const ID_BYTES: usize = 64;

/// What has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A file is new or has other content.
    Present { id: String, bytes: Vec<u8> },
    /// A file cannot be a plugin.
    Bad { id: String, reason: String },
    /// A file is gone.
    Absent { id: String },
}

/// What a file looks like from outside: size, time of change, and number in the file system.
type Stamp = (u64, Option<SystemTime>, u64);
/// The same; `None` where it is gone.
type Look = Option<Stamp>;

#[derive(Debug)]
struct Seen {
    look: Look,
    since: Instant,
    settled: bool,
    hash: Option<blake3::Hash>,
}

/// The folder as it was seen last.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    seen: BTreeMap<PathBuf, Seen>,
    /// Files found at start are taken as they are.
    first: bool,
}

impl Folder {
    pub(super) fn new(dir: PathBuf) -> Folder {
        Folder { dir, seen: BTreeMap::new(), first: true }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The names of the files that are there now, whether they are plugins or not.
    pub(super) fn ids(&self) -> Vec<String> {
        let looks = looks(&self.dir).unwrap_or_default();
        looks.keys().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
    }

    /// Whether a file has changed and not yet stood still.
    pub(super) fn is_unsettled(&self) -> bool {
        self.seen.values().any(|seen| !seen.settled)
    }

    /// Looks at every file; `thorough` reads even those that look the same from outside.
    ///
    /// # Errors
    /// Where the folder cannot be read; what is in force stays so.
    pub(super) fn scan(&mut self, now: Instant, thorough: bool) -> io::Result<Vec<Change>> {
        let looks = looks(&self.dir)?;
        let settle = if std::mem::take(&mut self.first) { Duration::ZERO } else { SETTLE };
        for path in looks.keys().filter(|path| !self.seen.contains_key(*path)).cloned().collect::<Vec<_>>() {
            self.seen.insert(path, Seen { look: None, since: now, settled: true, hash: None });
        }
        let mut changes = Vec::new();
        self.seen.retain(|path, seen| {
            let look = looks.get(path).copied();
            if look != seen.look || (thorough && seen.settled) {
                (seen.look, seen.since, seen.settled) = (look, now, false);
            }
            let settle = if look.is_some_and(|(size, ..)| size == 0) { settle.max(SETTLE_EMPTY) } else { settle };
            if seen.settled || now.duration_since(seen.since) < settle {
                return true;
            }
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if look.is_none() {
                changes.push(Change::Absent { id });
                return false;
            }
            match read(path, &id, look) {
                // It changed under the reader: it has to stand still again.
                Ok(None) => seen.since = now,
                Ok(Some(bytes)) => {
                    seen.settled = true;
                    let hash = Some(blake3::hash(&bytes));
                    if seen.hash != hash {
                        seen.hash = hash;
                        changes.push(Change::Present { id, bytes });
                    }
                }
                Err(reason) => {
                    seen.settled = true;
                    let hash = Some(blake3::hash(reason.as_bytes()));
                    if seen.hash != hash {
                        seen.hash = hash;
                        changes.push(Change::Bad { id, reason });
                    }
                }
            }
            true
        });
        Ok(changes)
    }
}

/// Every `.wasm` file that is not hidden (where editors and copies keep their unfinished ones), and what it looks like.
fn looks(dir: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut looks = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        // Links are followed: swapping a link changes the file.
        if let Some(look) = fs::metadata(&path).ok().as_ref().and_then(look) {
            looks.insert(path, look);
        }
    }
    Ok(looks)
}

fn look(metadata: &Metadata) -> Look {
    metadata.is_file().then(|| (metadata.len(), metadata.modified().ok(), metadata.ino()))
}

/// A file's content; `None` where it changed meanwhile.
fn read(path: &Path, id: &str, before: Look) -> Result<Option<Vec<u8>>, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if id.is_empty() || id.len() > ID_BYTES || !id.chars().all(plain) {
        return Err(format!("its name may have small letters, digits, - and _ alone, at most {ID_BYTES} of them"));
    }
    if let Some((size, ..)) = before
        && size > FILE_BYTES
    {
        return Err(LoadError::TooLarge(size).to_string());
    }
    let bytes = fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let after = fs::metadata(path).ok().as_ref().and_then(look);
    Ok((after == before).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(id: &str, bytes: &[u8]) -> Change {
        Change::Present { id: id.to_owned(), bytes: bytes.to_owned() }
    }

    #[test]
    fn a_file_counts_when_it_stands_still() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a.wasm"), "one").expect("writes");
        fs::write(path(".b.wasm"), "hidden").expect("writes");
        fs::write(path("b.wasm.part"), "unfinished").expect("writes");
        let mut folder = Folder::new(dir.path().to_owned());
        let start = Instant::now();
        assert_eq!(folder.scan(start, true).expect("scans"), [present("a", b"one")]);

        // Written in two pieces: only the whole counts, and only after it stood still.
        fs::write(path("a.wasm"), "one and").expect("writes");
        assert_eq!(folder.scan(start, true).expect("scans"), []);
        fs::write(path("a.wasm"), "one and two").expect("writes");
        let later = start + SETTLE / 2;
        assert_eq!(folder.scan(later, true).expect("scans"), []);
        assert!(folder.is_unsettled());
        assert_eq!(folder.scan(later + SETTLE / 2, false).expect("scans"), []);
        assert_eq!(folder.scan(later + SETTLE, false).expect("scans"), [present("a", b"one and two")]);
        assert!(!folder.is_unsettled());

        // A copy that has only begun is no broken plugin yet.
        fs::write(path("a.wasm"), "").expect("writes");
        assert_eq!(folder.scan(later + SETTLE, true).expect("scans"), []);
        assert_eq!(folder.scan(later + SETTLE * 3, false).expect("scans"), []);
        fs::write(path("a.wasm"), "one and two").expect("writes");
        assert_eq!(folder.scan(later + SETTLE * 4, true).expect("scans"), []);
        assert_eq!(folder.scan(later + SETTLE * 5, false).expect("scans"), [], "it is what it was");
        let later = later + SETTLE * 5;

        // Deleted and renamed into place, with the same content: nothing happened.
        let later = later + SETTLE * 2;
        fs::remove_file(path("a.wasm")).expect("removes");
        assert_eq!(folder.scan(later, true).expect("scans"), []);
        fs::write(path(".tmp"), "one and two").expect("writes");
        fs::rename(path(".tmp"), path("a.wasm")).expect("renames");
        assert_eq!(folder.scan(later, true).expect("scans"), []);
        assert_eq!(folder.scan(later + SETTLE, false).expect("scans"), []);

        let later = later + SETTLE * 2;
        fs::remove_file(path("a.wasm")).expect("removes");
        fs::write(path("Bad Name.wasm"), "x").expect("writes");
        assert_eq!(folder.scan(later, true).expect("scans"), []);
        let changes = folder.scan(later + SETTLE, false).expect("scans");
        assert!(matches!(&changes[..], [Change::Bad { .. }, Change::Absent { id }] if id == "a"), "{changes:?}");
        assert_eq!(folder.scan(later + SETTLE * 3, true).expect("scans"), []);
        assert_eq!(folder.scan(later + SETTLE * 4, true).expect("scans"), [], "told once");
    }

    #[test]
    fn a_link_that_is_swapped_is_a_change() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("1"), "one").expect("writes");
        fs::write(path("2"), "two").expect("writes");
        std::os::unix::fs::symlink(path("1"), path("a.wasm")).expect("links");
        let mut folder = Folder::new(dir.path().to_owned());
        let start = Instant::now();
        assert_eq!(folder.scan(start, false).expect("scans"), [present("a", b"one")]);
        std::os::unix::fs::symlink(path("2"), path("new")).expect("links");
        fs::rename(path("new"), path("a.wasm")).expect("renames");
        assert_eq!(folder.scan(start, false).expect("scans"), []);
        assert_eq!(folder.scan(start + SETTLE, false).expect("scans"), [present("a", b"two")]);
        fs::remove_dir_all(dir.path()).expect("removes");
        assert!(folder.scan(start, true).is_err(), "a folder that is gone takes nothing out of force");
    }
}
