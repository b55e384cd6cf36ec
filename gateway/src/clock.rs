//! What time it is, and whether that is known to be right: a Pi has no clock that runs while it is off.

use std::path::Path;

use jiff::Timestamp;

/// Files that time daemons leave once the clock has been set from the network (systemd-timesyncd, chrony's wait-sync).
const SYNCED: [&str; 2] = ["/run/systemd/timesync/synchronized", "/run/vestibule/time-synced"];

/// The time now, and whether the system's clock has been set since the machine started; `None` where nothing here says.
pub fn now() -> (Timestamp, Option<bool>) {
    let synced = if SYNCED.iter().any(|path| Path::new(path).exists()) {
        Some(true)
    } else {
        // Where the daemon's folder is there and its mark is not, the clock is known not to be set yet.
        Path::new("/run/systemd/timesync").exists().then_some(false)
    };
    (Timestamp::now(), synced)
}
