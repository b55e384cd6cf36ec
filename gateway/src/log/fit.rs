//! Whether a tool may open a store for writing: one that a start would set aside, or make anew, is for a gateway's start alone.

use std::fs;
use std::path::{Path, PathBuf};

use super::failure::is_damage;
use super::reading::open_reader;
use super::verify::foreseen;
use super::{FILE, LogError, Records};

/// A store up to this size is checked whole, as at a start.
const CHECK_BYTES: u64 = 64 * 1024 * 1024;

/// Why a tool must not open a store for writing.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is none.
    #[error("there is no store in {}: a gateway makes it when it is started", .0.display())]
    Missing(PathBuf),
    /// It is damaged, or may be.
    #[error(
        "the store {} is not sound ({why}), and was left as it is: start the gateway, which sets it aside and saves what it \
         holds, or save that first: vestibule outbox salvage {0} --to FILE",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, as far as that was looked at.
        why: String,
    },
    /// It cannot be read now, or is not of this version.
    #[error(transparent)]
    Unreadable(#[from] LogError),
}

/// Looks whether the store in this folder is one that a tool may open for writing. Writes nothing of it.
///
/// # Errors
/// Why it may not.
pub fn fit(dir: &Path) -> Result<(), Unfit> {
    let path = dir.join(FILE);
    let damaged = |why: &str| Unfit::Damaged { path: path.clone(), why: why.to_owned() };
    let Ok(found) = fs::metadata(&path) else { return Err(Unfit::Missing(dir.to_owned())) };
    if found.len() == 0 {
        return Err(damaged("the file is empty"));
    }
    // Asked before SQLite looks at it, which would make a new one.
    if let Some(fault) = foreseen(&path) {
        return Err(damaged(&fault));
    }
    if path.with_extension("db.suspect").exists() {
        return Err(damaged("a read has met damage"));
    }
    let unreadable =
        |error: rusqlite::Error| Unfit::Unreadable(LogError::Unreadable(format!("{}: {error}", path.display())));
    let question =
        if found.len() > CHECK_BYTES { "SELECT 'ok' FROM sqlite_schema LIMIT 1" } else { "PRAGMA quick_check(1)" };
    let verdict =
        open_reader(&path).and_then(|connection| connection.query_row(question, [], |row| row.get::<_, String>(0)));
    match verdict {
        Ok(verdict) if verdict == "ok" => {}
        Ok(verdict) => return Err(damaged(&verdict)),
        Err(error) if is_damage(&error) => return Err(damaged(&error.to_string())),
        Err(error) => return Err(unreadable(error)),
    }
    // Of this version?
    Records::at(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{event, open, submit};
    use super::*;

    #[test]
    fn only_a_store_that_is_there_and_sound_is_fit_and_looking_changes_nothing() {
        let dir = tempfile::tempdir().expect("temp dir");
        let names = || {
            let mut names: Vec<_> =
                fs::read_dir(dir.path()).expect("reads").map(|entry| entry.expect("one").file_name()).collect();
            names.sort();
            names
        };
        assert!(matches!(fit(dir.path()), Err(Unfit::Missing(_))));
        assert!(names().is_empty());
        let log = open(dir.path());
        submit(&log, (0..200).map(|_| event("a")).collect()).expect("appends");
        log.close();
        drop(log);
        fit(dir.path()).expect("is fit");
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).expect("reads");
        let mut torn = whole.clone();
        torn[5 * 4096..6 * 4096].fill(0xa5);
        for content in [&b""[..], b"this is no database", &whole[..whole.len() / 2], &torn] {
            fs::write(&path, content).expect("writes");
            let error = fit(dir.path()).expect_err("is not fit");
            assert!(matches!(error, Unfit::Damaged { .. }), "{error}");
            assert_eq!(fs::read(&path).expect("reads"), content);
        }
        fs::write(&path, &whole).expect("writes");
        fit(dir.path()).expect("is fit again");
        // One that was open, without its log.
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(dir.path().join(format!("{FILE}{suffix}")));
        }
        fs::write(dir.path().join("events.db.open"), b"").expect("writes");
        let before = names();
        assert!(matches!(fit(dir.path()), Err(Unfit::Damaged { .. })));
        assert_eq!(names(), before, "no write-ahead log was made");
    }
}
