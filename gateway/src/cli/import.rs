//! `vestibule import`: a file of JSON tables into the store of a gateway that is stopped.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::exit::Exit;
use crate::clock;
use crate::config::Config;
use crate::event::Event;
use crate::gateway::StartError;
use crate::link::upload::{Names, submission};
use crate::log::{Log, OpenError, Opened, Submission};
use crate::metrics::Metrics;
use crate::profile::Profile;
use crate::protocol::Protocol;
use crate::protocol::upload::Document;
use crate::terminals::{Inventory, TerminalFold};

/// The largest file, in bytes; the same as a listener may take.
const MOST: u64 = 4 * 1024 * 1024;
/// Where uploads come by usually.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5555);

/// Import a file of JSON tables (regions, branches, groups, devices, terminals, journal, events, transactions).
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file: the document alone, as it would follow `name<>size`.
    file: PathBuf,
    /// The gateway's configuration; without it, the embedded default.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder, where it is not the configuration's.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Import {
    /// Commits the whole file, or nothing of it.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        if let Some(dir) = self.dir {
            config.log.dir = dir;
        }
        let document = read(&self.file)?;
        let software = |error: String| Exit::software(error);
        let metrics = Arc::new(Metrics::new().map_err(|error| software(error.to_string()))?);
        let terminals = config.terminals();
        let inventory = Arc::new(Inventory::new(terminals));
        let fold = Box::new(TerminalFold::new(Arc::clone(&inventory), Arc::clone(&metrics)));
        let opened =
            Log::open(&config.log, &config.gateway.id, fold, Arc::clone(&metrics)).map_err(|error| match error {
                OpenError::InUse(_) => Exit::unavailable(format!("{error}; {}", instead(&config, &self.file))),
                other => StartError::from(other).into(),
            })?;
        let news = opened.news();
        let Opened { log, newest_confirmed, .. } = opened;
        clock::configure(&config.clock, newest_confirmed);
        let profile =
            Profile::builtin(Protocol::Upload.usual_profile()).map_err(|error| software(error.to_string()))?;
        let names = Names::new(&document, &inventory, true).map_err(software)?;
        let mut submitted = submission(&document, &profile, &names, stamp);
        submitted.events.splice(0..0, news.into_iter().map(|event| stamp("gateway", event).into()));
        let outcome = commit(&log, submitted);
        log.close();
        let appended = outcome?;
        let known = metrics.log_duplicates.get();
        writeln!(
            std::io::stdout(),
            "{}: {} rows, {appended} events, {known} known already",
            self.file.display(),
            document.rows()
        )
        .map_err(|error| Exit::io(error.to_string()))
    }
}

/// Commits, and counts the events that were appended.
fn commit(log: &Log, submitted: Submission) -> Result<u64, Exit> {
    let before = *log.head().borrow();
    log.submit_blocking(submitted).map_err(|error| Exit::io(error.to_string()))?;
    Ok(*log.head().borrow() - before)
}

fn read(file: &Path) -> Result<Document, Exit> {
    let missing = |error: std::io::Error| Exit::no_input(format!("{}: {error}", file.display()));
    let mut bytes = Vec::new();
    fs::File::open(file).map_err(missing)?.take(MOST + 1).read_to_end(&mut bytes).map_err(missing)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST) {
        return Err(Exit::data(format!("{} has more than {MOST} bytes", file.display())));
    }
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    Document::parse(&name, &bytes).map_err(|fault| Exit::data(format!("{}: {}", file.display(), fault.reason)))
}

/// How the same file gets into a gateway that runs.
fn instead(config: &Config, file: &Path) -> String {
    let listener = config.listener.iter().find(|listener| listener.protocol == Protocol::Upload);
    let (host, port) = listener.map_or((USUAL.ip(), USUAL.port()), |at| (at.listen.ip(), at.listen.port()));
    let host = if host.is_unspecified() { USUAL.ip() } else { host };
    let file = file.display();
    let needs = if listener.is_some() { "" } else { " (it needs a [[listener]] with protocol = \"upload\" there)" };
    format!(
        "send the file to the running gateway{needs}: \
         (printf '%s<>%s' import.json \"$(stat -c %s '{file}')\"; cat '{file}') | nc -N {host} {port}"
    )
}

fn stamp(terminal: &str, mut event: Event) -> Event {
    let (now, synced) = clock::now();
    event.terminal = terminal.to_owned();
    event.received_at = Some(now);
    event.time_synced = synced;
    event.link = Some("import".to_owned());
    event.protocol = Some(Protocol::Upload.name().to_owned());
    event
}
