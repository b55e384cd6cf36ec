//! `vestibule outbox salvage`: what can still be read of a damaged store, written out or brought into the present one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::out::Out;
use crate::cli::ask::USUAL;
use crate::cli::door::{Door, Key};
use crate::cli::exit::Exit;
use crate::cli::store;
use crate::config::Config;
use crate::log::{Survey, Wanted, Wreck};

/// The present store in a data folder.
const STORE: &str = "events.db";
/// Pause between two looks at whether a running gateway is done.
const LOOK: Duration = Duration::from_millis(300);

/// Read what can still be read of a damaged store: write it out, or bring what was not forwarded into the present one.
#[derive(Debug, Args)]
pub(super) struct Salvage {
    /// The damaged store: `events.db.corrupt-…`, say, with its write-ahead log beside it.
    file: PathBuf,
    /// Write the events to this new file, one JSON object a line; `-` is standard output. Nothing else is touched.
    #[arg(long, value_name = "FILE", required_unless_present = "config", conflicts_with = "config")]
    to: Option<PathBuf>,
    /// Only those that were not forwarded; with --config that is so anyway.
    #[arg(long)]
    pending: bool,
    /// The gateway into whose store they are brought, with their ids; one that runs does it itself.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Bring in a store that another gateway wrote, too: its events keep that gateway's name in their ids.
    #[arg(long, requires = "config")]
    foreign: bool,
    #[command(flatten)]
    key: Key,
}

impl Salvage {
    pub(super) fn execute(self) -> Result<(), Exit> {
        if in_use(&self.file) {
            return Err(Exit::unavailable(format!(
                "{} is in use by a running gateway; `vestibule outbox export` reads it",
                self.file.display()
            )));
        }
        let wanted = if self.pending || self.config.is_some() { Wanted::Pending } else { Wanted::All };
        let shown = self.file.display();
        let open = || {
            let wreck = Wreck::open(&self.file, wanted).map_err(|error| Exit::no_input(format!("{shown}: {error}")))?;
            if wreck.is_store() {
                return Ok(wreck);
            }
            Err(Exit::data(format!("{shown}: nothing in it is of a gateway's store, and nothing was done")))
        };
        let survey = match &self.config {
            None => {
                let wreck = open()?;
                let mut out = Out::to(self.to.as_deref())?;
                for event in wreck.events() {
                    if !out.line(event.json())? {
                        break;
                    }
                }
                out.finish()?;
                wreck.survey()
            }
            Some(path) => {
                let config = Config::load(path)?;
                if is_same(&self.file, &config.log.dir.join(STORE)) {
                    return Err(Exit::usage(format!(
                        "{shown} is the present store of that gateway: a start sets it aside and salvages it, if it is damaged"
                    )));
                }
                let wreck = open()?;
                let stranger = if self.foreign { None } else { wreck.stranger(&config.gateway.id) };
                if let Some(stranger) = stranger {
                    return Err(Exit::data(format!(
                        "{shown} holds events of gateway `{stranger}`, and the configuration is of `{}`; `--foreign` brings them in \
                         all the same",
                        config.gateway.id
                    )));
                }
                let by = store::person();
                match store::open(&config)? {
                    Some(log) => {
                        let name =
                            self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                        let brought = log.salvage(&wreck, &name, Some(&by));
                        if brought.is_ok() {
                            // One that cannot be marked is looked at once more at the next start, and nothing new is found in it.
                            let _ = log.finish(&self.file);
                        }
                        log.close();
                        let brought = brought.map_err(|error| Exit::io(error.to_string()))?;
                        say(&format!("{} events are pending again, {} were here already", brought.new, brought.known));
                    }
                    None => self.ask(&self.key.door(Some(&config))?, &config.log.dir)?,
                }
                wreck.survey()
            }
        };
        judge(&self.file, &survey)
    }

    /// Has a running gateway do it, and waits for its event.
    fn ask(&self, door: &Door, dir: &Path) -> Result<(), Exit> {
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = |path: &Path| path.canonicalize().ok();
        if folder(dir).map(|dir| dir.join(&name)) != folder(&self.file) {
            return Err(Exit::unavailable(format!(
                "a gateway is running, and reads only what is in its data folder: move the file to {}, or stop the gateway",
                dir.display()
            )));
        }
        let begun = door.post("/api/v1/outbox/salvage", &json!({ "file": name }), USUAL)?;
        let mut after = begun["after"].as_u64().unwrap_or(0);
        loop {
            let path = format!("/api/v1/events?terminal=gateway&kind=gateway.events_salvaged&after={after}");
            let page = door.get(&path)?;
            let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(event) = events.iter().find(|event| event["attributes"]["file"] == name.as_str()) {
                let count = |key: &str| event["attributes"][key].as_u64().unwrap_or(0);
                say(&format!("{} events are pending again, {} were here already", count("events"), count("known")));
                return Ok(());
            }
            after = page["upto"].as_u64().unwrap_or(after);
            std::thread::sleep(LOOK);
        }
    }
}

/// What is left over is a fault, with a number.
fn judge(file: &Path, survey: &Survey) -> Result<(), Exit> {
    let Survey { pages, unreadable_pages, events, pending, knows_forwarded, lost, lost_at_least } = survey;
    let known = if *knows_forwarded { "" } else { " (what was forwarded cannot be read: all of them)" };
    say(&format!("{}: {events} events in {pages} pages, {pending} not forwarded{known}", file.display()));
    if survey.is_whole() {
        return Ok(());
    }
    let lost = match lost {
        Some(lost) => format!("{lost} events cannot be read"),
        None => format!("how many events cannot be read is not known, {lost_at_least} at least"),
    };
    Err(Exit::data(format!("{lost}; {unreadable_pages} pages are missing or cannot be read; the rest is saved")))
}

/// To people: standard output may be where the events go.
fn say(text: &str) {
    crate::cli::complain(text);
}

/// Whether this is the store that a running gateway writes, by whatever name.
fn in_use(file: &Path) -> bool {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let ours = file.file_name().is_some_and(|name| name == STORE);
    ours && store::is_running(file.parent().unwrap_or(Path::new(".")))
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
