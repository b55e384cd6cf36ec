//! Opening the store: its settings, its schema, its soundness, and the life it goes on with. A damaged one is set aside.

mod aside;
mod check;
mod connection;
mod restored;
mod schema;
mod standing;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

pub(super) use self::aside::unused;
pub(super) use self::check::suspect;
pub(super) use self::connection::{WAL_BYTES, open_writer};
pub(super) use self::restored::{PREPARED, give_way, halted, put_in_place};
pub(super) use self::schema::MIGRATIONS;
use super::epoch::Epoch;
use super::failure::{ends_transaction, is_damage, is_full};
use super::life::{self, Beginning, Judgement, Verdict};
use super::{FILE, OpenError, layout, space};
use crate::clock;

/// SQLite 3.7.0 to 3.51.2 can corrupt a database when its write-ahead log is reset while another connection reads.
const OLDEST_SQLITE: i32 = 3_051_003;
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
    /// Terminals whose state was taken over from it.
    pub(super) taken_over: u64,
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
    lock(dir)
        .and_then(|lock| open_locked(dir, lock))
        .map_err(|error| if no_room(&error, dir) { OpenError::Full(dir.to_owned()) } else { error })
}

/// Whether there was no room for what the opening writes. Some of that SQLite calls a fault of the disk.
fn no_room(error: &OpenError, dir: &Path) -> bool {
    match error {
        OpenError::Folder { source, .. } => source.kind() == io::ErrorKind::StorageFull,
        OpenError::Sqlite(error) => {
            is_full(error) || (ends_transaction(error) && !is_damage(error) && space::is_full(dir))
        }
        _ => false,
    }
}

fn open_locked(dir: &Path, lock: File) -> Result<Store, OpenError> {
    let path = dir.join(FILE);
    let folder = |source| OpenError::Folder { dir: dir.to_owned(), source };
    if restored::finish(dir)?.is_some() {
        tracing::warn!("A restore that was cut off is finished now.");
    }
    restored::refuse_half(dir)?;
    let (mut set_aside, cause) = examine(&path).map_err(folder)?;
    let had_log = layout::wal_bytes(&path) > 0;
    let connection = match prepare(&path) {
        Err(OpenError::Sqlite(error)) if is_damage(&error) => {
            set_aside = Some(aside::put_aside(&path).map_err(folder)?);
            prepare(&path)?
        }
        prepared => prepared?,
    };
    if let Some(cause) = cause.filter(|_| set_aside.is_none()) {
        life::begin(&connection, cause, None)?;
    }
    // What a power cut has left behind the end of the log must not be mistaken for what comes now.
    let fresh = !had_log
        || life::empty(&connection, &path).or_else(|error| if is_full(&error) { Ok(false) } else { Err(error) })?;
    let taken_over = set_aside.as_deref().map_or(Ok(0), |aside| standing::take_over(&connection, aside))?;
    if let Some(aside) = &set_aside {
        tracing::error!("What the damaged store holds: `vestibule outbox salvage {} --to FILE`.", aside.display());
    }
    let beginning = life::beginning(&connection)?;
    let epoch = epoch(&connection)?;
    let (boot, boot_uuid) = boot(&connection)?;
    life::forget(&path);
    life::mark_open(&connection, &path, fresh)?;
    Ok(Store { connection, path, epoch, boot, boot_uuid, set_aside, taken_over, beginning, lock })
}

/// Looks at the store before SQLite does: where it was set aside, or why a new life is to begin in it. What is wrong is noted for
/// good first, so that a start that dies here changes nothing.
fn examine(path: &Path) -> io::Result<(Option<PathBuf>, Option<life::Cause>)> {
    let verdict = match life::noted(path) {
        Some(verdict) => verdict,
        None => match life::judge(path)? {
            Judgement::Sound => return Ok((None, None)),
            Judgement::Damaged(why) => {
                tracing::error!("The event store {} is damaged: {why}.", path.display());
                return Ok((Some(aside::put_aside(path)?), None));
            }
            Judgement::NewLife(cause) => {
                let verdict = Verdict::NewLife(cause);
                life::note(path, &verdict)?;
                verdict
            }
        },
    };
    match verdict {
        Verdict::NewLife(cause) => Ok((None, Some(cause))),
        Verdict::Aside { file, moved: false } => Ok((Some(aside::go_on(path, &file)?), None)),
        Verdict::Aside { file, moved: true } => Ok((Some(path.with_file_name(file)), None)),
    }
}

/// A connection to a store that is sound and has the tables of this version.
fn prepare(path: &Path) -> Result<Connection, OpenError> {
    let connection = connection::open(path)?;
    check::check(&connection, path)?;
    schema::migrate(&connection)?;
    Ok(connection)
}

/// Takes the data folder for this process, as long as the file is open.
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

/// Whether a gateway has the store in this folder open.
pub(super) fn is_in_use(dir: &Path) -> bool {
    File::open(dir.join("events.lock")).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
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
