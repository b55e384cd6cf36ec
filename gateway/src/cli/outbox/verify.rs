//! `vestibule outbox verify`: whether the store is sound.

use clap::Args;

use super::out::Out;
use crate::cli::exit::Exit;
use crate::cli::way::Folder;
use crate::log::Records;

/// Check the store: its pages, every event, every position. 0 where it is sound, 65 where it is not.
#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    folder: Folder,
    /// Compare SQLite's indexes with their tables, too.
    #[arg(long)]
    full: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn execute(self) -> Result<(), Exit> {
        let dir = self.folder.dir()?;
        let path = dir.join("events.db");
        let save = format!("what can be read of it: vestibule outbox salvage {} --to FILE", path.display());
        if !path.exists() {
            return Err(Exit::no_input(format!("{} is not there", path.display())));
        }
        let records = Records::open(&dir).map_err(|error| Exit::data(format!("{error}; {save}")))?;
        let verdict = records.verify(self.full).map_err(|error| Exit::data(format!("{error}; {save}")))?;
        let mut out = Out::to(None)?;
        if self.json {
            out.line(&serde_json::to_string(&verdict).map_err(|error| Exit::software(error.to_string()))?)?;
        } else {
            for fault in &verdict.faults {
                out.line(fault)?;
            }
            let salvaged = match verdict.salvaged {
                0 => String::new(),
                count => format!(", {count} of them from another store"),
            };
            let word = if verdict.is_sound() { "sound" } else { "not sound" };
            out.line(&format!("{}: {word}; {} events{salvaged}", path.display(), verdict.events))?;
        }
        out.finish()?;
        if verdict.is_sound() {
            return Ok(());
        }
        let count = u64::try_from(verdict.faults.len()).unwrap_or(u64::MAX).saturating_add(verdict.untold);
        Err(Exit::data(format!("{count} faults; {save}")))
    }
}
