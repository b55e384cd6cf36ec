//! The last steps of a restore. The copy is there whole before the store that is in its way is touched, and its name says so: from
//! then on a start, or another restore, finishes what was cut off.
//!
//! ```text
//! events.db.restoring   copied and checked; whoever is cut off here has changed nothing
//!   → events.db.restored   synced: from here on it goes forward
//!     the store before: -wal, -shm, the file itself → events.db.replaced-{time}; mark and notes go
//!       → events.db
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use super::aside::move_store;
use super::check::suspicion;
use crate::log::life::{self, Beginning};
use crate::log::reading::open_alone;
use crate::log::{FILE, OpenError, layout};

/// What a copy is called while it is made.
const MAKING: &str = "events.db.restoring";
/// What the store before is called.
const REPLACED: &str = "events.db.replaced-";
/// What it is called once it is whole.
pub(in crate::log) const PREPARED: &str = "events.db.restored";

/// How the life of a copy begins that is whole and not in its place yet, if there is one.
pub(in crate::log) fn halted(dir: &Path) -> Result<Option<Beginning>, OpenError> {
    let prepared = dir.join(PREPARED);
    if !prepared.exists() {
        return Ok(None);
    }
    Ok(life::beginning(&open_alone(&prepared)?)?)
}

/// Finishes a restore that was cut off; how the life began.
pub(in crate::log) fn finish(dir: &Path) -> Result<Option<Beginning>, OpenError> {
    let Some(beginning) = halted(dir)? else { return Ok(None) };
    give_way(dir, beginning.set_aside.as_deref())?;
    put_in_place(dir)?;
    Ok(Some(beginning))
}

/// Sets aside what is left of the store that is in the way, and takes away what was noted of it.
pub(in crate::log) fn give_way(dir: &Path, aside: Option<&str>) -> Result<(), OpenError> {
    let store = dir.join(FILE);
    let folder = |source| OpenError::Folder { dir: dir.to_owned(), source };
    if let Some(aside) = aside {
        move_store(&store, &dir.join(aside)).map_err(folder)?;
    }
    // What is left has nothing in it: a log of no bytes, or the memory of one.
    for left in ["-wal", "-shm"].map(|suffix| PathBuf::from(format!("{}{suffix}", store.display()))) {
        if left.exists() {
            fs::remove_file(left).map_err(folder)?;
        }
    }
    life::unmark(&store);
    life::forget(&store);
    let _ = fs::remove_file(suspicion(&store));
    life::sync(dir).map_err(folder)
}

/// The last step.
pub(in crate::log) fn put_in_place(dir: &Path) -> Result<(), OpenError> {
    let placed = fs::rename(dir.join(PREPARED), dir.join(FILE)).and_then(|()| life::sync(dir));
    placed.map_err(|source| OpenError::Folder { dir: dir.to_owned(), source })
}

/// Refuses to begin anew beside what a restore has left, or what somebody has set aside: nobody would look for it again.
pub(super) fn refuse_half(dir: &Path) -> Result<(), OpenError> {
    let folder = |source| OpenError::Folder { dir: dir.to_owned(), source };
    let store = dir.join(FILE);
    if store.exists() || layout::wal_bytes(&store) > 0 {
        return Ok(());
    }
    for entry in fs::read_dir(dir).map_err(folder)? {
        let path = entry.map_err(folder)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let belongs = ["-wal", "-shm", ".salvaged"].iter().any(|end| name.ends_with(end));
        let is_salvaged = path.with_file_name(format!("{name}.salvaged")).exists();
        let replaced = name.starts_with(REPLACED) && !belongs && !is_salvaged;
        if name == MAKING || replaced {
            return Err(OpenError::HalfRestored(path));
        }
    }
    Ok(())
}
