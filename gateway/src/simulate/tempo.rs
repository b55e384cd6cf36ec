//! How fast terminals say what they have to say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Pace;

/// How far a fleet that was held up may hurry afterwards.
const CATCH_UP: Duration = Duration::from_millis(200);

/// What decides when the next message goes out.
#[derive(Clone, Debug)]
pub enum Tempo {
    /// The waits of the script.
    Script(Pace),
    /// So many messages a second, over all terminals that share it; the script's waits do not count.
    Rate(Arc<Throttle>),
    /// No waits: as fast as the other side takes it, or answers where it answers.
    Max,
}

/// Deals out turns, evenly in time.
#[derive(Debug)]
pub struct Throttle {
    every: Duration,
    next: Mutex<Instant>,
}

impl Tempo {
    /// So many messages a second; fewer than one a day is none that could be waited for.
    pub fn rate(per_second: f64) -> Option<Tempo> {
        let every =
            Duration::try_from_secs_f64(1.0 / per_second).ok().filter(|every| *every <= Duration::from_hours(24))?;
        Some(Tempo::Rate(Arc::new(Throttle { every, next: Mutex::new(Instant::now()) })))
    }

    /// A wait of the script.
    pub(super) async fn wait(&self, script_ms: u32) {
        if let Tempo::Script(pace) = self {
            sleep(pace.wait(script_ms)).await;
        }
    }

    /// Waits until one more message may go out.
    pub(super) async fn turn(&self) {
        match self {
            Tempo::Rate(throttle) => sleep_until(throttle.turn()).await,
            // Nobody else would have a turn where the other side takes everything.
            Tempo::Max => tokio::task::yield_now().await,
            Tempo::Script(_) => {}
        }
    }
}

impl From<Pace> for Tempo {
    fn from(pace: Pace) -> Tempo {
        Tempo::Script(pace)
    }
}

impl Throttle {
    /// The time of the next turn, which is taken with it.
    fn turn(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let turn = (*next).max(now.checked_sub(CATCH_UP).unwrap_or(now));
        *next = turn + self.every;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_by_all_together() {
        let Some(Tempo::Rate(throttle)) = Tempo::rate(1_000.0) else { panic!("a rate") };
        let turns: Vec<Instant> = (0..3_001).map(|_| throttle.turn()).collect();
        assert_eq!(turns[3_000] - turns[0], Duration::from_secs(3));
        assert!(turns.is_sorted());
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for wrong in [0.0, -1.0, f64::NAN, 1e-9] {
            assert!(Tempo::rate(wrong).is_none(), "{wrong}");
        }
    }
}
