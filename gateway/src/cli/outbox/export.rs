//! `vestibule outbox export`: events as JSON lines, or as CloudEvents as the broker gets them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::out::Out;
use crate::cli::exit::Exit;
use crate::cli::way::Folder;
use crate::cli::which::Which;
use crate::forward::{Envelope, Identity};
use crate::log::{LogError, Records, Stored};

/// Events read at once.
const PAGE: usize = 1000;

/// Write events out: all, or those that are asked for.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    which: Which,
    /// From this place on.
    #[arg(long, value_name = "PLACE", default_value_t = 1)]
    first: u64,
    /// Up to this place.
    #[arg(long, value_name = "PLACE")]
    last: Option<u64>,
    /// Only those that are still to be forwarded.
    #[arg(long)]
    pending: bool,
    /// `jsonl`: an event a line; `cloudevents`: one array, each as the broker gets it (needs --config).
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// A new file instead of standard output.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Cloudevents,
}

impl Export {
    pub(super) fn execute(self) -> Result<(), Exit> {
        let failed = |error: LogError| Exit::io(error.to_string());
        let envelope = match (self.format, self.folder.config()?) {
            (Format::Jsonl, _) => None,
            (Format::Cloudevents, Some(config)) => {
                Some(Envelope::new(&Identity { site: config.gateway.site, gateway: config.gateway.id }))
            }
            (Format::Cloudevents, None) => {
                return Err(Exit::usage("--format cloudevents needs --config, for its `source`"));
            }
        };
        if let Some(last) = self.last.filter(|last| *last < self.first) {
            return Err(Exit::usage(format!("--first {} stands behind --last {last}", self.first)));
        }
        let records = Records::open(&self.folder.dir()?).map_err(|error| Exit::no_input(error.to_string()))?;
        let (progress, filter) = (records.progress().map_err(failed)?, self.which.filter());
        let last = self.last.unwrap_or(u64::MAX);
        let wanted = |stored: &Stored| {
            stored.seq <= last && !(self.pending && progress.is_settled(stored.seq)) && filter.wants(&stored.event)
        };
        let mut out = Out::to(self.to.as_deref())?;
        let (mut at, mut count) = (self.first.saturating_sub(1), 0_u64);
        loop {
            let piece = records.after(at, PAGE, PAGE, wanted).map_err(failed)?;
            for stored in &piece.events {
                let line = match &envelope {
                    None => stored.json.to_string(),
                    Some(envelope) => {
                        let mark = if count == 0 { "[" } else { "," };
                        format!("{mark}{}", envelope.wrap(stored, true))
                    }
                };
                count += 1;
                if !out.line(&line)? {
                    return Ok(());
                }
            }
            if piece.upto == at || piece.upto >= last {
                break;
            }
            at = piece.upto;
        }
        if envelope.is_some() {
            out.line(if count == 0 { "[]" } else { "]" })?;
        }
        out.finish()
    }
}
