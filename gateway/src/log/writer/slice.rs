//! The writer's slices of retention: each a transaction of its own, between those of events.

use std::sync::PoisonError;
use std::time::Instant;

use super::{Sync, Work, Writer};
use crate::log::failure::Fault;
use crate::log::progress::Progress;
use crate::log::pruning::Slice;
use crate::log::queue::Moved;
use crate::log::retention::Needs;
use crate::log::{Submission, gap};

impl Writer {
    /// Takes a slice off where one is due.
    pub(super) fn prune(&mut self) -> rusqlite::Result<()> {
        let tight = self.space.is_tight();
        if !self.pruning.is_due(&self.connection, self.needs.is_complete(), tight)? {
            return Ok(());
        }
        let needs = self.needs.needs();
        let begun = Instant::now();
        let head = self.ledger.head;
        let (mut work, mut progress) = (Work::default(), self.progress.clone());
        let turn = self.checkpoints.turn();
        let held = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let slice = self.slice(needs.as_ref(), tight, &mut progress, &mut work);
        let slice = match slice {
            Ok(slice) => slice,
            Err(error) => {
                self.roll_back(error, head, &work.events)?;
                return Ok(());
            }
        };
        drop(held);
        if slice.gap.is_some() {
            self.followers.retain(|follower| follower.send(Moved::GivenUp).is_ok());
        }
        self.progress = progress;
        self.metrics.log_waits_for_clock.set(i64::from(self.pruning.waits_for_clock()));
        for (what, count) in [("event", slice.events), ("journal_line", slice.lines)] {
            if count > 0 {
                self.metrics.log_pruned.with_label_values(&[what, slice.reason]).inc_by(count);
            }
        }
        if let Some(gap) = slice.gap {
            let gap::Gap { first, last, count } = gap;
            tracing::error!(
                first,
                last,
                count,
                "Events were given up before they were forwarded: log.max_mb is reached."
            );
        }
        self.publish(begun, work, Vec::new());
        Ok(())
    }

    /// One slice, with the event that tells of what was given up.
    fn slice(
        &mut self,
        needs: Option<&Needs>,
        tight: bool,
        progress: &mut Progress,
        work: &mut Work,
    ) -> rusqlite::Result<Slice> {
        // What a gap tells must be durable with what it tells of; what nobody needs may as well go once more.
        self.begin(if self.pruning.may_give_up() { Sync::Now } else { Sync::Later })?;
        let slice = self.pruning.run(&self.connection, progress, self.ledger.head, needs, tight)?;
        if let Some(gap) = slice.gap {
            let submission = Submission { events: vec![gap.event().into()], ..Submission::default() };
            match self.ledger.write(&self.connection, submission) {
                Ok(written) => work.events = written.events,
                Err(Fault::Sqlite(error)) => return Err(error),
                Err(Fault::Refused(why)) => tracing::error!(why, "The event of a gap is not kept."),
            }
        }
        if *progress != self.progress {
            progress.store(&self.connection)?;
        }
        self.end(work)?;
        Ok(slice)
    }
}
