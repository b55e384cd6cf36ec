//! Whether a terminal is there: the first of its sessions and the end of the last are events.
//!
//! Some terminals call for each message and hang up behind it: whoever has hung up in good order is lost only once it has
//! stayed away for a while.

use std::sync::{Arc, PoisonError};

use super::Intake;
use crate::event::{Event, Kind};
use crate::terminals::Terminal;

/// What is known of one terminal's sessions.
#[derive(Debug, Default)]
pub(super) struct Presence {
    /// Sessions that are open now.
    sessions: usize,
    /// Whether it counts as being there: it does for a while after its last session.
    there: bool,
    /// Counts the times that its last session ended.
    ends: u64,
}

impl Intake {
    /// A session of this terminal begins.
    pub(in crate::link) fn begin(&self, terminal: &Terminal, why: &str) {
        let mut all = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        let presence = all.entry(terminal.name.clone()).or_default();
        presence.sessions += 1;
        self.show_up(true);
        if !std::mem::replace(&mut presence.there, true) {
            self.tell(Kind::CommsRestored, &terminal.name, why);
        }
    }

    /// A session of this terminal has ended; where it `may_return`, it is not lost yet.
    pub(in crate::link) fn end(self: &Arc<Self>, terminal: &Terminal, may_return: bool, why: &str) {
        let mut all = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(presence) = all.get_mut(&terminal.name) else { return };
        presence.sessions = presence.sessions.saturating_sub(1);
        if presence.sessions > 0 {
            return;
        }
        self.show_up(false);
        if !may_return || self.lost_after.is_zero() {
            all.remove(&terminal.name);
            return self.tell(Kind::CommsLost, &terminal.name, why);
        }
        presence.ends += 1;
        let (ends, intake) = (presence.ends, Arc::clone(self));
        let (name, why) = (terminal.name.clone(), why.to_owned());
        drop(all);
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(intake.lost_after) => intake.lose(&name, ends, &why),
                () = intake.stop().cancelled() => {}
            }
        });
    }

    /// A session of a terminal that is no longer configured so was ended by us: nobody waits for it.
    pub(in crate::link) fn forget(&self, terminal: &Terminal) {
        let mut all = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(presence) = all.get_mut(&terminal.name) else { return };
        presence.sessions = presence.sessions.saturating_sub(1);
        if presence.sessions == 0 {
            all.remove(&terminal.name);
        }
    }

    /// The terminal has stayed away since its last session ended for the so-manieth time, or has been here again.
    fn lose(&self, name: &str, ends: u64, why: &str) {
        let mut all = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(name).is_some_and(|presence| presence.sessions == 0 && presence.ends == ends) {
            all.remove(name);
            self.tell(Kind::CommsLost, name, why);
        }
    }

    /// Told while the presence is locked, so that one terminal's events keep their order.
    fn tell(&self, kind: Kind, terminal: &str, why: &str) {
        if !self.shared.stop.is_cancelled() {
            self.note(terminal, Event::new(kind).detail(format!("link {}: {why}", self.name)));
        }
    }
}
