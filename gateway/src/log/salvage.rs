//! What can still be read of a store that SQLite refuses: every event whose page is readable, and where the forwarder stood.
//!
//! The file is only read. What it holds is found by looking at every page, so that neither a damaged table of contents nor a
//! missing half hides the rest; each event is judged by its own JSON form.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::pages::{Pages, Row, Value};
use super::place::place;
use super::progress::Progress;
use super::{FILE, Log, LogError, Salvaged, Submission};
use crate::event::{Event, Kind, Severity};

/// Events that are brought in by one transaction.
const SLICE: usize = 64;
/// What a store's file is called once everything in it that was to be salvaged is.
const DONE: &str = ".salvaged";

/// A store as it lies there.
#[derive(Debug)]
pub struct Wreck {
    pages: Pages,
    stand: Stand,
    /// Where the events are that are wanted, in their order.
    found: Vec<Found>,
    survey: Survey,
}

/// Where a wreck's forwarder stood.
#[derive(Debug, Default)]
struct Stand {
    /// As far as that can be read.
    progress: Option<Progress>,
    /// The places of the dead letters, in order.
    letters: Vec<u64>,
}

impl Stand {
    fn is_settled(&self, place: u64) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.is_settled(place))
    }

    fn is_pending(&self, place: u64) -> bool {
        !self.is_settled(place) || self.letters.binary_search(&place).is_ok()
    }
}

/// Where an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    place: u64,
    page: u32,
    row: u16,
}

/// Which events of a wreck are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that were not forwarded; dead letters count among them.
    Pending,
    /// All.
    All,
}

/// What is known of a wreck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Survey {
    /// Its pages, and how many of them could not be read at all.
    pub pages: u64,
    /// See `pages`.
    pub unreadable_pages: u64,
    /// Events that are whole. One of which an old copy is left is counted with it.
    pub events: u64,
    /// How many of them were not forwarded, or all where that cannot be read.
    pub pending: u64,
    /// Whether it can be read what was forwarded.
    pub knows_forwarded: bool,
    /// Events that were not forwarded and cannot be read, as far as the places around them tell.
    pub lost: u64,
}

/// What became of the events that were to be brought in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BroughtIn {
    /// New in this log, and pending from now on.
    pub new: u64,
    /// Brought in before, or here anyway.
    pub known: u64,
}

impl Wreck {
    /// Looks a store over; reads the whole file twice and writes nothing.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(path: &Path, wanted: Wanted) -> io::Result<Wreck> {
        let pages = Pages::open(path)?;
        let mut stand = Stand::default();
        let unreadable_pages = each(&pages, |_, _, row| {
            if let Some(found) = as_progress(&row) {
                // A stale page may have an older one: what counts is that nothing is left out.
                if stand.progress.as_ref().is_none_or(|known| found.floor < known.floor) {
                    stand.progress = Some(found);
                }
            } else if let Some(seq) = as_dead_letter(&row) {
                stand.letters.push(seq);
            }
        });
        stand.letters.sort_unstable();
        let (mut found, mut events, mut last) = (Vec::new(), 0, 0);
        each(&pages, |page, row, values| {
            let Some((place, _)) = as_event(&values) else { return };
            events += 1;
            last = place.max(last);
            if wanted == Wanted::All || stand.is_pending(place) {
                found.push(Found { place, page, row });
            }
        });
        found.sort_unstable();
        found.dedup_by_key(|found| found.place);
        let count = |places: &dyn Fn(u64) -> bool| {
            u64::try_from(found.iter().filter(|found| places(found.place)).count()).unwrap_or(u64::MAX)
        };
        let unsettled = count(&|place| !stand.is_settled(place));
        let open = match &stand.progress {
            // Behind the last event there may be one that was forwarded.
            Some(progress) => progress.pending(progress.ranges.last().map_or(0, |(_, end)| *end).max(last)),
            None => last.saturating_sub(found.first().map_or(0, |found| found.place.saturating_sub(1))),
        };
        let survey = Survey {
            pages: u64::from(pages.count()),
            unreadable_pages,
            events,
            pending: count(&|place| stand.is_pending(place)),
            knows_forwarded: stand.progress.is_some(),
            // Each place that was not forwarded is found or lost.
            lost: open.saturating_sub(unsettled),
        };
        Ok(Wreck { pages, stand, found, survey })
    }

    /// What is known of it.
    pub fn survey(&self) -> Survey {
        self.survey
    }

    /// The events that are wanted, in their order.
    pub fn events(&self) -> impl Iterator<Item = Salvaged> {
        self.read(self.found.iter())
    }

    fn read<'a>(&'a self, found: impl Iterator<Item = &'a Found>) -> impl Iterator<Item = Salvaged> {
        let mut last: (u32, Vec<u8>) = (0, Vec::new());
        found.filter_map(move |found| {
            if last.0 != found.page {
                last = (found.page, self.pages.page(found.page)?);
            }
            let row = self.pages.row(found.page, &last.1, found.row)?;
            as_event(&row).map(|(_, event)| event)
        })
    }
}

