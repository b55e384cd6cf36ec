//! What can still be read of a store that SQLite refuses: every event whose page is readable, and where the forwarder stood.
//!
//! The file is only read. What it holds is found by looking at every page, so that neither a damaged table of contents nor a
//! missing half hides the rest; each event is judged by its own JSON form.

mod mark;
mod relics;
mod rows;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use self::mark::Due;
pub use self::mark::wrecks;
use self::relics::Relics;
use self::rows::{as_dead_letter, as_event, as_progress, as_root, as_source_id, as_terminal};
use super::pages::{Pages, Row};
use super::progress::Progress;
use super::{Log, LogError, Salvaged, Submission};
use crate::event::{Event, Kind, Severity};

/// Events that are brought in by one transaction.
const SLICE: usize = 64;
/// The page on which the table of events begins, where the table of contents cannot be read: the schema puts it there.
const ROOT: u32 = 6;

/// One is salvaged at a time: lines of journals get their places beforehand.
static TURN: Mutex<()> = Mutex::new(());

/// A store as it lies there.
#[derive(Debug)]
pub struct Wreck {
    pages: Pages,
    stand: Stand,
    /// Where the events are that are wanted, in their order.
    found: Vec<Found>,
    relics: Relics,
    survey: Survey,
    is_store: bool,
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

/// What rows around the events tell of them.
#[derive(Debug, Default)]
struct Evidence {
    /// Where the table of events begins.
    root: Option<u32>,
    /// The last place that is named.
    last: u64,
    /// The number of events of each terminal.
    terminals: HashMap<String, u64>,
}

impl Evidence {
    fn note(&mut self, row: &Row) {
        if let Some(root) = as_root(row) {
            self.root = Some(root);
        } else if let Some((terminal, count)) = as_terminal(row) {
            // A stale page may have an older number.
            let known = self.terminals.entry(terminal.to_owned()).or_default();
            *known = count.max(*known);
        } else if let Some((_, _, seq)) = as_source_id(row) {
            self.last = seq.max(self.last);
        }
    }

