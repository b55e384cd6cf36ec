//! Retention: what is old goes, and where there is too much, the oldest goes; a slice at a time, so that no event waits.
//!
//! | what | goes | in this order |
//! |---|---|---|
//! | events | after `keep_days`, once the broker has them and each rule in force has dealt with them | the log's |
//! | journals | after `journal_keep_days` | that of their arrival |
//! | either | where the store is larger than `max_mb` | events that nobody needs; then journal lines older than what would go next; events that a slow rule needs, and dead letters; events that were not forwarded; of these, critical ones last |
//! | events that nobody needs | where less is free on the disk than `reserve_mb` | the log's |
//!
//! What was acknowledged and not forwarded is given up for `max_mb` alone, which an operator has set, and never because others
//! fill the disk. It is counted as discarded and told in a `gateway.gap`, in the same transaction. The newest event always
//! stays: its place is the log's head.

mod age;
mod events;
mod force;
mod journals;
mod leap;
mod pages;
mod sources;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use self::force::{Class, Found, Front};
use self::pages::Pages;
use super::gap::Gap;
use super::open::WAL_BYTES;
use super::place::{number, place};
use super::progress::Progress;
use super::retention::Needs;
use super::{Config, space};
use crate::clock;

/// Pause between two slices of what is old.
const BETWEEN_SLICES: Duration = Duration::from_millis(100);
/// Pause between two slices where there is too much: a moment for others.
const BETWEEN_FORCED: Duration = Duration::from_millis(5);
/// Pause before the front is looked at again.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(3600);
/// Pause before what could not be made smaller is looked at again.
const REST: Duration = Duration::from_secs(1);
/// How often the store's pages are counted while it is written to.
const LOOK: Duration = Duration::from_millis(100);
/// How often the disk is looked at while nothing happens.
const IDLE_LOOK: Duration = Duration::from_secs(2);

/// What a slice took off.
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) events: u64,
    pub(super) lines: u64,
    /// Why: `age`, `max_mb` or `reserve`.
    pub(super) reason: &'static str,
    /// What subscribers will never hear.
    pub(super) gap: Option<Gap>,
}

/// When the next slice is due, and where the last one ended.
#[derive(Debug)]
pub(super) struct Pruning {
    keep: Option<SignedDuration>,
    keep_journals: Option<SignedDuration>,
    budget: Option<u64>,
    /// The store is larger than it may be.
    over: bool,
    /// Free pages are to be given back.
    loose: bool,
    looked: Instant,
    /// Nothing more could go.
    rest: Instant,
    next_sweep: Instant,
    next_journals: Instant,
    next_walk: Instant,
    /// How long a clock must have gone behind a leap that nobody confirmed, and whether that is waited for.
    settles: SignedDuration,
    waits: bool,
    age: age::Sweep,
    force: force::Sweep,
    sources: sources::Walk,
}

fn days(days: u32) -> Option<SignedDuration> {
    (days > 0).then(|| SignedDuration::from_hours(24 * i64::from(days)))
}

impl Pruning {
    pub(super) fn new(config: &Config) -> Pruning {
        let now = Instant::now();
        Pruning {
            keep: days(config.keep_days),
            keep_journals: days(config.journal_keep_days),
            budget: config.budget(),
            over: false,
            loose: false,
            looked: now,
            rest: now,
            next_sweep: now,
            next_journals: now,
            next_walk: now,
            settles: leap::SETTLES,
            waits: false,
            age: age::Sweep::default(),
            force: force::Sweep::default(),
            sources: sources::Walk::default(),
        }
    }

    /// How long until something may be due. `known` says whether it is known who waits for events.
    pub(super) fn wait(&self, known: bool, space: &space::Space) -> Duration {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        let mut wait = IDLE_LOOK;
        if self.keep_journals.is_some() {
            wait = wait.min(left(self.next_journals));
        }
        if known && self.keep.is_some() {
            wait = wait.min(left(self.next_sweep));
        }
        if self.sources.is_under_way() || self.loose {
            wait = wait.min(left(self.next_walk));
        }
        if known && (self.over || space.is_tight()) {
            wait = wait.min(left(self.rest).max(BETWEEN_FORCED));
        }
        wait
    }

