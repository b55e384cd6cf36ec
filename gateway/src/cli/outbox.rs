//! `vestibule outbox`: what is kept for the broker, looked at, checked, and saved from a damaged store.
//!
//! What only looks opens the store beside a running gateway. What changes something asks the running gateway, or opens the
//! store itself where none runs.

mod dead_letter;
mod export;
mod ls;
mod out;
mod salvage;
mod status;
mod verify;

use clap::{Args, Subcommand};

pub(super) use self::out::Out;
use super::exit::Exit;

/// Look at the outbox, check it, and save what a damaged store holds.
#[derive(Debug, Args)]
pub(super) struct Outbox {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Status(status::Status),
    Ls(ls::Ls),
    Verify(verify::Verify),
    Salvage(salvage::Salvage),
    Export(export::Export),
    DeadLetter(dead_letter::DeadLetter),
}

impl Outbox {
    /// Carries the verb out.
    pub(super) fn execute(self) -> Result<(), Exit> {
        match self.verb {
            Verb::Status(status) => status.execute(),
            Verb::Ls(ls) => ls.execute(),
            Verb::Verify(verify) => verify.execute(),
            Verb::Salvage(salvage) => salvage.execute(),
            Verb::Export(export) => export.execute(),
            Verb::DeadLetter(dead_letter) => dead_letter.execute(),
        }
    }
}
