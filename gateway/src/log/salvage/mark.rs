//! What stands beside a store from which was salvaged: where its events are now, and whether they have been forwarded from there.
//!
//! A store that took them in may be destroyed before it has forwarded them. So a mark counts for good only once it says that
//! they were forwarded; until then it counts for the store that it names.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::log::{FILE, Log, LogError};

/// What is added to a store's name.
const SUFFIX: &str = ".salvaged";

/// What a mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The life of the store that took the events in: `{gateway}-{epoch}`.
    into: String,
    /// The last place that they can have there.
    upto: u64,
    /// Whether all of them have been forwarded.
    forwarded: bool,
}

/// What is left to be done with a store that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Nothing was salvaged from it yet, or the store that has it is no more.
    Salvage,
}

impl Log {
    /// Notes beside a store that what was to be salvaged from it is, and stands in this log.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn finish(&self, wreck: &Path) -> io::Result<()> {
        let mark = Mark { into: self.id_prefix().to_owned(), upto: *self.head().borrow(), forwarded: false };
        write(wreck, &mark)
    }

    /// What is left to be done; notes where everything has been forwarded meanwhile.
    pub(super) fn due(&self, wreck: &Path) -> Due {
        let path = mark(wreck);
        let Ok(text) = fs::read_to_string(&path) else { return Due::Salvage };
        let Ok(found) = serde_json::from_str::<Mark>(&text) else {
            // Nothing but its being there: the mark of an older gateway, which cannot tell.
            return Due::Nothing;
        };
        if found.forwarded {
            return Due::Nothing;
        }
        if found.into != self.id_prefix() {
            return Due::Salvage;
        }
        if self.has_forwarded(&found).unwrap_or(false)
            && let Err(error) = write(wreck, &Mark { forwarded: true, ..found })
        {
            tracing::warn!(%error, "That what {} held is forwarded cannot be noted.", wreck.display());
        }
        Due::Nothing
    }

    fn has_forwarded(&self, mark: &Mark) -> Result<bool, LogError> {
        let records = self.records()?;
        let is_left = records.dead_letters(0, 1)?.first().is_some_and(|letter| letter.seq <= mark.upto);
        Ok(!is_left && mark.upto <= records.progress()?.floor)
    }
}

/// Stores in this folder that were set aside because they were damaged, oldest first.
///
/// # Errors
/// Where the folder cannot be read.
pub fn wrecks(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut wrecks = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let aside = name.strip_prefix(FILE).is_some_and(|rest| rest.starts_with(".corrupt-"));
        if aside && !name.contains(SUFFIX) && !name.ends_with("-wal") && !name.ends_with("-shm") {
            wrecks.push(path);
        }
    }
    wrecks.sort_unstable();
    Ok(wrecks)
}

/// Whole or not at all: half a mark would count as an old one.
fn write(wreck: &Path, found: &Mark) -> io::Result<()> {
    let text = serde_json::to_string(found).map_err(io::Error::other)?;
    let path = mark(wreck);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fresh = path.with_file_name(format!(".{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn mark(wreck: &Path) -> PathBuf {
    PathBuf::from(format!("{}{SUFFIX}", wreck.display()))
}
