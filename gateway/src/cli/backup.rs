//! `vestibule backup`: a folder with the store as it is at one moment, and what else a gateway needs to be set up again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::exit::Exit;
use super::interrupt;
use crate::config::Config;
use crate::log::{CopyError, Records};

/// The list of what a backup holds.
pub(super) const MANIFEST: &str = "manifest.json";
/// In front of the name of one that is not whole yet.
const UNFINISHED: &str = ".vestibule-backup-";
/// The store in it.
pub(super) const STORE: &str = "events.db";

/// Back the store up while the gateway runs, with the configuration, the tokens and the plugins.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The folder to make; it must not be there yet.
    to: PathBuf,
    /// The gateway's configuration.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

/// What a backup holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The form of this list.
    pub(super) format: u32,
    /// The version of the program that made it.
    pub(super) version: String,
    pub(super) gateway: String,
    pub(super) epoch: String,
    /// The last event's place.
    pub(super) head: u64,
    pub(super) events: u64,
    pub(super) made_at: Timestamp,
    pub(super) files: Vec<Entry>,
}

/// A file of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) blake3: String,
}

impl Backup {
    /// Makes the folder whole, or not at all.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let config = Config::load(&self.config)?;
        if self.to.exists() {
            return Err(Exit::cannot_create(format!(
                "{} is there already; a backup overwrites nothing",
                self.to.display()
            )));
        }
        let records = Records::open(&config.log.dir).map_err(|error| Exit::no_input(error.to_string()))?;
        let parent = match self.to.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let cannot = |error: io::Error| Exit::cannot_create(format!("{}: {error}", self.to.display()));
        interrupt::watch();
        clear_away(parent);
        // It goes away again where anything fails, and is locked as long as somebody works on it.
        let folder = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(parent).map_err(cannot)?;
        let held = File::open(folder.path()).map_err(cannot)?;
        // A file system that knows no locks is cleared away by nobody.
        let _ = held.try_lock();
        let store = folder.path().join(STORE);
        let copied = records.copy_to(&store, interrupt::goes_on).map_err(|error| match error {
            CopyError::Interrupted => interrupt::interrupted(),
            CopyError::Target(why) => Exit::io(format!("{}: {why}", self.to.display())),
            CopyError::Source(error) => Exit::io(error.to_string()),
        })?;
        let mut names = vec![STORE.to_owned()];
        for (name, from) in others(&config, &self.config).map_err(|error| Exit::io(error.to_string()))? {
            interrupt::check()?;
            copy(&from, &folder.path().join(&name)).map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull => cannot(error),
                _ => Exit::io(format!("{}: {error}", from.display())),
            })?;
            names.push(name);
        }
        let files: io::Result<Vec<Entry>> = names.into_iter().map(|name| entry(folder.path(), name)).collect();
        let manifest = Manifest {
            format: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            gateway: config.gateway.id.clone(),
            epoch: copied.epoch,
            head: copied.head,
            events: copied.events,
            made_at: Timestamp::now(),
            files: files.map_err(cannot)?,
        };
        let text = serde_json::to_string_pretty(&manifest).map_err(|error| Exit::software(error.to_string()))?;
        let listed = File::create(folder.path().join(MANIFEST)).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        listed.and_then(|()| sync_folders(folder.path())).map_err(cannot)?;
        let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        let folder = folder.keep();
        fs::rename(&folder, &self.to).and_then(|()| File::open(parent)?.sync_all()).map_err(|error| {
            let _ = fs::remove_dir_all(&folder);
            cannot(error)
        })?;
        writeln!(
            io::stdout(),
            "{}: {} events up to {} of epoch {}, {} files, {bytes} bytes",
            self.to.display(),
            manifest.events,
            manifest.head,
            manifest.epoch,
            manifest.files.len()
        )
        .map_err(|error| Exit::io(error.to_string()))
    }
}

/// Takes away what backups left here that were killed.
fn clear_away(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        let is_nobodys = File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok());
        if is_nobodys && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What else there is to keep: name in the backup, and where it is.
fn others(config: &Config, path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = vec![("vestibule.toml".to_owned(), path.to_owned())];
    if let Some(tokens) = config.auth.tokens.as_ref().filter(|tokens| tokens.exists()) {
        files.push(("tokens.toml".to_owned(), tokens.clone()));
    }
    for (name, folder) in [("plugins", &config.rules.dir), ("devices", &config.gateway.devices)] {
        if let Some(folder) = folder.as_ref().filter(|folder| folder.is_dir()) {
            below(name, folder, &mut files)?;
        }
    }
    Ok(files)
}

/// All files below a folder.
fn below(name: &str, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        match entry.file_type()? {
            kind if kind.is_dir() => below(&name, &entry.path(), files)?,
            kind if kind.is_file() => files.push((name, entry.path())),
            _ => {}
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to)?;
    // A stick's file system may know no owners.
    let _ = fs::set_permissions(to, fs::Permissions::from_mode(0o600));
    File::open(to)?.sync_all()
}

/// Size and hash of a file.
pub(super) fn entry(folder: &Path, name: String) -> io::Result<Entry> {
    let path = folder.join(&name);
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut File::open(&path)?, &mut hasher)?;
    Ok(Entry { name, bytes, blake3: hasher.finalize().to_hex().to_string() })
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}
