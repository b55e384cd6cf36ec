//! A backup in the place of a store: a new life of it begins, so that no id is given twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::failure::is_full;
use super::life::{self, Beginning, Cause};
use super::open::{PREPARED, give_way, halted, lock, put_in_place, unused};
use super::{FILE, OpenError, layout};

/// Bytes copied at once.
const PIECE: usize = 1 << 20;

/// What cannot be restored, and why.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The data folder cannot be had.
    #[error("{0}")]
    Store(#[from] OpenError),
    /// There is a store already, and nobody said that it may be set aside.
    #[error("there is a store already: {}", .0.display())]
    InTheWay(PathBuf),
    /// The backup is no sound store.
    #[error("the backup is not sound: {0}")]
    Unsound(String),
    /// Somebody wants it to end.
    #[error("it was interrupted")]
    Interrupted,
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Puts the store of a backup into a data folder that no gateway uses. A store that is there is set aside where `replace` says
/// that it may be. `goes_on` is asked now and then, until the store that is there is touched.
///
/// # Errors
/// See [`RestoreError`]; then the folder is as it was.
pub fn restore(
    backup: &Path,
    dir: &Path,
    replace: bool,
    goes_on: impl Fn() -> bool,
) -> Result<Beginning, RestoreError> {
    let _lock = lock(dir)?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Io { path, source }
    };
    // Whoever restores may be root: the files are the gateway's, as the folder is, also where this fails.
    let owner = fs::metadata(dir).map_err(io(dir))?;
    let give = |path: &Path| chown(path, Some(owner.uid()), Some(owner.gid())).map_err(io(path));
    give(&dir.join("events.lock"))?;
    let store = dir.join(FILE);
    // One that was cut off had begun to set the store aside: that goes on, under the name that was chosen then.
    let halted = halted(dir)?;
    if let Some(beginning) = &halted {
        give_way(dir, beginning.set_aside.as_deref())?;
    }
    if store.exists() && !replace {
        return Err(RestoreError::InTheWay(store));
    }
    // A write-ahead log alone may hold events.
    let in_the_way = store.exists() || layout::wal_bytes(&store) > 0;
    let unused = unused(&store, "replaced").file_name().map(|name| name.to_string_lossy().into_owned());
    let aside = unused.filter(|_| in_the_way).or(halted.and_then(|beginning| beginning.set_aside));
    let fresh = dir.join(format!("{FILE}.restoring"));
    let files = |path: &Path| ["", "-wal", "-shm"].map(|suffix| PathBuf::from(format!("{}{suffix}", path.display())));
    for old in files(&fresh).iter().filter(|old| old.exists()) {
        fs::remove_file(old).map_err(io(old))?;
    }
    let unfinished = Unfinished(files(&fresh));
    copy(backup, &fresh, &goes_on)?;
    let beginning = prepare(&fresh, aside.clone())?;
    if !goes_on() {
        return Err(RestoreError::Interrupted);
    }
    give(&fresh)?;
    File::open(&fresh).and_then(|file| file.sync_all()).map_err(io(&fresh))?;
    fs::rename(&fresh, dir.join(PREPARED)).map_err(io(&fresh))?;
    drop(unfinished);
    life::sync(dir).map_err(io(dir))?;
    give_way(dir, aside.as_deref())?;
    put_in_place(dir)?;
    Ok(beginning)
}

/// The files of a copy that has no name of its own yet: they go with whatever ends before it has.
struct Unfinished([PathBuf; 3]);

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Copies a file, and says which of the two is at fault where that fails.
fn copy(from: &Path, to: &Path, goes_on: &impl Fn() -> bool) -> Result<(), RestoreError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Io { path, source }
    };
    let mut source = File::open(from).map_err(io(from))?;
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to).map_err(io(to))?;
    let mut buffer = vec![0; PIECE];
    while goes_on() {
        let read = source.read(&mut buffer).map_err(io(from))?;
        match buffer.get(..read).filter(|piece| !piece.is_empty()) {
            Some(piece) => target.write_all(piece).map_err(io(to))?,
            None => return Ok(()),
        }
    }
    Err(RestoreError::Interrupted)
}

