//! Setting a store aside: another name in the same folder, and nothing of it changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::check::suspicion;
use crate::log::life::{self, Verdict};

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
    let file = unused(path, "corrupt").file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    life::note(path, &Verdict::Aside { file: file.clone(), moved: false })?;
    go_on(path, &file)
}

/// The same where it was begun before, under this name: whatever is not there yet.
pub(super) fn go_on(path: &Path, file: &str) -> io::Result<PathBuf> {
    let aside = path.with_file_name(file);
    move_store(path, &aside)?;
    // A log alone is found by the name of its store.
    if !aside.exists() {
        File::create(&aside)?;
    }
    let _ = fs::remove_file(suspicion(path));
    life::note(path, &Verdict::Aside { file: file.to_owned(), moved: true })?;
    Ok(aside)
}

/// Gives a store and what belongs to it another name; what it said of itself beside them goes. The log goes first: the store's
/// own file tells that not all is done.
pub(super) fn move_store(path: &Path, to: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm", ""] {
        let [from, to] = [path, to].map(|path| PathBuf::from(format!("{}{suffix}", path.display())));
        if from.exists() && !to.exists() {
            fs::rename(from, to)?;
        }
    }
    life::unmark(path);
    life::sync(path.parent().unwrap_or(Path::new(".")))
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
