//! What a start finds wrong with a store before SQLite opens it, noted beside it until it has been acted on: SQLite, or a start
//! that dies early, would leave nothing from which the next start could see it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Cause, mark, sync};
use crate::log::layout;
use crate::log::wal::{self, Finding};

/// What is wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::log) enum Verdict {
    /// It is whole, only older than it was: a new life begins in it.
    NewLife(Cause),
    /// It is set aside under this name in the same folder.
    Aside {
        /// The name.
        file: String,
        /// Whether all of it is there.
        moved: bool,
    },
}

/// What is found where nothing was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Judgement {
    /// SQLite may have it.
    Sound,
    /// See [`Verdict::NewLife`].
    NewLife(Cause),
    /// It must be set aside, for this reason.
    Damaged(&'static str),
}

impl From<Verdict> for Judgement {
    fn from(verdict: Verdict) -> Judgement {
        match verdict {
            Verdict::NewLife(cause) => Judgement::NewLife(cause),
            Verdict::Aside { moved: false, .. } => Judgement::Damaged("a start has begun with it"),
            Verdict::Aside { moved: true, .. } => Judgement::Sound,
        }
    }
}

/// Looks at a store that nobody has open. One beside which nothing stands is what a power cut leaves of a first start.
pub(in crate::log) fn judge(path: &Path) -> io::Result<Judgement> {
    let length = match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Ok(Judgement::Sound),
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let marked = mark::is_marked(path);
    if length == 0 {
        let was_there = marked || layout::wal_bytes(path) > 0;
        // SQLite would make a new one, and drop the log beside it.
        return Ok(if was_there { Judgement::Damaged("its file is missing or empty") } else { Judgement::Sound });
    }
    Ok(match wal::look(path, mark::is_of_this_boot(path))? {
        Finding::Missing if marked => Judgement::NewLife(Cause::Rewound),
        Finding::Headless if marked => Judgement::Damaged("its write-ahead log has no header any more"),
        Finding::Torn => Judgement::NewLife(Cause::Torn),
        Finding::Damaged(frame) => {
            tracing::error!(frame, "The write-ahead log is damaged in front of what was synced.");
            Judgement::Damaged("its write-ahead log is damaged")
        }
        Finding::Missing | Finding::Headless | Finding::Whole => Judgement::Sound,
    })
}

/// What an earlier start has noted. A note that is not whole was never acted on: then the store is as it was.
pub(in crate::log) fn noted(path: &Path) -> Option<Verdict> {
    let text = fs::read_to_string(file(path)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Notes it for good, before anything is touched.
pub(in crate::log) fn note(path: &Path, verdict: &Verdict) -> io::Result<()> {
    let new = path.with_extension("db.verdict-new");
    let mut written = File::create(&new)?;
    written.write_all(&serde_json::to_vec(verdict)?)?;
    written.sync_all()?;
    fs::rename(&new, file(path))?;
    sync(path.parent().unwrap_or(Path::new(".")))
}

/// It has been acted on, and that is committed.
pub(in crate::log) fn forget(path: &Path) {
    if fs::remove_file(file(path)).is_ok() {
        let _ = sync(path.parent().unwrap_or(Path::new(".")));
    }
}

fn file(path: &Path) -> PathBuf {
    path.with_extension("db.verdict")
}
