//! An uploaded file as one submission: its events at the terminals they belong to, under the names that those have here.

mod register;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::event::Event;
use crate::log::{NewEvent, NewLine, Submission, Undated};
use crate::normalize::{Context, upload as rows};
use crate::profile::Profile;
use crate::protocol::upload::{Document, JournalRow};
use crate::terminals::Inventory;

/// The terminal of events whose terminal the document does not say.
const GATEWAY: &str = "gateway";

/// What the terminals of a document are called here.
#[derive(Debug)]
pub struct Names {
    by_row: BTreeMap<String, String>,
    configured: Vec<String>,
}

impl Names {
    /// The names of all terminals that this document is about. One that is configured is found by its number (as `atm-N`,
    /// or as a LUNO) or by its name; another one is called `atm-N`.
    ///
    /// # Errors
    /// The first terminal that nobody configured, where such terminals are not `accepted`.
    pub fn new(document: &Document, inventory: &Inventory, accepted: bool) -> Result<Names, String> {
        let mut names = Names { by_row: BTreeMap::new(), configured: Vec::new() };
        let listed = document.terminals.iter().map(|atm| (atm.atm_id, Some(atm.atm_name.as_str())));
        let journal = document.journal.iter().map(|line| (line.atm_id, None));
        let fitted = document.fitted.iter().map(|fitted| (fitted.atm_id, None));
        for (id, label) in listed.chain(journal).chain(fitted) {
            let usual = rows::terminal_name(id);
            if names.by_row.contains_key(&usual) {
                continue;
            }
            let number = id.to_string();
            let known = [Some(usual.as_str()), Some(&number), label]
                .into_iter()
                .flatten()
                .find_map(|name| inventory.calling_itself(name));
            match known {
                Some(terminal) => {
                    names.configured.push(terminal.name.clone());
                    names.by_row.insert(usual, terminal.name.clone());
                }
                None if accepted => {
                    names.by_row.insert(usual.clone(), usual);
                }
                None => return Err(usual),
            }
        }
        Ok(names)
    }

    /// The name of what normalisation calls `atm-N`, or of nobody.
    fn of(&self, row: &str) -> &str {
        self.by_row.get(row).map_or(GATEWAY, String::as_str)
    }

    /// Those that are configured.
    pub fn configured(&self) -> impl Iterator<Item = &str> {
        self.configured.iter().map(String::as_str)
    }
}

/// Everything that a document says, to be committed at once. `stamp` gives an event its terminal, link and time.
pub fn submission(
    document: &Document,
    profile: &Profile,
    names: &Names,
    stamp: impl Fn(&str, Event) -> Event,
) -> Submission {
    let context = Context { profile, time_zone: &TimeZone::UTC };
    let here = |event: Event| {
        let terminal = names.of(&event.terminal).to_owned();
        stamp(&terminal, event)
    };
    let mut events: Vec<NewEvent> = rows::events(document, &context)
        .into_iter()
        .map(|row| NewEvent { event: here(row.event), source_id: Some(row.source_id), reading: false })
        .collect();
    // The journal's lines come first, in the order of their rows.
    let journal =
        events.iter().zip(&document.journal).enumerate().map(|(place, (new, row))| line(place, &new.event, row));
    let journal = journal.collect();
    // What is in order now comes behind what has happened.
    let good = rows::good(document);
    events.extend(good.into_iter().map(|event| NewEvent { event: here(event), source_id: None, reading: true }));
    Submission { events, journal, register: register::rows(document, names), ..Submission::default() }
}

/// A row's line to keep, with its event.
fn line(place: usize, event: &Event, row: &JournalRow) -> NewLine {
    let received_at = event.received_at.unwrap_or_default();
    let written = row.timestamp.as_str();
    NewLine {
        terminal: event.terminal.clone(),
        link: event.link.clone().unwrap_or_default(),
        received_at,
        day: event.occurred_at.unwrap_or(received_at).to_zoned(TimeZone::UTC).date(),
        printed_at: (!written.is_empty()).then(|| written.to_owned()),
        text: row.ej_data.as_str().to_owned(),
        event: Some(place),
        undated: (event.time_synced == Some(false)).then(|| match event.occurred_at {
            Some(_) => Undated::Arrival,
            None => Undated::ArrivalAndDay(TimeZone::UTC),
        }),
    }
}