    /// Looks at the store's size now and then, and whether something is due.
    pub(super) fn is_due(&mut self, connection: &Connection, known: bool, tight: bool) -> rusqlite::Result<bool> {
        let now = Instant::now();
        // After each slice anew, so that no more goes than has to.
        if self.over || now.saturating_duration_since(self.looked) >= LOOK {
            self.looked = now;
            let pages = Pages::count(connection)?;
            self.loose = pages.are_too_many(tight, self.budget);
            self.judge(pages);
        }
        let forced = known && (self.over || tight) && now >= self.rest;
        let walks = (self.sources.is_under_way() || self.loose) && now >= self.next_walk;
        let aged = known && self.keep.is_some() && now >= self.next_sweep;
        Ok(forced || walks || aged || (self.keep_journals.is_some() && now >= self.next_journals))
    }

    /// Whether there is too much; once there was, a little more than that has to go.
    fn judge(&mut self, pages: Pages) {
        let Some(budget) = self.budget else { return };
        let most = budget.saturating_sub(WAL_BYTES.unsigned_abs());
        let most = if self.over { most - most / 64 } else { most };
        let over = pages.used_bytes() > most;
        if over && !self.over {
            self.force = force::Sweep::default();
        }
        self.over = over;
    }

    /// Whether the next slice may give something up.
    pub(super) fn may_give_up(&self) -> bool {
        self.over && self.force.class() > Class::Spare
    }

    /// Takes what is due, in the transaction that is open. `needs` are everybody's who waits, where that is known.
    pub(super) fn run(
        &mut self,
        connection: &Connection,
        progress: &mut Progress,
        head: u64,
        needs: Option<&Needs>,
        tight: bool,
    ) -> rusqlite::Result<Slice> {
        let now = Instant::now();
        let mut slice = Slice::default();
        if now >= self.next_journals {
            self.old_journals(connection, &mut slice)?;
        }
        if let Some(needs) = needs {
            let spare = spare(connection, progress, needs)?;
            if (self.over || tight) && now >= self.rest {
                let front = Front { head, spare, broker: needs.broker, progress };
                let (class, rows) = match self.forced(connection, &front, &mut slice)? {
                    Some(found) => found,
                    None => (Class::Spare, Vec::new()),
                };
                slice.reason = if class == Class::Spare && !self.over { "reserve" } else { "max_mb" };
                slice.gap = events::delete(connection, &rows, progress, needs.broker)?;
                slice.events += count(rows.len());
            } else if now >= self.next_sweep {
                let rows = self.aged(connection, spare.min(head.saturating_sub(1)))?;
                slice.reason = "age";
                slice.gap = events::delete(connection, &rows, progress, needs.broker)?;
                slice.events += count(rows.len());
            }
        }
        if slice.events > 0 {
            self.sources.start();
        }
        if self.sources.is_under_way() {
            self.sources.step(connection)?;
        }
        if self.loose {
            pages::give_back(connection)?;
        }
        self.next_walk = now + if self.over || tight { BETWEEN_FORCED } else { BETWEEN_SLICES };
        Ok(slice)
    }

    /// Whether nothing goes by its age because the clock has leapt ahead and nobody confirms it.
    pub(super) fn waits_for_clock(&self) -> bool {
        self.waits
    }

    /// The time by which things are old; `None` where no clock can be believed that far.
    fn today(&mut self, connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
        let Some(now) = clock::fit_for_retention() else { return Ok(None) };
        let is_confirmed = clock::now().1 == Some(true);
        let since = if is_confirmed { None } else { leap::since(connection, now, self.settles)? };
        if let Some(since) = since.filter(|_| !self.waits) {
            tracing::warn!(
                %since,
                "The clock is more than a week ahead of the events before, and nothing confirms it: nothing is thrown away by its age \
                 until it is confirmed, or has gone on for a week."
            );
        }
        self.waits = since.is_some();
        Ok(if self.waits { None } else { Some(now) })
    }

