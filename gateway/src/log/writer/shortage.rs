//! What the writer does while there is no room: it refuses what is new, keeps what the gateway has to tell of itself, and says
//! when it began and ended.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{Work, Writer};
use crate::event::Event;
use crate::log::place::number;
use crate::log::queue::{Cycle, Job};
use crate::log::space::NoRoom;
use crate::log::{LogError, Submission, gap};

/// How long the writer waits before it tries again what found no room.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How often the disk is looked at while events come.
const LOOK: Duration = Duration::from_millis(50);
/// Most events of the gateway itself that wait for room; the oldest tell what came first.
const OWED: usize = 256;

/// What is known of a time without room.
#[derive(Debug, Default)]
pub(in crate::log) struct Short {
    /// Events of the gateway itself that found no room yet.
    owed: VecDeque<Event>,
    /// Since when nothing new is accepted.
    since: Option<Timestamp>,
    /// Submissions refused since then.
    refused: u64,
    looked: Option<Instant>,
    tried: Option<Instant>,
    hurried: Option<Instant>,
}

impl Short {
    /// Whether there is room, and everything was said.
    pub(super) fn is_over(&self) -> bool {
        self.owed.is_empty() && self.since.is_none()
    }
}

impl Writer {
    /// Looks at the disk now and then, and says so where nothing new is accepted from now on.
    pub(super) fn look(&mut self) {
        let due = self.short.looked.is_none_or(|at| at.elapsed() >= LOOK);
        if due {
            self.short.looked = Some(Instant::now());
            let wal = self.checkpoints.wal_bytes();
            self.space.look(wal);
            self.metrics.log_free_bytes.set(self.space.free.map_or(-1, number));
        }
        // Pages that were given back leave the file with a checkpoint, and a reader that has gone shows in one.
        let short = self.space.is_tight() || self.space.refusing().is_some();
        if short && self.short.hurried.is_none_or(|at| at.elapsed() >= RETRY) {
            self.short.hurried = Some(Instant::now());
            self.checkpoints.hurry();
        }
        self.take_notice();
    }

    /// Takes up what the disk says: the first refusal is an event, and so is the end of refusing.
    pub(super) fn take_notice(&mut self) {
        match (self.space.refusing(), self.short.since) {
            (Some(why), None) => {
                tracing::error!("Nothing new is accepted: {why}.");
                self.short.since = Some(Timestamp::now());
                self.owe(gap::disk_low(why, self.space.free));
            }
            (None, Some(since)) => {
                let refused = std::mem::take(&mut self.short.refused);
                tracing::info!(refused, "There is room again: events are accepted.");
                self.short.since = None;
                self.owe(gap::disk_recovered(since, refused));
            }
            _ => {}
        }
        let refuses = self.space.refusing();
        if self.refuses.send_if_modified(|before| std::mem::replace(before, refuses) != refuses) {
            self.metrics.log_accepting.set(i64::from(refuses.is_none()));
        }
    }

    fn owe(&mut self, event: Event) {
        if self.short.owed.len() < OWED {
            self.short.owed.push_back(event);
        }
    }

    pub(super) fn refuse_what_is_new(&mut self, cycle: &mut Cycle) {
        let Some(why) = self.space.refusing() else { return };
        let jobs = std::mem::take(&mut cycle.jobs);
        let (kept, refused) = jobs.into_iter().partition(Job::is_essential);
        cycle.jobs = kept;
        self.refuse(refused, why);
    }

    fn refuse(&mut self, jobs: Vec<Job>, why: NoRoom) {
        for job in jobs {
            self.count_refused();
            // Whoever asked may have gone away.
            let _ = job.answer.send(Err(LogError::NoRoom(why)));
        }
    }

    fn count_refused(&mut self) {
        self.short.refused += 1;
        self.metrics.log_not_accepted.inc();
    }

    /// The gateway's own events that found no room yet go first.
    pub(super) fn add_what_is_owed(&mut self, cycle: &mut Cycle) {
        let rests = self.short.tried.is_some_and(|at| at.elapsed() < RETRY);
        if self.short.owed.is_empty() || (self.space.refusing() == Some(NoRoom::Full) && rests) {
            return;
        }
        self.short.tried = Some(Instant::now());
        let events = self.short.owed.drain(..).map(Into::into).collect();
        // Nobody waits: what finds no room is owed again.
        let (answer, _) = oneshot::channel();
        cycle.jobs.insert(0, Job { submission: Submission { events, ..Submission::default() }, answer });
    }

    /// Tells everybody of a transaction that found no room.
    pub(super) fn refuse_for_want_of_room(&mut self, work: Work, rest: Vec<Job>) {
        let mut owed: VecDeque<Event> = work.owed.into();
        owed.extend(rest.iter().flat_map(Job::owed));
        for (answer, outcome) in work.answers {
            // Who was refused for another reason hears that.
            let outcome = outcome.and(Err(LogError::NoRoom(NoRoom::Full)));
            if !answer.is_closed() {
                self.count_refused();
            }
            let _ = answer.send(outcome);
        }
        self.refuse(rest, NoRoom::Full);
        owed.append(&mut self.short.owed);
        owed.truncate(OWED);
        self.short.owed = owed;
        self.short.tried = Some(Instant::now());
    }
}
