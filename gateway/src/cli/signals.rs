//! What the system tells a process: to stop, or to read its configuration again.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whoever stops a process often tells its whole group besides, so that it hears the same thing twice: what comes so soon after
/// the first is no second signal.
const TOGETHER: Duration = Duration::from_secs(1);

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Hangup,
}

/// The signals; none of them ends the process by itself any more.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    first: Option<Instant>,
}

impl Signals {
    /// Begins to listen.
    pub(super) fn catch() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            first: None,
        })
    }

    /// The next.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return Heard::Hangup,
                () = stop(&mut self.terminate, &mut self.interrupt) => if counts(&mut self.first, Instant::now()) {
                    return Heard::Stop;
                },
            }
        }
    }

    /// The next that says to stop. One that says to read the configuration again is kept until somebody asks for it.
    pub(super) async fn stop(&mut self) {
        loop {
            stop(&mut self.terminate, &mut self.interrupt).await;
            if counts(&mut self.first, Instant::now()) {
                return;
            }
        }
    }
}

/// Whether a signal that comes now is the first, or one of its own.
fn counts(first: &mut Option<Instant>, now: Instant) -> bool {
    match *first {
        Some(first) => now.duration_since(first) >= TOGETHER,
        None => first.replace(now).is_none(),
    }
}

async fn stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_together_is_one() {
        let (mut first, begun) = (None, Instant::now());
        assert!(counts(&mut first, begun));
        assert!(!counts(&mut first, begun));
        assert!(!counts(&mut first, begun + TOGETHER / 2));
        assert!(counts(&mut first, begun + TOGETHER), "however often it was repeated");
    }
}
