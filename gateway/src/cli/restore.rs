//! `vestibule restore`: the store of a backup into the data folder of a gateway that is stopped.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::backup::{MANIFEST, Manifest, STORE, entry};
use super::exit::Exit;
use super::interrupt;
use crate::config::Config;
use crate::gateway::StartError;
use crate::log::{OpenError, RestoreError, restore};

/// Put the store of a backup in place; a new life of it begins, and what it holds keeps its ids.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The folder that `vestibule backup` made.
    from: PathBuf,
    /// The gateway's configuration.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Set the store aside that is there.
    #[arg(long)]
    replace: bool,
}

impl Restore {
    /// Checks the backup whole, then puts it in place.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let config = Config::load(&self.config)?;
        let manifest = manifest(&self.from)?;
        if manifest.gateway != config.gateway.id {
            return Err(Exit::data(format!(
                "the backup is of gateway `{}`, and the configuration of `{}`",
                manifest.gateway, config.gateway.id
            )));
        }
        let dir = &config.log.dir;
        interrupt::watch();
        let beginning =
            restore(&self.from.join(STORE), dir, self.replace, interrupt::goes_on).map_err(|error| match error {
                RestoreError::Store(OpenError::InUse(_)) => Exit::unavailable(format!("{error}; stop it first")),
                RestoreError::Store(error) => StartError::from(error).into(),
                RestoreError::InTheWay(_) => Exit::cannot_create(format!("{error}; `--replace` sets it aside")),
                RestoreError::Unsound(_) => Exit::data(error.to_string()),
                RestoreError::Interrupted => interrupt::interrupted(),
                RestoreError::Io { .. } => Exit::io(error.to_string()),
            })?;
        let mut lines = vec![format!(
            "{}: {} events up to {} as of {}; start the gateway",
            dir.display(),
            manifest.events,
            beginning.after,
            manifest.made_at
        )];
        if let Some(file) = beginning.set_aside {
            let (file, config) = (dir.join(file), self.config.display());
            lines.push(format!(
                "the store before is {0}; what it had not forwarded comes in by: vestibule outbox salvage {0} --config {config}",
                file.display()
            ));
        }
        let others: Vec<&str> =
            manifest.files.iter().map(|file| file.name.as_str()).filter(|name| *name != STORE).collect();
        if !others.is_empty() {
            lines.push(format!("not put back, copy by hand what you need: {}", others.join(", ")));
        }
        writeln!(io::stdout(), "{}", lines.join("\n")).map_err(|error| Exit::io(error.to_string()))
    }
}

/// Reads the list, and compares every file with it.
fn manifest(from: &Path) -> Result<Manifest, Exit> {
    let path = from.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| Exit::no_input(format!("{}: {error}", path.display())))?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| Exit::data(format!("{}: {error}", path.display())))?;
    if manifest.format != 1 {
        return Err(Exit::data(format!("{}: it was made by a newer program ({})", path.display(), manifest.version)));
    }
    for listed in &manifest.files {
        let inside = !listed.name.starts_with('/') && listed.name.split('/').all(|part| part != "..");
        let found = if inside { entry(from, listed.name.clone()) } else { Err(io::ErrorKind::InvalidInput.into()) };
        let found = found.map_err(|error| Exit::data(format!("{}: {error}", from.join(&listed.name).display())))?;
        if (found.bytes, &found.blake3) != (listed.bytes, &listed.blake3) {
            let file = from.join(&listed.name);
            return Err(Exit::data(format!("{} is not what was backed up: the backup is damaged", file.display())));
        }
    }
    if !manifest.files.iter().any(|file| file.name == STORE) {
        return Err(Exit::data(format!("{}: there is no {STORE} in it", path.display())));
    }
    Ok(manifest)
}
