//! What the session does about messages at which the broker may hang up: they go alone, and what cannot go is set aside.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::doubts::{Finding, Load, OTHERS};
use super::flow::PUTS_OFF;
use super::session::{Lost, Session};
use super::window::Message;

/// Why an event is a dead letter at which the broker hangs up.
const HANGS_UP: &str = "broker_hangs_up: each time it was sent alone the connection ended, and others passed";

/// How soon behind a refusal a broker hangs up that does so: a round trip on a slow line.
const BEHIND_REFUSAL: Duration = Duration::from_secs(2);

impl Session {
    /// Whether the next message has to wait until nothing is under way.
    pub(super) fn waits(&self, connection: &Connection) -> bool {
        self.goes_alone(connection) && connection.in_flight() > 0
    }

    /// Whether messages go one at a time.
    pub(super) fn goes_alone(&self, connection: &Connection) -> bool {
        connection.trial.is_some() || self.doubts.is_careful()
    }

    /// The event that is held back and may be tried now: where others have passed, or the connection has lasted; an innocent
    /// one must not wait for others for ever.
    pub(super) fn on_trial(&self, connection: &Connection, now: Instant) -> Option<u64> {
        let lasted = now.saturating_duration_since(connection.since) >= self.broker.patience() * PUTS_OFF;
        let may = connection.is_forwarding()
            && connection.trial.is_none()
            && !connection.lanes.has_again()
            && (connection.accepted() >= OTHERS || lasted);
        self.doubts.accused().next().filter(|_| may)
    }

    /// The broker has answered an event, or it is dealt with in another way.
    pub(super) fn clear(&mut self, connection: &mut Connection, seq: u64) {
        self.doubts.clear(&Load::Event(seq));
        connection.trial.take_if(|trial| *trial == seq);
    }

    /// Learns from the end of a connection; whether it has proved something, and was good for that.
    pub(super) fn learn(&mut self, connection: &mut Connection, lost: &Lost) -> bool {
        // Who has just refused an event may hang up at that one, however late the next one went out.
        let at_the_refused = connection.refused_at.is_some_and(|at| at.elapsed() < BEHIND_REFUSAL);
        if !lost.is_cut() || at_the_refused {
            self.doubts.forget();
            return false;
        }
        let (mut flying, mut more) = (BTreeSet::new(), false);
        for message in connection.window.messages() {
            match message {
                Message::Event(seq) => drop(flying.insert(Load::Event(*seq))),
                Message::Batch(seqs) => flying.extend(seqs.iter().copied().map(Load::Event)),
                Message::State => {}
                Message::Health => more = true,
            }
        }
        let (terminal, state) = connection.states.flying().cloned().unzip();
        flying.extend(terminal.map(Load::State));
        let proves = connection.accepted() >= OTHERS;
        match self.doubts.cut(flying, more, state.flatten(), proves) {
            None => return false,
            Some(Finding::Careful(messages)) => {
                tracing::warn!(
                    messages,
                    "connections end again and again with the same messages under way; they go one at a time to find \
                     the one that the broker hangs up at"
                );
                return false;
            }
            Some(Finding::Accused(seq)) => {
                tracing::warn!(
                    seq,
                    "the connection ended with this event alone under way; it is held back, others go on"
                );
                return false;
            }
            Some(Finding::Shunned(terminal)) => {
                tracing::warn!(
                    terminal,
                    "the broker hangs up at this terminal's state; it is not sent until it changes"
                );
                return false;
            }
            Some(Finding::Proof(seq)) => {
                tracing::warn!(
                    seq,
                    "the connection ended again with this event alone under way, and others had passed"
                );
            }
            Some(Finding::Condemned(seq)) => self.set_aside(connection, seq, HANGS_UP),
        }
        true
    }
}
