//! Opening the store: settings checked by reading them back, migrations, damage set aside.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::epoch::Epoch;
use super::life::{self, Beginning};
use crate::clock;

/// The store's file in the data folder.
pub(super) const FILE: &str = "events.db";
/// The schema's versions, in order; `PRAGMA user_version` counts those applied.
pub(super) const MIGRATIONS: [&str; 6] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
];
/// Bytes of a page of the store, chosen when it is made.
const PAGE_BYTES: i64 = 4096;
/// SQLite 3.7.0 to 3.51.2 can corrupt a database when its write-ahead log is reset while another connection reads.
const OLDEST_SQLITE: i32 = 3_051_003;
/// A store up to this size is checked whole at every start; a larger one only after it was seen damaged.
const CHECK_ALWAYS_BYTES: u64 = 64 * 1024 * 1024;
/// The write-ahead log is cut back to this size after a checkpoint.
pub(super) const WAL_BYTES: i64 = 16 * 1024 * 1024;
/// Pages of the write-ahead log at which the writer checkpoints itself: only where the thread for that does not keep up.
const OWN_CHECKPOINT: i64 = 16 * 1024;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be made or written.
    #[error("the data folder {} cannot be used: {source}{}", dir.display(), salvageable(dir))]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another gateway has it open.
    #[error("the data folder {} is in use by another gateway", .0.display())]
    InUse(PathBuf),
    /// The library is one of those that can corrupt a database.
    #[error("SQLite {0} can corrupt a database (fixed in 3.51.3); this build must not be used")]
    Version(&'static str),
    /// A setting did not take effect.
    #[error("SQLite did not accept {0}")]
    Setting(&'static str),
    /// The store was written by a newer gateway.
    #[error(
        "the store has schema version {found}; this gateway knows versions up to {known}. Install the newer gateway again"
    )]
    Newer {
        /// Version in the file.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// The system gives no thread for the writer.
    #[error("no thread for the log's writer: {0}")]
    Thread(io::Error),
    /// There is no room on the disk.
    #[error("the disk of the data folder {} is full: the gateway starts once there is room; nothing is lost", .0.display())]
    Full(PathBuf),
    /// SQLite failed otherwise.
    #[error("the store cannot be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No random numbers for a new epoch.
    #[error("no random numbers for a new store: {0}")]
    Random(#[from] getrandom::Error),
}

/// What to do about a store that is there and cannot be written.
fn salvageable(dir: &Path) -> String {
    let store = dir.join(FILE);
    let advice = || {
        let store = store.display();
        format!("; make it writable and start again, or save what is in it: vestibule outbox salvage {store} --to FILE")
    };
    if store.exists() { advice() } else { String::new() }
}

/// A store that is ready: its writer's connection and what was found.
pub(super) struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) epoch: Epoch,
    /// Row of `boot` that this process writes under.
    pub(super) boot: i64,
    /// The boot's name: the same for every process until the machine starts again.
    pub(super) boot_uuid: Box<str>,
    /// Where a damaged store was put, if one was found.
    pub(super) set_aside: Option<PathBuf>,
    /// How its life began, if that was not with its file.
    pub(super) beginning: Option<Beginning>,
    /// Held as long as the store is open; the system lets go of it when the process dies.
    pub(super) lock: File,
}

/// Opens the store in `dir`, or makes one. A damaged one is set aside and a new one begun, with a new epoch.
pub(super) fn open(dir: &Path) -> Result<Store, OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::Version(rusqlite::version()));
    }
    open_locked(dir, lock(dir)?).map_err(|error| match error {
        OpenError::Sqlite(error) if super::failure::is_full(&error) => OpenError::Full(dir.to_owned()),
        other => other,
    })
}

fn open_locked(dir: &Path, lock: File) -> Result<Store, OpenError> {
    let path = dir.join(FILE);
    let mut set_aside = None;
    let rewound = life::is_rewound(&path);
    let prepared = if life::is_emptied(&path) { Err(not_ours("the file is empty")) } else { prepare(&path) };
    let connection = match prepared {
        Err(OpenError::Sqlite(error)) if super::failure::is_damage(&error) => {
            set_aside = Some(put_aside(&path).map_err(|source| OpenError::Folder { dir: dir.to_owned(), source })?);
            prepare(&path)?
        }
        prepared => prepared?,
    };
    if rewound && set_aside.is_none() {
        life::begin(&connection, life::Cause::Rewound, None)?;
    }
    let beginning = life::beginning(&connection)?;
    let epoch = epoch(&connection)?;
    let (boot, boot_uuid) = boot(&connection)?;
    life::mark_open(&connection, &path)?;
    Ok(Store { connection, path, epoch, boot, boot_uuid, set_aside, beginning, lock })
}

