//! The power supply: when the power is cut.

use std::ffi::OsStr;

/// What a program does to the disk; reading costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Write,
    Length,
    Name,
    Sync,
}

/// On which side of a sync the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// It has not happened.
    Before,
    /// It has happened, and nobody is told.
    Untold,
    /// It has happened, whoever asked for it is told, and nothing comes after it.
    After,
}

/// When the power is cut, counted from when it was switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// Not by itself.
    Never,
    /// Instead of this act of all.
    Act(u64),
    /// At this sync of all.
    Sync(u64, Side),
    /// Instead of this act on the store's own file, which is written when its tables are made and by checkpoints.
    Store(u64),
}

/// What happens to an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done and answered.
    Done,
    /// It is done, and that is the last thing that is.
    Last,
    /// It is done, but fails.
    Untold,
    /// It fails.
    Failed,
}

/// Counts acts, and cuts the power.
#[derive(Debug)]
pub(crate) struct Supply {
    when: When,
    acts: u64,
    syncs: u64,
    store: u64,
    cut: bool,
}

impl Supply {
    pub(crate) fn on(when: When) -> Supply {
        Supply { when, acts: 0, syncs: 0, store: 0, cut: false }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Cuts it now, wherever that is.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    /// Acts that were done.
    pub(crate) fn acts(&self) -> u64 {
        self.acts
    }

    /// Judges the next act, on a file or folder of this name.
    pub(crate) fn judge(&mut self, act: Act, name: &OsStr) -> Fate {
        if self.cut {
            return Fate::Failed;
        }
        let fate = match self.when {
            When::Act(nth) if nth == self.acts => Fate::Failed,
            When::Store(nth) if name == "events.db" && nth == self.store => Fate::Failed,
            When::Sync(nth, side) if act == Act::Sync && nth == self.syncs => match side {
                Side::Before => Fate::Failed,
                Side::Untold => Fate::Untold,
                Side::After => Fate::Last,
            },
            _ => Fate::Done,
        };
        self.acts += 1;
        self.syncs += u64::from(act == Act::Sync);
        self.store += u64::from(name == "events.db");
        self.cut = fate != Fate::Done;
        fate
    }
}
