//! The tokens' file: its owner's alone, replaced whole, changed by one process at a time.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::store::Tokens;

/// A longer file is no list of tokens.
const MAX_BYTES: u64 = 4 << 20;
/// The modes that let others than the owner in.
const OTHERS: u32 = 0o077;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read or write it, or it is somebody else's.
    #[error("{}: {reason}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Its text is wrong.
    #[error("{}: {reason}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Reads the file. One that is not there holds no tokens.
///
/// # Errors
/// Where it cannot be read, is open to others, or its text is wrong.
pub fn read(path: &Path) -> Result<Tokens, FileFault> {
    let fault = |source| FileFault::Io { path: path.to_owned(), source };
    // What is checked is what is read, whatever happens to the name meanwhile.
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tokens::default()),
        Err(error) => return Err(fault(error)),
    };
    if let Some(reason) = exposed(&file.metadata().map_err(fault)?) {
        return Err(FileFault::Exposed { path: path.to_owned(), reason });
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(fault)?;
    Tokens::parse(&text).map_err(|reason| FileFault::Text { path: path.to_owned(), reason })
}

fn exposed(data: &Metadata) -> Option<String> {
    let us = nix::unistd::geteuid().as_raw();
    if !data.is_file() {
        Some("is no file".to_owned())
    } else if data.len() > MAX_BYTES {
        Some(format!("has more than {MAX_BYTES} bytes"))
    } else if data.uid() != us && data.uid() != 0 && us != 0 {
        Some(format!("belongs to user {}, not to {us}, who runs this", data.uid()))
    } else if data.mode() & OTHERS != 0 {
        Some(format!("others may use it (mode {:03o}): `chmod 600` it", data.mode() & 0o777))
    } else {
        None
    }
}

/// Changes the file: reads it, lets `change` work on it, and puts the outcome in its place. Whoever changes it at the
/// same time waits; whoever reads it sees all of the change or nothing.
///
/// # Errors
/// As [`read`], where it cannot be written, or with what `change` says; the file is then as it was.
pub fn update<T, E: From<FileFault>>(path: &Path, change: impl FnOnce(&mut Tokens) -> Result<T, E>) -> Result<T, E> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let fault = |source| FileFault::Io { path: dir.to_owned(), source };
    // The folder is what is locked: the file itself is another one after each change.
    let folder = File::open(dir).map_err(fault)?;
    folder.lock().map_err(fault)?;
    let mut tokens = read(path)?;
    let done = change(&mut tokens)?;
    replace(path, dir, &folder, &tokens)?;
    Ok(done)
}

fn replace(path: &Path, dir: &Path, folder: &File, tokens: &Tokens) -> Result<(), FileFault> {
    let fault = |source| FileFault::Io { path: path.to_owned(), source };
    let text = tokens.text().map_err(|reason| FileFault::Text { path: path.to_owned(), reason })?;
    // Made 0600 from the first moment.
    let mut fresh = tempfile::Builder::new().prefix(".tokens-").tempfile_in(dir).map_err(fault)?;
    fresh.as_file().set_permissions(fs::Permissions::from_mode(0o600)).map_err(fault)?;
    if nix::unistd::geteuid().is_root() {
        // `sudo vestibule token add` must not take the file away from the user that the gateway runs as.
        let owner = fs::metadata(path).or_else(|_| folder.metadata()).map_err(fault)?;
        fchown(fresh.as_file(), Some(owner.uid()), Some(owner.gid())).map_err(fault)?;
    }
    fresh.write_all(text.as_bytes()).map_err(fault)?;
    fresh.as_file().sync_all().map_err(fault)?;
    fresh.persist(path).map_err(|error| fault(error.error))?;
    folder.sync_all().map_err(fault)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;
    use crate::watch::look;

    #[test]
    fn the_file_is_made_for_its_owner_alone_and_refused_where_others_may_use_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tokens.toml");
        assert_eq!(read(&path).expect("none is no fault"), Tokens::default());
        assert_eq!(look(&path), None);
        update(&path, |_| Ok::<_, FileFault>(())).expect("is written");
        let before = look(&path);
        assert_eq!(fs::metadata(&path).expect("is there").mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("is set");
            let fault = read(&path).expect_err("is open").to_string();
            assert!(fault.contains(&format!("mode {mode:03o}")), "{fault}");
            assert!(update(&path, |_| Ok::<_, FileFault>(())).is_err(), "an open file is not healed silently");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("is set");
        update(&path, |_| Ok::<_, FileFault>(())).expect("is written");
        assert_ne!(look(&path), before, "a change is seen");
        let left = fs::read_dir(dir.path()).expect("is read").count();
        assert_eq!(left, 1, "nothing is left behind");
    }

    #[test]
    fn a_refused_change_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tokens.toml");
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).expect("is made");
        let fault = FileFault::Text { path: path.clone(), reason: "no".to_owned() };
        let before = look(&path);
        update(&path, |_| Err::<(), _>(fault)).expect_err("is refused");
        assert_eq!(look(&path), before);
        fs::write(&path, "token = 7").expect("is written");
        assert!(matches!(read(&path), Err(FileFault::Text { .. })));
        assert!(matches!(read(dir.path()), Err(FileFault::Exposed { .. } | FileFault::Io { .. })));
    }
}