impl Log {
    /// Brings the events of a wreck in that were not forwarded, each once however often this is done, and appends an event that
    /// tells of it. `file` is the name that it bears. Blocks.
    ///
    /// # Errors
    /// Where the log has stopped; what was brought in by then stays.
    pub fn salvage(&self, wreck: &Wreck, file: &str) -> Result<BroughtIn, LogError> {
        let mut brought = BroughtIn::default();
        let pending = wreck.found.iter().filter(|found| wreck.stand.is_pending(found.place));
        let mut events = wreck.read(pending).filter(|event| event.life() != self.id_prefix()).peekable();
        let before = *self.head().borrow();
        while events.peek().is_some() {
            let slice: Vec<Salvaged> = events.by_ref().take(SLICE).collect();
            let count = u64::try_from(slice.len()).unwrap_or(u64::MAX);
            let new = self.submit_blocking(Submission { salvaged: slice, ..Submission::default() })?.salvaged;
            brought.new += new;
            brought.known += count - new;
        }
        let event = told(file, brought, &wreck.survey(), before);
        self.submit_blocking(Submission { events: vec![event.into()], ..Submission::default() })?;
        Ok(brought)
    }

    /// Brings in what the stores hold that were set aside in this folder, each once. One that does not tell what was forwarded
    /// is left for somebody to decide: all of it would be sent again. Blocks.
    pub fn salvage_wrecks(&self) {
        let wrecks = wrecks(self.dir()).unwrap_or_else(|error| {
            tracing::error!(%error, "The data folder cannot be looked at for stores that were set aside.");
            Vec::new()
        });
        for path in wrecks {
            let shown = path.display();
            let wreck = match Wreck::open(&path, Wanted::Pending) {
                Ok(wreck) => wreck,
                Err(error) => {
                    tracing::error!(%error, "{shown} cannot be read; the next start tries again.");
                    continue;
                }
            };
            let survey = wreck.survey();
            if survey.events > 0 && !survey.knows_forwarded {
                tracing::error!(
                    events = survey.events,
                    "{shown} does not tell what was forwarded: `vestibule outbox salvage {shown} --config FILE` sends all of it \
                     again."
                );
                continue;
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            match self.salvage(&wreck, &name) {
                Ok(brought) => {
                    tracing::warn!(new = brought.new, lost = survey.lost, "Salvaged {shown}.");
                    if let Err(error) = finish(&path) {
                        tracing::warn!(%error, "That {shown} is salvaged cannot be noted.");
                    }
                }
                // The next start goes on.
                Err(error) => return tracing::error!(%error, "{shown} is not salvaged."),
            }
        }
    }

    /// The folder of the store.
    pub fn dir(&self) -> &Path {
        self.0.path.parent().unwrap_or(Path::new("."))
    }
}

/// Calls `visit` for each row of each page; how many pages could not be read.
fn each(pages: &Pages, mut visit: impl FnMut(u32, u16, Row)) -> u64 {
    let mut unreadable = 0;
    for number in 1..=pages.count() {
        let Some(page) = pages.page(number) else {
            unreadable += 1;
            continue;
        };
        for index in 0..pages.rows(number, &page) {
            if let Some(row) = pages.row(number, &page, index) {
                visit(number, index, row);
            }
        }
    }
    unreadable
}

/// The event that tells what was salvaged.
fn told(file: &str, brought: BroughtIn, survey: &Survey, before: u64) -> Event {
    let (now, synced) = crate::clock::now();
    let lost = if survey.lost > 0 { format!("; {} cannot be read", survey.lost) } else { String::new() };
    let detail = format!("{} events of {file} that were not forwarded are pending again{lost}", brought.new);
    let mut event = Event::new(Kind::GatewayEventsSalvaged)
        .detail(detail)
        .attribute("file", file)
        .attribute("events", brought.new)
        .attribute("known", brought.known)
        .attribute("lost", survey.lost)
        .attribute("unreadable_pages", survey.unreadable_pages)
        .attribute("after", before);
    if survey.lost > 0 || survey.unreadable_pages > 0 {
        event.severity = Severity::Major;
    }
    event.terminal = "gateway".to_owned();
    event.received_at = Some(now);
    event.time_synced = synced;
    event
}

/// Stores in this folder that were set aside, oldest first, and from which nothing was salvaged yet.
///
/// # Errors
/// Where the folder cannot be read.
pub fn wrecks(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut wrecks = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let aside = name.strip_prefix(FILE).is_some_and(|rest| rest.starts_with(".corrupt-"));
        let own = ["-wal", "-shm", DONE].iter().all(|suffix| !name.ends_with(suffix));
        if aside && own && !done(&path).exists() {
            wrecks.push(path);
        }
    }
    wrecks.sort_unstable();
    Ok(wrecks)
}

