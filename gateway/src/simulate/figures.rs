//! What simulated terminals count while they play, for all of them together: whoever shows progress reads it meanwhile.

mod latency;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Tally;
pub use latency::{Latency, Quantiles};

/// Counters that any number of terminals share.
#[derive(Debug, Default)]
pub struct Figures {
    sent: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    commands: AtomicU64,
    connections: AtomicU64,
    connected: AtomicU64,
    latency: Latency,
}

impl Figures {
    /// So much until now.
    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            sent: read(&self.sent),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            commands: read(&self.commands),
            connections: read(&self.connections),
        }
    }

    /// How many lines stand now.
    pub fn connected(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// How long acknowledgements took; nothing where none came.
    pub fn latency(&self) -> Option<Quantiles> {
        self.latency.quantiles()
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn accepted(&self, after: Duration) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.latency.record(after);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn command(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    /// A line stands, as long as what is returned lives.
    pub(super) fn connection(&self) -> Connected<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connected.fetch_add(1, Ordering::Relaxed);
        Connected(self)
    }
}

/// A line that stands.
pub(super) struct Connected<'f>(&'f Figures);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}