    /// Journal lines that are old enough. A clock that is known to be wrong prunes nothing.
    fn old_journals(&mut self, connection: &Connection, slice: &mut Slice) -> rusqlite::Result<()> {
        let mut pruned = 0;
        if let (Some(keep), Some(now)) = (self.keep_journals, self.today(connection)?) {
            let before = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
            pruned = journals::prune(connection, before)?;
            if pruned == 0 {
                pruned = journals::prune_ahead(connection, before, now)?;
            }
        }
        slice.lines += place(pruned);
        slice.reason = "age";
        self.next_journals = Instant::now() + if pruned < journals::SLICE { BETWEEN_SWEEPS } else { BETWEEN_SLICES };
        Ok(())
    }

    /// Events that are old enough, and that nobody needs.
    fn aged(&mut self, connection: &Connection, upto: u64) -> rusqlite::Result<Vec<events::Row>> {
        let now = self.today(connection)?;
        let mut rows = Vec::new();
        if let (Some(keep), Some(now)) = (self.keep, now) {
            rows = self.age.next(connection, upto, now.checked_sub(keep).unwrap_or(Timestamp::MIN), now)?;
        }
        let over = self.keep.is_none() || self.age.is_over() || now.is_none();
        if over {
            self.age = age::Sweep::default();
        }
        self.next_sweep = Instant::now() + if over { BETWEEN_SWEEPS } else { BETWEEN_SLICES };
        Ok(rows)
    }

    /// Events that go because there is too much. Where journal lines are older, they go instead.
    fn forced(
        &mut self,
        connection: &Connection,
        front: &Front<'_>,
        slice: &mut Slice,
    ) -> rusqlite::Result<Option<(Class, Vec<events::Row>)>> {
        // Others fill the disk: that takes nothing away from anybody.
        let most = if self.over { Class::Critical } else { Class::Spare };
        let before = self.force;
        let found = self.force.next(connection, front, most)?;
        let lines = match &found {
            Found::Rows(Class::Spare, _) | Found::Nothing => 0,
            Found::Rows(_, rows) => older_lines(connection, rows.first().map(|row| row.seq))?,
            Found::End if self.over => journals::prune(connection, Timestamp::MAX)?,
            Found::End => 0,
        };
        slice.lines += place(lines);
        match found {
            Found::Rows(..) if lines > 0 => {
                self.force = before;
                Ok(None)
            }
            Found::Rows(class, rows) => Ok(Some((class, rows))),
            Found::Nothing => Ok(None),
            Found::End => {
                if lines == 0 {
                    self.rest = Instant::now() + REST;
                }
                Ok(None)
            }
        }
    }
}

/// Takes journal lines off that came before this event.
fn older_lines(connection: &Connection, seq: Option<u64>) -> rusqlite::Result<i64> {
    let Some(oldest) = journals::oldest(connection)? else { return Ok(0) };
    let json: Option<String> = connection
        .prepare_cached("SELECT json FROM event WHERE seq = ?1")?
        .query_row([number(seq.unwrap_or(0))], |row| row.get(0))
        .optional()?;
    match json.and_then(|json| age::received(&json)) {
        Some(at) if oldest >= at.as_millisecond() => Ok(0),
        Some(at) => journals::prune(connection, at),
        None => journals::prune(connection, Timestamp::MAX),
    }
}

/// The last place up to which nobody who is there needs an event any more.
fn spare(connection: &Connection, progress: &Progress, needs: &Needs) -> rusqlite::Result<u64> {
    let mut spare = if needs.broker { progress.floor } else { u64::MAX };
    let mut select = connection.prepare_cached("SELECT cursor FROM plugin WHERE id = ?1")?;
    for rule in &needs.rules {
        if let Some(cursor) = select.query_row([rule], |row| row.get(0)).optional()? {
            spare = spare.min(place(cursor));
        }
    }
    Ok(spare)
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
