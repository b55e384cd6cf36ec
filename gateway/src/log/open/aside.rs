//! Setting a store aside: another name in the same folder, and nothing of it changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::check::suspicion;
use crate::log::life;

/// A name for a store that is set aside, which nothing has: two within a second do not take each other's place.
pub(in crate::log) fn unused(path: &Path, why: &str) -> PathBuf {
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let name = |number: u32| match number {
        1 => format!("{}.{why}-{stamp}", path.display()),
        number => format!("{}.{why}-{stamp}.{number}", path.display()),
    };
    let taken = |name: &String| ["", "-wal", ".salvaged"].iter().any(|end| Path::new(&format!("{name}{end}")).exists());
    let free = (1..u32::MAX).map(name).find(|name| !taken(name));
    PathBuf::from(free.unwrap_or_else(|| name(u32::MAX)))
}

/// Renames the store and the files that belong to it; what can be saved from it can be saved later.
pub(super) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = unused(path, "corrupt");
    let renamed = |suffix: &str| PathBuf::from(format!("{}{suffix}", aside.display()));
    for suffix in ["", "-wal", "-shm"] {
        let from = PathBuf::from(format!("{}{suffix}", path.display()));
        if from.exists() {
            fs::rename(from, renamed(suffix))?;
        }
    }
    let _ = fs::remove_file(suspicion(path));
    life::unmark(path);
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(renamed(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::FILE;

    #[test]
    fn two_that_are_set_aside_within_a_second_are_two() {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut aside = Vec::new();
        for content in ["one", "two", "three"] {
            fs::write(dir.path().join(FILE), content).expect("writes");
            aside.push((put_aside(&dir.path().join(FILE)).expect("is set aside"), content));
        }
        for (path, content) in aside {
            assert_eq!(fs::read_to_string(&path).expect("is there"), content, "{}", path.display());
        }
    }
}