/// Opens the store for reading alone.
pub(super) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// Remembers beside the store that it was seen damaged: the next start checks it whole.
pub(super) fn suspect(path: &Path) {
    if let Err(error) = File::create(suspicion(path)) {
        tracing::error!(%error, "The store is damaged, and that could not be noted for the next start.");
    }
}

fn suspicion(path: &Path) -> PathBuf {
    path.with_extension("db.suspect")
}

pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    let folder = |source| OpenError::Folder { dir: dir.to_owned(), source };
    make(dir).map_err(folder)?;
    let file = File::create(dir.join("events.lock")).map_err(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(folder(source)),
    }
}

/// Makes the data folder where it is missing, and has its name written down: what is synced in a folder that has no name
/// after a power cut is lost with it, and SQLite syncs no folder but its own.
fn make(dir: &Path) -> io::Result<()> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(dir)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

fn prepare(path: &Path) -> Result<Connection, OpenError> {
    let connection = Connection::open(path)?;
    life::keep_log(&connection)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    // Both can be chosen only before the first table.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    settle(&connection)?;
    check(&connection, path)?;
    migrate(&connection)?;
    Ok(connection)
}

/// What holds for each connection that writes.
fn settle(connection: &Connection) -> Result<(), OpenError> {
    life::keep_log(connection)?;
    set(connection, "journal_mode", "WAL", "wal")?;
    set(connection, "synchronous", "FULL", "2")?;
    set(connection, "foreign_keys", "ON", "1")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    // What a rollback needs is no reason to write to a card.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", OWN_CHECKPOINT, |_| Ok(()))?;
    Ok(())
}

/// Opens a store that is ready once more, for checkpoints: it waits for nobody.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    settle(&connection)?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    Ok(connection)
}

/// The error of a file that is no store of ours: it is set aside as a damaged one is.
fn not_ours(why: &str) -> OpenError {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
    OpenError::Sqlite(rusqlite::Error::SqliteFailure(code, Some(why.to_owned())))
}

/// Sets a pragma and reads it back: a durability setting that silently fails would break every promise.
fn set(connection: &Connection, name: &'static str, value: &str, reads: &str) -> Result<(), OpenError> {
    connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(()),
        other => Err(other),
    })?;
    let found: String = connection.pragma_query_value(None, name, |row| {
        row.get_ref(0).map(|value| match value {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            other => other.as_str().map(str::to_lowercase).unwrap_or_default(),
        })
    })?;
    if found == reads { Ok(()) } else { Err(OpenError::Setting(name)) }
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let suspected = suspicion(path);
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size > CHECK_ALWAYS_BYTES && !suspected.exists() {
        return Ok(());
    }
    let verdict = if suspected.exists() { scrutinise(connection)? } else { quick_check(connection)? };
    if verdict == "ok" {
        // A suspicion that the check does not confirm (a fault of the reading, say) is dropped.
        let _ = fs::remove_file(suspected);
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(OpenError::Sqlite(rusqlite::Error::SqliteFailure(code, Some(verdict))))
}

fn quick_check(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

/// Looks at everything: a fault that has been met once and is overlooked would end every run.
fn scrutinise(connection: &Connection) -> rusqlite::Result<String> {
    let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(verdict);
    }
    let mut select = connection.prepare("SELECT seq, json FROM event")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().ok();
        let broken = |text| {
            serde_json::from_str::<serde::de::IgnoredAny>(text).is_err_and(|error| super::failure::is_broken(&error))
        };
        if text.is_none_or(broken) {
            return Ok(format!("event {} cannot be read", row.get::<_, i64>(0)?));
        }
    }
    Ok(verdict)
}

fn migrate(connection: &Connection) -> Result<(), OpenError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables = "SELECT count(*), coalesce(sum(name = 'event'), 0) FROM sqlite_schema WHERE type = 'table'";
    let (all, events): (i64, i64) = connection.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if all > 0 && events == 0 {
        return Err(not_ours("it is the database of something else"));
    }
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for (version, sql) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {sql} PRAGMA user_version = {version}; COMMIT;"))?;
    }
    Ok(())
}

