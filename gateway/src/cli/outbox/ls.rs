//! `vestibule outbox ls`: the events that are still to be forwarded.

use clap::Args;
use serde_json::json;

use super::out::Out;
use crate::cli::exit::Exit;
use crate::cli::line;
use crate::cli::way::Folder;
use crate::cli::which::Which;
use crate::log::Records;

/// Events read at once.
const PAGE: usize = 1000;

/// List the events that are still to be forwarded: place, time, terminal, severity, kind.
#[derive(Debug, Args)]
pub(super) struct Ls {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    which: Which,
    /// Most of them; 0 for all.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u64,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Ls {
    pub(super) fn execute(self) -> Result<(), Exit> {
        let failed = |error: crate::log::LogError| Exit::io(error.to_string());
        let records = Records::open(&self.folder.dir()?).map_err(|error| Exit::no_input(error.to_string()))?;
        let (progress, filter) = (records.progress().map_err(failed)?, self.which.filter());
        let (mut out, mut count) = (Out::to(None)?, 0);
        let mut at = progress.floor;
        loop {
            at = progress.settled_through(at);
            let wanted = |stored: &crate::log::Stored| !progress.is_settled(stored.seq) && filter.wants(&stored.event);
            let piece = records.after(at, PAGE, PAGE, wanted).map_err(failed)?;
            for stored in &piece.events {
                let event = &stored.event;
                let text = if self.json {
                    let (terminal, kind, severity) = (&event.terminal, event.kind, event.severity);
                    let (id, at) = (stored.id(), event.received_at);
                    json!({ "seq": stored.seq, "id": id, "received_at": at, "terminal": terminal, "kind": kind, "severity": severity })
                        .to_string()
                } else {
                    line::event(stored, "%Y-%m-%dT%H:%M:%SZ")
                };
                count += 1;
                if !out.line(&text)? || count == self.limit {
                    return out.finish();
                }
            }
            if !piece.more && piece.upto == at {
                return out.finish();
            }
            at = piece.upto;
        }
    }
}
