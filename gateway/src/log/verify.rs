//! Whether a store is sound: SQLite's own checks, then every event and every position against what is promised of them.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use super::front::Front;
use super::life::{self, Judgement};
use super::open::is_in_use;
use super::place::place;
use super::{LogError, Records, foreign};

/// Faults of one sort that are told; the rest are counted.
const TOLD: usize = 10;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// Events that were looked at.
    pub events: u64,
    /// Events that were brought in from another store.
    pub salvaged: u64,
    /// Whether the last event's place, and every sum, agrees with the counters.
    pub adds_up: bool,
    /// What is wrong, in words; none where the store is sound.
    pub faults: Vec<String>,
    /// How many more faults there are than are told.
    pub untold: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Faults of one sort: the first few are told.
#[derive(Default)]
struct Faults {
    told: Vec<String>,
    untold: u64,
}

impl Faults {
    fn add(&mut self, fault: String) {
        if self.told.len() < TOLD {
            self.told.push(fault);
        } else {
            self.untold += 1;
        }
    }

    fn into(self, verdict: &mut Verdict) {
        verdict.faults.extend(self.told);
        verdict.untold += self.untold;
    }
}

/// What a start would find wrong before SQLite opens the store, which overlooks what its write-ahead log has lost; nothing where a
/// gateway has it open.
pub(super) fn foreseen(path: &Path) -> Option<String> {
    if is_in_use(path.parent()?) {
        return None;
    }
    match life::noted(path).map_or_else(|| life::judge(path), |noted| Ok(noted.into())) {
        Ok(Judgement::Sound) => None,
        Ok(Judgement::Damaged(why)) => Some(format!("the next start sets the store aside: {why}")),
        Ok(Judgement::NewLife(_)) => {
            Some("its write-ahead log is gone, or its end cannot be read: the next start begins a new epoch".to_owned())
        }
        Err(error) => Some(format!("its write-ahead log cannot be read: {error}")),
    }
}

impl Records {
    /// Checks the whole store; `full` has SQLite compare its indexes with their tables, too. Reads everything, and holds nobody
    /// up; the write-ahead log cannot be cut back meanwhile.
    ///
    /// # Errors
    /// Where SQLite cannot be read at all.
    pub fn verify(&self, full: bool) -> Result<Verdict, LogError> {
        let mut verdict = Verdict::default();
        let transaction = self.ask(Connection::unchecked_transaction)?;
        let pragma = if full { "PRAGMA integrity_check(20)" } else { "PRAGMA quick_check(20)" };
        let mut pages = Faults::default();
        let checked = self.ask(|connection| {
            let mut check = connection.prepare(pragma)?;
            let lines = check.query_map([], |row| row.get::<_, String>(0))?;
            lines.collect::<rusqlite::Result<Vec<_>>>()
        });
        match checked {
            Ok(lines) => {
                lines.into_iter().filter(|line| line != "ok").for_each(|line| pages.add(format!("SQLite: {line}")))
            }
            Err(error) => pages.add(error.to_string()),
        }
        pages.into(&mut verdict);
        verdict.faults.extend(foreseen(&self.path));
        if let Err(error) = self.verify_events(&mut verdict) {
            verdict.faults.push(error.to_string());
        }
        if let Err(error) = self.verify_positions(&mut verdict) {
            verdict.faults.push(error.to_string());
        }
        drop(transaction);
        Ok(verdict)
    }