fn epoch(connection: &Connection) -> Result<Epoch, OpenError> {
    let stored: Option<String> =
        connection.query_row("SELECT value FROM store WHERE key = 'epoch'", [], |row| row.get(0)).optional()?;
    if let Some(text) = stored {
        return Ok(Epoch::stored(text));
    }
    let epoch = Epoch::random()?;
    connection.execute("INSERT INTO store (key, value) VALUES ('epoch', ?1)", [epoch.to_string()])?;
    Ok(epoch)
}

fn boot(connection: &Connection) -> Result<(i64, Box<str>), OpenError> {
    let uuid = clock::boot_id();
    connection.execute("INSERT INTO boot (uuid) VALUES (?1) ON CONFLICT DO NOTHING", [uuid])?;
    let id = connection.query_row("SELECT id FROM boot WHERE uuid = ?1", [uuid], |row| row.get(0))?;
    Ok((id, uuid.into()))
}

/// A name for a store that is set aside, which nothing has: two within a second do not take each other's place.
pub(super) fn unused(path: &Path, why: &str) -> PathBuf {
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
fn put_aside(path: &Path) -> io::Result<PathBuf> {
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

    #[test]
    fn a_second_gateway_is_refused_and_the_epoch_stays() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open(dir.path()).expect("opens");
        assert!(matches!(open(dir.path()), Err(OpenError::InUse(_))));
        let epoch = store.epoch.clone();
        drop(store);
        assert_eq!(open(dir.path()).expect("opens again").epoch, epoch);
    }

    #[test]
    fn a_damaged_store_is_set_aside_and_a_new_epoch_begun() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open(dir.path()).expect("opens");
        life::close(&store.connection, &store.path).expect("writes back");
        let epoch = store.epoch.clone();
        drop(store);
        fs::write(dir.path().join(FILE), b"this is not a database, it only stands in its place").expect("writes");
        let store = open(dir.path()).expect("opens anew");
        assert!(store.set_aside.expect("set aside").exists());
        assert_ne!(store.epoch, epoch);
    }

    #[test]
    fn a_file_without_anything_or_of_something_else_is_set_aside_as_it_is() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join(FILE);
        fs::write(&path, b"").expect("writes");
        assert_eq!(open(dir.path()).expect("opens").set_aside, None, "what a power cut leaves of a first start");
        // A store that was open is beside it: there was something.
        fs::write(&path, b"").expect("writes");
        let store = open(dir.path()).expect("opens anew");
        assert_eq!(fs::read(store.set_aside.as_ref().expect("set aside")).expect("reads"), b"");
        life::close(&store.connection, &path).expect("writes back");
        drop(store);
        fs::remove_file(&path).expect("is there");
        let other = Connection::open(&path).expect("opens");
        other.execute_batch("CREATE TABLE account (id INTEGER PRIMARY KEY); PRAGMA user_version = 3").expect("makes");
        drop(other);
        let aside = open(dir.path()).expect("opens anew").set_aside.expect("set aside");
        let other = Connection::open(aside).expect("opens");
        let tables: i64 = other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("counts");
        assert_eq!(tables, 1, "nothing of ours was put into it");
    }

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

    #[test]
    fn an_older_store_is_brought_up_to_date() {
        let dir = tempfile::tempdir().expect("temp dir");
        let connection = Connection::open(dir.path().join(FILE)).expect("opens");
        connection.execute_batch(MIGRATIONS[0]).expect("makes the tables of the first version");
        connection.execute("INSERT INTO event VALUES (1, 1, 1, 1, '{}')", []).expect("inserts");
        connection.pragma_update(None, "user_version", 1).expect("sets");
        drop(connection);
        let store = open(dir.path()).expect("migrates").connection;
        let count = |table: &str| -> i64 {
            store.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counts")
        };
        assert_eq!((count("event"), count("journal")), (1, 0));
    }

    #[test]
    fn a_newer_store_is_left_alone() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open(dir.path()).expect("opens");
        store.connection.pragma_update(None, "user_version", 99).expect("sets");
        drop(store);
        assert!(matches!(open(dir.path()), Err(OpenError::Newer { found: 99, .. })));
    }
}
