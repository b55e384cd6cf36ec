//! What time it is, whether that is known to be right, and when the clock was moved: a Pi has no clock that runs while it is
//! off, and wakes in 1970, or when it was switched off, until network time arrives.
//!
//! There is one system clock, so what is known of it stands in this module, for the whole process. Durations are never
//! taken from it: whoever waits or measures uses [`std::time::Instant`], and whoever keeps a time across restarts compares
//! it by [`judged`], which a clock that was moved does not move.

mod config;
mod trust;

use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

pub use config::Config;
use trust::{Look, Mark, Trust};

/// How long what was found holds: events come by the thousand a second, and each would ask the file system again. A clock
/// that is moved is looked at at once.
const HOLDS: Duration = Duration::from_secs(1);
/// Journals and events are not thrown away by a clock for so long after it was moved, unless it is confirmed meanwhile.
const SETTLES: Duration = Duration::from_secs(24 * 3600);

/// What is known of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whether it is right; `None` where nothing here says.
    pub synced: Option<bool>,
    /// The moves so far.
    pub moves: u64,
    /// All of them together: positive where the clock is further ahead than it was when the process began.
    pub moved: SignedDuration,
}

struct State {
    trust: Trust,
    config: Config,
    /// What was found, and when; never where the settings are new.
    reading: Reading,
    looked_at: Option<Instant>,
    moved_at: Option<Instant>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the settings, and the newest time that is known to have been right: an earlier one is wrong.
pub fn configure(config: &Config, newest: Option<Timestamp>) {
    let mut state = lock();
    let state = state.get_or_insert_with(State::new);
    state.config = config.clone();
    state.trust.not_before(newest);
    state.looked_at = None;
}

/// The time now, and whether the system's clock is known to be right; `None` where nothing here says.
pub fn now() -> (Timestamp, Option<bool>) {
    let (now, reading) = read();
    (now, reading.synced)
}

/// The time now, and all that is known of the clock.
pub fn read() -> (Timestamp, Reading) {
    let mut state = lock();
    let state = state.get_or_insert_with(State::new);
    let (wall, boot) = (Timestamp::now(), since_boot());
    (wall, state.read(wall, boot))
}

/// The time to judge by whether something is over: the system's where that may be right; else what it was when it was last
/// known to be, and the time that has passed since. A clock that was moved by hand, or is not set yet, neither brings back
/// what has ended nor ends anything early.
pub fn judged() -> Timestamp {
    let mut state = lock();
    let state = state.get_or_insert_with(State::new);
    let (wall, boot) = (Timestamp::now(), since_boot());
    let reading = state.read(wall, boot);
    if reading.synced == Some(true) { wall } else { state.trust.best(boot).unwrap_or(wall) }
}

/// The time by which old things may be thrown away; `None` while the clock is known to be wrong, or was moved and nothing
/// has confirmed it: what is kept too long can still go, what is gone cannot come back.
pub fn fit_for_retention() -> Option<Timestamp> {
    let mut state = lock();
    let state = state.get_or_insert_with(State::new);
    let (wall, boot) = (Timestamp::now(), since_boot());
    match state.read(wall, boot).synced {
        Some(true) => Some(wall),
        Some(false) => None,
        None => {
            let unsettled = state.moved_at.is_some_and(|at| at.elapsed() < SETTLES);
            (!unsettled && !state.trust.leapt(wall)).then_some(wall)
        }
    }
}

/// Time since the machine's boot, sleep included: no setting of the clock moves it.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// A moment that no setting of the clock moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The machine's boot, by the kernel's name of it.
    pub boot: Box<str>,
    /// Milliseconds since then, sleep included.
    pub boot_ms: i64,
}

impl Moment {
    /// The present one.
    pub fn now() -> Moment {
        Moment { boot: boot_id().into(), boot_ms: i64::try_from(since_boot().as_millis()).unwrap_or(i64::MAX) }
    }
}

/// The kernel's name of the machine's boot: the same for every process until it starts again.
pub fn boot_id() -> &'static str {
    static ID: LazyLock<String> = LazyLock::new(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        id.map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
    });
    &ID
}

impl State {
    fn new() -> State {
        State {
            trust: Trust::new(released()),
            config: Config::default(),
            reading: Reading::default(),
            looked_at: None,
            moved_at: None,
        }
    }

    fn read(&mut self, wall: Timestamp, boot: Duration) -> Reading {
        if self.looked_at.is_some_and(|at| at.elapsed() < HOLDS) && !self.trust.is_moved(wall, boot) {
            return self.reading;
        }
        let marks = self.config.marks.iter().map(|path| mark(path)).collect();
        let (synced, moved) = self.trust.look(Look { wall, boot, marks });
        self.looked_at = Some(Instant::now());
        self.reading.synced = synced;
        if let Some(by) = moved {
            self.moved_at = self.looked_at;
            self.reading.moves += 1;
            self.reading.moved = self.reading.moved.saturating_add(by);
        }
        self.reading
    }
}

fn mark(path: &Path) -> Mark {
    match std::fs::metadata(path) {
        Ok(found) => Mark::There(found.modified().ok()),
        // Where the daemon's folder is there and its mark is not, the clock is known not to be set yet.
        Err(_) if path.parent().is_some_and(Path::is_dir) => Mark::Missing,
        Err(_) => Mark::NoDaemon,
    }
}

/// A time that is over: no clock that shows an earlier one is right.
fn released() -> Timestamp {
    trust::RELEASED.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}