    /// A place that was given at least.
    fn last(&self) -> u64 {
        self.terminals.values().fold(0, |sum: u64, count| sum.saturating_add(*count)).max(self.last)
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
    /// The pages that it has, or should have; how many of them are missing, empty, or cannot be read at all.
    pub pages: u64,
    /// See `pages`.
    pub unreadable_pages: u64,
    /// Events that are whole. One of which an old copy is left is counted with it.
    pub events: u64,
    /// How many of them were not forwarded, or all where that cannot be read.
    pub pending: u64,
    /// Whether it can be read what was forwarded.
    pub knows_forwarded: bool,
    /// Events that were not forwarded and cannot be read; `None` where their number cannot be known, because it cannot be read
    /// where the log ended or what was forwarded.
    pub lost: Option<u64>,
    /// How many of them there are at least.
    pub lost_at_least: u64,
}

impl Survey {
    /// Whether it is certain that nothing is lost.
    pub fn is_whole(&self) -> bool {
        self.lost == Some(0) && self.unreadable_pages == 0
    }
}

/// What became of the events that were to be brought in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BroughtIn {
    /// New in this log, and pending from now on.
    pub new: u64,
    /// Brought in before, or here anyway.
    pub known: u64,
    /// Lines of journals that are new in this log.
    pub lines: u64,
    /// Commands that were not known here.
    pub commands: u64,
}

impl Wreck {
    /// Looks a store over; reads the whole file twice and writes nothing.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(path: &Path, wanted: Wanted) -> io::Result<Wreck> {
        let pages = Pages::open(path)?;
        let (mut stand, mut evidence, mut relics) = (Stand::default(), Evidence::default(), Relics::default());
        let unreadable_pages = each(&pages, |page, index, row| {
            if let Some(found) = as_progress(&row) {
                // A stale page may have an older one: what counts is that nothing is left out.
                if stand.progress.as_ref().is_none_or(|known| found.floor < known.floor) {
                    stand.progress = Some(found);
                }
            } else if let Some(seq) = as_dead_letter(&row) {
                stand.letters.push(seq);
            } else {
                evidence.note(&row);
                relics.note(page, index, &row);
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
        let knows_end = match pages.last_row(evidence.root.unwrap_or(ROOT)) {
            Some(Some(row)) => as_event(&row).is_some(),
            Some(None) => evidence.root.is_some(),
            None => false,
        };
        if !knows_end {
            last = evidence.last().max(last);
        }
        let open = match &stand.progress {
            // Behind the last event there may be one that was forwarded.
            Some(progress) => progress.pending(progress.ranges.last().map_or(0, |(_, end)| *end).max(last)),
            None => last.saturating_sub(found.first().map_or(0, |found| found.place.saturating_sub(1))),
        };
        // Each place that was not forwarded is found or lost.
        let lost_at_least = open.saturating_sub(unsettled);
        let survey = Survey {
            pages: u64::from(pages.expected().max(pages.count())),
            unreadable_pages,
            events,
            pending: count(&|place| stand.is_pending(place)),
            knows_forwarded: stand.progress.is_some(),
            lost: (knows_end && stand.progress.is_some()).then_some(lost_at_least),
            lost_at_least,
        };
        let is_store = events > 0 || stand.progress.is_some() || evidence.root.is_some();
        Ok(Wreck { pages, stand, found, relics, survey, is_store })
    }

    /// What is known of it.
    pub fn survey(&self) -> Survey {
        self.survey
    }

    /// Whether anything in it is a gateway's: what is not the store of one has nothing that could be lost.
    pub fn is_store(&self) -> bool {
        self.is_store
    }

    /// The first gateway that wrote events in it that are wanted, and is not this one.
    pub fn stranger(&self, gateway: &str) -> Option<String> {
        let of = |event: Salvaged| event.life().rsplit_once('-').map(|(gateway, _)| gateway.to_owned());
        self.events().filter_map(of).find(|found| found != gateway)
    }

    /// The events that are wanted, in their order.
    pub fn events(&self) -> impl Iterator<Item = Salvaged> {
        self.read(self.found.iter())
    }

    /// Whether the event at this place is among those that are wanted.
    fn holds(&self, place: u64) -> bool {
        self.found.binary_search_by_key(&place, |found| found.place).is_ok()
    }

    fn row(&self, page: u32, row: u16) -> Option<Row> {
        self.pages.row(page, &self.pages.page(page)?, row)
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
    /// Brings the events of a wreck in that were not forwarded, each once however often this is done, with what else it holds that
    /// must not be forgotten, and appends an event that tells of it. `file` is the name that it bears, `by` whoever asked for
    /// it. Blocks.
    ///
    /// # Errors
    /// Where the log has stopped; what was brought in by then stays.
    pub fn salvage(&self, wreck: &Wreck, file: &str, by: Option<&str>) -> Result<BroughtIn, LogError> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut brought = BroughtIn::default();
        let before = *self.head().borrow();
        self.bring_relics(wreck, &mut brought)?;
        let pending = wreck.found.iter().filter(|found| wreck.stand.is_pending(found.place));
        let mut events = wreck.read(pending).filter(|event| event.life() != self.id_prefix()).peekable();
        while events.peek().is_some() {
            let slice: Vec<Salvaged> = events.by_ref().take(SLICE).collect();
            let count = u64::try_from(slice.len()).unwrap_or(u64::MAX);
            let new = self.submit_blocking(Submission { salvaged: slice, ..Submission::default() })?.salvaged;
            brought.new += new;
            brought.known += count - new;
        }
        let mut event = told(file, brought, &wreck.survey(), before);
        if let Some(by) = by {
            event = event.attribute("by", by);
        }
        self.submit_blocking(Submission { events: vec![event.into()], ..Submission::default() })?;
        Ok(brought)
    }

    /// Brings in what the stores hold that were set aside in this folder, each once, and once more where the store that took it
    /// in was lost before it had forwarded all of it. One that does not tell what was forwarded
    /// is left for somebody to decide: all of it would be sent again. Blocks.
    pub fn salvage_wrecks(&self) {
        let wrecks = wrecks(self.dir()).unwrap_or_else(|error| {
            tracing::error!(%error, "The data folder cannot be looked at for stores that were set aside.");
            Vec::new()
        });
        // The newest first: it may have forwarded what an older one still has.
        for path in wrecks.into_iter().rev().filter(|path| self.due(path) == Due::Salvage) {
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
                // None of these are sent anywhere.
                if let Err(error) = self.bring_kept(&wreck, &mut BroughtIn::default()) {
                    tracing::error!(%error, "The journals and commands of {shown} are not brought in.");
                }
                continue;
            }
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            match self.salvage(&wreck, &name, None) {
                Ok(brought) => {
                    let Survey { lost, lost_at_least, .. } = survey;
                    tracing::warn!(new = brought.new, ?lost, lost_at_least, "Salvaged {shown}.");
                    if let Err(error) = self.finish(&path) {
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
        unreadable += u64::from(!pages.is_whole(number, &page));
        for index in 0..pages.rows(number, &page) {
            if let Some(row) = pages.row(number, &page, index) {
                visit(number, index, row);
            }
        }
    }
    unreadable + u64::from(pages.expected().saturating_sub(pages.count()))
}

/// The event that tells what was salvaged.
fn told(file: &str, brought: BroughtIn, survey: &Survey, before: u64) -> Event {
    let (now, synced) = crate::clock::now();
    let lost = match (survey.lost, survey.lost_at_least) {
        (Some(0), _) => String::new(),
        (Some(lost), _) => format!("; {lost} cannot be read"),
        (None, 0) => "; how many more there were cannot be known".to_owned(),
        (None, least) => format!("; {least} or more cannot be read"),
    };
    let detail = format!("{} events of {file} that were not forwarded are pending again{lost}", brought.new);
    let mut event = Event::new(Kind::GatewayEventsSalvaged)
        .detail(detail)
        .attribute("file", file)
        .attribute("events", brought.new)
        .attribute("known", brought.known)
        .attribute("journal_lines", brought.lines)
        .attribute("commands", brought.commands)
        .attribute("lost", survey.lost.map_or_else(|| "unknown".into(), serde_json::Value::from))
        .attribute("lost_at_least", survey.lost_at_least)
        .attribute("unreadable_pages", survey.unreadable_pages)
        .attribute("after", before);
    if !survey.is_whole() {
        event.severity = Severity::Major;
    }
    event.terminal = "gateway".to_owned();
    event.received_at = Some(now);
    event.time_synced = synced;
    event
}

#[cfg(test)]
mod tests;