    /// Places without gaps, JSON that says what its row says, each terminal's events counted on.
    fn verify_events(&self, verdict: &mut Verdict) -> Result<(), LogError> {
        let (mut rows, mut counts) = (Faults::default(), Faults::default());
        let (born_after, progress) = (self.born_after()?, self.progress()?);
        let epoch = self.epoch()?;
        let ours = |life: &str| life.rsplit_once('-').is_some_and(|(_, found)| found == epoch);
        let mut before = None;
        let mut newest: HashMap<String, (u64, u64)> = HashMap::new();
        let mut gap = 0;
        let walked = self.ask(|connection| {
            let mut select = connection.prepare("SELECT seq, terminal_seq, json FROM event ORDER BY seq")?;
            let mut found = select.query([])?;
            while let Some(row) = found.next()? {
                let (seq, terminal_seq) = (place(row.get(0)?), place(row.get(1)?));
                verdict.events += 1;
                // Retention takes what was dealt with, wherever it stands; what is still to be forwarded must be here.
                if let Some(before) = before.filter(|before| *before + 1 != seq) {
                    gap = seq;
                    if progress.settled_through(before) + 1 < seq {
                        rows.add(format!("places {} to {} are missing", before + 1, seq - 1));
                    }
                }
                before = Some(seq);
                let json = match row.get_ref(2).map(|value| value.as_str().map(str::to_owned)) {
                    Ok(Ok(json)) => json,
                    _ => {
                        rows.add(format!("event {seq} is no text"));
                        continue;
                    }
                };
                let (front, event) = match (Front::read(&json), foreign::read(&json)) {
                    (Some(front), Ok(event)) if front.is_sound() => (front, event),
                    (_, Err(error)) => {
                        rows.add(format!("event {seq} cannot be read: {error}"));
                        continue;
                    }
                    _ => {
                        rows.add(format!("event {seq} does not begin with its place and its id"));
                        continue;
                    }
                };
                if front.terminal_seq != terminal_seq {
                    rows.add(format!(
                        "event {seq} says that it is its terminal's {}, and stands as its {terminal_seq}",
                        front.terminal_seq
                    ));
                }
                // A place of another life is that of an event that was brought in; one of this life must be its own.
                if front.seq != seq && !ours(front.life()) {
                    verdict.salvaged += 1;
                    continue;
                }
                if front.seq != seq || (seq > born_after) != ours(front.life()) {
                    rows.add(format!("event {seq} has the id {}", front.id));
                }
                // What was taken took its numbers with it: behind a gap a terminal's number may be any that is greater.
                let known = newest.insert(event.terminal.clone(), (terminal_seq, seq));
                let follows =
                    |last: u64, at: u64| if gap > at { terminal_seq > last } else { terminal_seq == last + 1 };
                if let Some((last, _)) = known.filter(|(last, at)| !follows(*last, *at)) {
                    counts
                        .add(format!("event {seq} is the {terminal_seq}th of {}, after the {last}th", event.terminal));
                }
            }
            Ok(())
        });
        rows.into(verdict);
        counts.into(verdict);
        walked
    }

    /// Every position within the log, and every sum right.
    fn verify_positions(&self, verdict: &mut Verdict) -> Result<(), LogError> {
        let status = self.status_in()?;
        let mut faults = Faults::default();
        verdict.adds_up = status.adds_up();
        if !verdict.adds_up {
            let (forwarded, pending) = (status.forwarded, status.pending);
            let (dead, discarded) = (status.dead_lettered, status.discarded);
            faults.add(format!(
                "{} were appended, but forwarded {forwarded} + pending {pending} + dead-lettered {dead} + discarded {discarded} is {}",
                status.appended,
                forwarded + pending + dead + discarded
            ));
        }
        let mut end = status.floor;
        for (first, last) in status.ranges {
            if first <= end + 1 || last < first {
                faults.add(format!("the range {first} to {last} is not apart from what comes before it, {end}"));
            }
            end = last;
        }
        if end > status.appended {
            faults.add(format!("the forwarder stands at {end}, behind the last event {}", status.appended));
        }
        for position in status.plugins {
            if position.cursor > status.appended {
                let (plugin, cursor) = (position.plugin, position.cursor);
                faults.add(format!("rule {plugin} stands at {cursor}, behind the last event {}", status.appended));
            }
        }
        let question = "SELECT count(*) FROM dead_letter WHERE seq > (SELECT coalesce(max(seq), 0) FROM event)";
        let stray: i64 = self.ask(|connection| connection.query_row(question, [], |row| row.get(0)))?;
        if stray > 0 {
            faults.add(format!("{stray} dead letters are of no event"));
        }
        faults.into(verdict);
        Ok(())
    }
}