/// Checks the copy and begins its new life, in one file without a write-ahead log.
fn prepare(path: &Path, aside: Option<String>) -> Result<Beginning, RestoreError> {
    let unsound = |error: rusqlite::Error| match is_full(&error) {
        true => RestoreError::Io { path: path.to_owned(), source: io::ErrorKind::StorageFull.into() },
        false => RestoreError::Unsound(error.to_string()),
    };
    let connection = Connection::open(path).map_err(unsound)?;
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(unsound)?;
    if verdict != "ok" {
        return Err(RestoreError::Unsound(verdict));
    }
    connection.pragma_update(None, "journal_mode", "DELETE").map_err(unsound)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(unsound)?;
    life::begin(&connection, Cause::Restored, aside).map_err(|error| match error {
        OpenError::Sqlite(error) => unsound(error),
        error => RestoreError::Unsound(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{event, killed, open, submit};
    use super::super::{Outcome, Records, Settled};
    use super::*;

    #[test]
    fn what_was_backed_up_keeps_its_ids_what_comes_has_others_and_nothing_is_overwritten_unasked() {
        let (dir, out) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
        let log = open(dir.path());
        submit(&log, (0..10).map(|_| event("a")).collect()).expect("appends");
        let mut settled = Settled::default();
        settled.push(Outcome::Forwarded, 1, 4);
        log.settle(settled);
        submit(&log, vec![event("a")]).expect("appends");
        let backup = out.path().join("events.db");
        log.records().expect("opens").copy_to(&backup, || true).expect("copies");
        let before = log.id_prefix().to_owned();
        submit(&log, (0..5).map(|_| event("a")).collect()).expect("appends");
        assert!(matches!(restore(&backup, dir.path(), true, || true), Err(RestoreError::Store(OpenError::InUse(_)))));
        log.close();
        drop(log);

        assert!(matches!(restore(&backup, dir.path(), false, || true), Err(RestoreError::InTheWay(_))));
        let broken = out.path().join("broken.db");
        let mut bytes = fs::read(&backup).expect("reads");
        bytes.truncate(bytes.len() / 2);
        fs::write(&broken, bytes).expect("writes");
        assert!(matches!(restore(&broken, dir.path(), true, || true), Err(RestoreError::Unsound(_))));
        assert_eq!(Records::open(dir.path()).expect("as it was").head().expect("reads"), 16);

        // Interrupted at any of its steps, it leaves everything as it was.
        for steps in 0..2_u32 {
            let left = std::cell::Cell::new(steps);
            let goes_on = || left.replace(left.get().saturating_sub(1)) > 0;
            assert!(matches!(restore(&backup, dir.path(), true, goes_on), Err(RestoreError::Interrupted)));
            assert!(!dir.path().join("events.db.restoring").exists());
            assert_eq!(Records::open(dir.path()).expect("as it was").head().expect("reads"), 16);
        }

        let beginning = restore(&backup, dir.path(), true, || true).expect("restores");
        assert_eq!((beginning.cause, beginning.after), (Cause::Restored, 11));
        let aside = dir.path().join(beginning.set_aside.clone().expect("set aside"));
        let config = super::super::Config { dir: dir.path().to_owned(), ..super::super::Config::default() };
        let metrics = std::sync::Arc::new(crate::metrics::Metrics::new().expect("metrics"));
        let opened =
            super::super::Log::open(&config, "gw", Box::new(super::super::tests::Plain), metrics).expect("opens");
        assert_eq!(opened.beginning, Some(beginning));
        let log = opened.log;
        assert_ne!(log.id_prefix(), before);
        assert_eq!(log.born_after(), 11);
        submit(&log, vec![event("a")]).expect("appends");
        let events = log.read_after(0, 100).expect("reads");
        let ids: Vec<&str> = events.iter().map(|stored| stored.id()).collect();
        assert_eq!(ids[10], format!("{before}-11"));
        assert_eq!(ids[11], format!("{}-12", log.id_prefix()));
        assert_eq!(
            log.progress().expect("reads").pending(12),
            8,
            "what was sent since is sent again, under its old id"
        );
        // What came after the backup is in the store that was set aside.
        let wreck = super::super::Wreck::open(&aside, super::super::Wanted::Pending).expect("opens");
        assert_eq!(log.salvage(&wreck, "x", None).expect("brings in").new, 5);
        assert!(log.records().expect("opens").verify(true).expect("verifies").is_sound());
        log.close();
        drop(log);
        assert_eq!(open(dir.path()).id_prefix(), events[11].front().expect("a front").life(), "the life goes on");
    }

    /// A backup of five events.
    fn backup() -> (tempfile::TempDir, PathBuf) {
        let out = tempfile::tempdir().expect("temp dir");
        let backup = out.path().join("events.db");
        let dir = killed(5);
        Records::open(dir.path()).expect("opens").copy_to(&backup, || true).expect("copies");
        (out, backup)
    }

    /// The first steps of a restore that is cut off, over a store of twenty events that was killed.
    fn cut_off(steps: usize, backup: &Path) -> tempfile::TempDir {
        let dir = killed(20);
        let (store, aside) = (dir.path().join(FILE), dir.path().join("events.db.replaced-x"));
        let fresh = dir.path().join("events.db.restoring");
        let acts: [&dyn Fn(); 6] = [
            &|| assert!(fs::copy(backup, &fresh).is_ok()),
            &|| drop(prepare(&fresh, Some("events.db.replaced-x".to_owned())).expect("prepares")),
            &|| fs::rename(&fresh, dir.path().join(PREPARED)).expect("is named"),
            &|| fs::rename(layout::wal_path(&store), layout::wal_path(&aside)).expect("moves"),
            &|| fs::rename(&store, &aside).expect("moves"),
            &|| life::unmark(&store),
        ];
        acts.iter().take(steps).for_each(|act| act());
        dir
    }

    #[test]
    fn one_that_is_cut_off_has_changed_nothing_or_is_finished_by_the_next_start_or_the_next_restore() {
        let (_out, backup) = backup();
        for steps in 0..=6 {
            let begun = steps > 2;
            let dir = cut_off(steps, &backup);
            let log = open(dir.path());
            assert_eq!(*log.head().borrow(), if begun { 5 } else { 20 }, "{steps}");
            assert_eq!(log.born_after(), if begun { 5 } else { 0 }, "{steps}");
            submit(&log, vec![event("a")]).expect("appends");
            log.close();
            drop(log);
            assert!(Records::open(dir.path()).expect("opens").verify(true).expect("verifies").is_sound());

            let dir = cut_off(steps, &backup);
            let beginning = restore(&backup, dir.path(), true, || true).expect("restores");
            let aside = dir.path().join(beginning.set_aside.expect("set aside"));
            let wreck = super::super::Wreck::open(&aside, super::super::Wanted::All).expect("opens");
            assert_eq!(wreck.survey().events, 20, "{steps}: nothing of the store before is lost");
            assert_eq!(*open(dir.path()).head().borrow(), 5, "{steps}");
        }
    }

    #[test]
    fn what_is_left_of_the_store_before_never_stands_beside_the_one_that_was_restored() {
        let (_out, backup) = backup();
        let dir = killed(20);
        fs::remove_file(dir.path().join(FILE)).expect("is there");
        let beginning = restore(&backup, dir.path(), false, || true).expect("restores");
        let aside = dir.path().join(beginning.set_aside.expect("a log alone is set aside, too"));
        assert_eq!(super::super::Wreck::open(&aside, super::super::Wanted::All).expect("opens").survey().events, 20);
        let log = open(dir.path());
        assert_eq!((*log.head().borrow(), log.born_after()), (5, 5));
        log.close();
    }

    #[test]
    fn a_store_that_was_set_aside_and_none_in_its_place_is_not_passed_over() {
        let dir = killed(5);
        fs::remove_file(dir.path().join("events.db.open")).expect("is there");
        for suffix in ["", "-wal"] {
            let name = |what: &str| dir.path().join(format!("{FILE}{what}{suffix}"));
            fs::rename(name(""), name(".replaced-x")).expect("moves");
        }
        let refused = super::super::open::open(dir.path()).err().expect("says what to do");
        assert!(
            matches!(&refused, OpenError::HalfRestored(path) if path.ends_with("events.db.replaced-x")),
            "{refused}"
        );
        fs::write(dir.path().join("events.db.replaced-x.salvaged"), "").expect("is written");
        assert_eq!(*open(dir.path()).head().borrow(), 0);
    }
}
