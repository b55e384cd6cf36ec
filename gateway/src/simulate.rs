//! Simulated terminals that speak the real protocols: for `vestibule demo`, for tests and for load.
//!
//! What happens at a terminal is a [`Script`](script::Script), a plain table of acts. Each protocol has a voice that turns an
//! act into what a terminal of that kind would send, without I/O and the same for the same seed, and a terminal that
//! sends it over a real socket or a real serial line, and comes back when the line is cut.

pub mod journal;
pub mod jsonl;
pub mod ndc;
mod random;
pub mod script;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use random::Random;

/// What a simulated terminal has done until it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages, lines of JSON or lines of print that were sent, those sent again included.
    pub sent: u64,
    /// Lines that the gateway accepted (JSON lines only: the other protocols have no answer).
    pub accepted: u64,
    /// Lines that the gateway refused.
    pub refused: u64,
    /// Commands that were answered (NDC only).
    pub commands: u64,
    /// How often the line was established.
    pub connections: u64,
}

/// How fast a script is played, in percent of its own pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(u32);

impl Default for Pace {
    fn default() -> Self {
        Pace::REAL
    }
}

impl Pace {
    /// As the script says.
    pub const REAL: Pace = Pace(100);

    /// This many percent of the script's pace: 200 is twice as fast. Nothing is slower than 1 %.
    pub fn percent(percent: u32) -> Pace {
        Pace(percent.max(1))
    }

    /// A wait of the script, at this pace.
    pub fn wait(self, script_ms: u32) -> Duration {
        Duration::from_micros(u64::from(script_ms) * 100_000 / u64::from(self.0))
    }
}

/// How long a terminal waits before it tries a cut line again: doubling from `first` to `most`.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { first: Duration::from_millis(100), most: Duration::from_secs(5) }
    }
}

impl Retry {
    /// Waits for the given number of failures in a row; false where it was told to stop instead.
    async fn wait(self, failures: u32, shutdown: &CancellationToken) -> bool {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(1));
        pause(doubled.min(self.most), shutdown).await
    }
}

/// Waits; false where it was told to stop instead.
async fn pause(wait: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(wait) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_scales_the_waits_of_a_script() {
        assert_eq!(Pace::REAL.wait(250), Duration::from_millis(250));
        assert_eq!(Pace::percent(1000).wait(250), Duration::from_millis(25));
        assert_eq!(Pace::percent(0).wait(1), Duration::from_millis(100));
    }
}
