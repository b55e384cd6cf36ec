//! Files that are renewed while the gateway runs: looked at now and then, and taken once they stand still.
//!
//! Looking is enough: it follows links that are switched and folders that are mounted, which a watch on a folder may
//! miss, and costs a call for each file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a file looks like from outside: it has changed where this has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look([i64; 4], u64, u64);

/// What the file looks like; `None` where there is none.
pub(crate) fn look(path: &Path) -> Option<Look> {
    let data = fs::metadata(path).ok()?;
    Some(Look([data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()], data.ino(), data.len()))
}

/// Files that belong together, and how they looked when they were taken.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    files: Vec<PathBuf>,
    taken: Vec<Option<Look>>,
    seen: Vec<Option<Look>>,
}

impl Watch {
    /// Files that are taken as they are now. Read them after this, so that a change during the reading counts as one.
    pub(crate) fn new(files: Vec<PathBuf>) -> Watch {
        let taken = look_at(&files);
        Watch { files, seen: taken.clone(), taken }
    }

    /// Looks again: whether something has changed since they were taken, and stays as it is since the last look. Files
    /// are written in pieces, and a key after its certificate.
    pub(crate) fn has_changed(&mut self) -> bool {
        let now = look_at(&self.files);
        let still = now == self.seen;
        self.seen = now;
        still && self.seen != self.taken
    }

    /// What has changed is taken, or was looked at and is no good: either way it is passed over until the next change.
    pub(crate) fn take(&mut self) {
        self.taken.clone_from(&self.seen);
    }
}

fn look_at(files: &[PathBuf]) -> Vec<Option<Look>> {
    files.iter().map(|path| look(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_has_come_to_rest() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("token");
        std::fs::write(&path, "one").expect("writes");
        let mut watch = Watch::new(vec![path.clone()]);
        assert!(!watch.has_changed());
        std::fs::write(&path, "three").expect("writes");
        assert!(!watch.has_changed(), "it may still be written");
        assert!(watch.has_changed() && watch.has_changed());
        watch.take();
        assert!(!watch.has_changed());
        std::fs::remove_file(&path).expect("removes");
        assert!(!watch.has_changed());
        assert!(watch.has_changed(), "a file that is gone has changed too");
    }
}
