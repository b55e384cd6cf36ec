//! `vestibule outbox dead-letter`: what the broker does not take, and trying it again.

use clap::{Args, Subcommand};
use serde_json::json;

use super::out::Out;
use crate::cli::ask::USUAL;
use crate::cli::door::Key;
use crate::cli::exit::Exit;
use crate::cli::way::Folder;
use crate::cli::{runtime, store};
use crate::config::Config;
use crate::log::{Log, LogError, Records};

/// Dead letters read at once.
const PAGE: usize = 1000;

/// List the events that the broker does not take, or have them sent again.
#[derive(Debug, Args)]
pub(super) struct DeadLetter {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List them: place, since when, terminal, kind, why.
    Ls(Ls),
    /// Have them sent again: all, or those at these places.
    Replay(Replay),
}

#[derive(Debug, Args)]
struct Ls {
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Replay {
    /// The gateway's configuration.
    #[arg(long, short, value_name = "FILE")]
    config: std::path::PathBuf,
    /// All of them.
    #[arg(long, conflicts_with = "places", required_unless_present = "places")]
    all: bool,
    /// Their places in the log.
    #[arg(value_name = "PLACE")]
    places: Vec<u64>,
    #[command(flatten)]
    key: Key,
}

impl DeadLetter {
    pub(super) fn execute(self) -> Result<(), Exit> {
        match self.verb {
            Verb::Ls(ls) => ls.execute(),
            Verb::Replay(replay) => replay.execute(),
        }
    }
}

impl Ls {
    fn execute(self) -> Result<(), Exit> {
        let failed = |error: LogError| Exit::io(error.to_string());
        let records = Records::open(&self.folder.dir()?).map_err(|error| Exit::no_input(error.to_string()))?;
        let (mut out, mut after) = (Out::to(None)?, 0);
        loop {
            let letters = records.dead_letters(after, PAGE).map_err(failed)?;
            let Some(last) = letters.last() else { return out.finish() };
            after = last.seq;
            for letter in letters {
                let event = records.one(letter.seq).map_err(failed)?;
                let event = event.as_deref().map(|stored| &stored.event);
                let (terminal, kind) = (event.map(|event| event.terminal.as_str()), event.map(|event| event.kind));
                let line = if self.json {
                    json!({ "seq": letter.seq, "at": letter.at, "terminal": terminal, "kind": kind, "reason": letter.reason })
                        .to_string()
                } else {
                    let (terminal, kind) = (terminal.unwrap_or("-"), kind.map_or("-", |kind| kind.name()));
                    format!("{:>8}  {}  {terminal:<19} {kind:<29} {}", letter.seq, letter.at, letter.reason)
                };
                if !out.line(&line)? {
                    return Ok(());
                }
            }
        }
    }
}

impl Replay {
    fn execute(self) -> Result<(), Exit> {
        let config = Config::load(&self.config)?;
        let by = store::person();
        let (replayed, none) = match store::open(&config)? {
            Some(log) => {
                let replayed = self.directly(&log, &by);
                log.close();
                replayed?
            }
            None => {
                let body = if self.all { json!({ "all": true }) } else { json!({ "seqs": self.places }) };
                let answer = self.key.door(Some(&config))?.post("/api/v1/outbox/dead-letters/replay", &body, USUAL)?;
                let none = answer["none"].as_array().map(Vec::as_slice).unwrap_or_default();
                (answer["replayed"].as_u64().unwrap_or(0), none.iter().filter_map(serde_json::Value::as_u64).collect())
            }
        };
        let mut out = Out::to(None)?;
        out.line(&format!("{replayed} events are pending again"))?;
        out.finish()?;
        if none.is_empty() {
            return Ok(());
        }
        let none: Vec<String> = none.iter().map(u64::to_string).collect();
        Err(Exit::data(format!("no dead letter stands at {}", none.join(", "))))
    }

    /// In the store of a gateway that does not run: how many, and the places at which there is none.
    fn directly(&self, log: &Log, by: &str) -> Result<(u64, Vec<u64>), Exit> {
        let replayed = runtime()?.block_on(log.replay_for(by, &self.places));
        replayed.map_err(|error| Exit::io(error.to_string()))
    }
}
