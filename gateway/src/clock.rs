//! What time it is, and whether that is known to be right: a Pi has no clock that runs while it is off.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Files that time daemons leave once the clock has been set from the network (systemd-timesyncd, chrony's wait-sync).
const SYNCED: [&str; 2] = ["/run/systemd/timesync/synchronized", "/run/vestibule/time-synced"];
/// How long what was found holds: events come by the thousand a second, and each would ask the file system again.
const HOLDS: Duration = Duration::from_secs(1);

/// The time now, and whether the system's clock has been set since the machine started; `None` where nothing here says.
pub fn now() -> (Timestamp, Option<bool>) {
    static FOUND: Mutex<Option<(Instant, Option<bool>)>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let synced = match *found {
        Some((at, synced)) if at.elapsed() < HOLDS => synced,
        _ => found.insert((Instant::now(), is_synced())).1,
    };
    (Timestamp::now(), synced)
}

fn is_synced() -> Option<bool> {
    if SYNCED.iter().any(|path| Path::new(path).exists()) {
        return Some(true);
    }
    // Where the daemon's folder is there and its mark is not, the clock is known not to be set yet.
    Path::new("/run/systemd/timesync").exists().then_some(false)
}