/// Notes beside a store that what was to be salvaged from it is: no start does it again.
///
/// # Errors
/// Where the folder cannot be written.
pub fn finish(wreck: &Path) -> io::Result<()> {
    File::create(done(wreck)).map(|_| ())
}

fn done(wreck: &Path) -> PathBuf {
    PathBuf::from(format!("{}{DONE}", wreck.display()))
}

/// An event, and its place.
fn as_event(row: &Row) -> Option<(u64, Salvaged)> {
    let seq = place(row.rowid.filter(|rowid| *rowid > 0)?);
    row.values.iter().find_map(|value| match value {
        Value::Text(text) if text.starts_with(r#"{"seq":"#) => Some((seq, Salvaged::read(text).ok()?)),
        _ => None,
    })
}

/// A row of `progress`: consumer, floor, ranges, forwarded, dead_lettered, discarded.
fn as_progress(row: &Row) -> Option<Progress> {
    let [Value::Text(consumer), Value::Number(floor), Value::Text(ranges), counts @ ..] = row.values.as_slice() else {
        return None;
    };
    let [Value::Number(forwarded), Value::Number(dead_lettered), Value::Number(discarded), ..] = counts else {
        return None;
    };
    if row.rowid.is_some() || consumer != "mqtt" {
        return None;
    }
    Some(Progress {
        floor: place(*floor),
        ranges: serde_json::from_str(ranges).ok()?,
        forwarded: place(*forwarded),
        dead_lettered: place(*dead_lettered),
        discarded: place(*discarded),
    })
}

/// A row of `dead_letter`: its rowid is the place, then reason and instant.
fn as_dead_letter(row: &Row) -> Option<u64> {
    let seq = row.rowid.filter(|rowid| *rowid > 0)?;
    match row.values.as_slice() {
        [Value::Null, Value::Text(_), Value::Text(at)] if at.parse::<jiff::Timestamp>().is_ok() => Some(place(seq)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
