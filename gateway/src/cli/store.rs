//! The store of a gateway that does not run, opened for writing.
//!
//! Whoever opens it may be root, and the gateway is somebody else: a file that it could not write would keep it from starting.
//! So the process becomes the folder's owner for good before the first file is made.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use super::exit::Exit;
use crate::clock;
use crate::config::Config;
use crate::event::Event;
use crate::gateway::StartError;
use crate::log::{Log, OpenError, Opened, Submission, Unfit, fit};
use crate::metrics::Metrics;
use crate::terminals::{Inventory, TerminalFold};

/// Held by whoever has the store open.
const LOCK: &str = "events.lock";

/// Opens it; none where a gateway runs on it. What the opening itself has to tell is appended. One that is damaged is left to the
/// gateway's start, and none is made.
pub(super) fn open(config: &Config) -> Result<Option<Log>, Exit> {
    let dir = &config.log.dir;
    if is_running(dir) {
        return Ok(None);
    }
    become_owner(dir).map_err(|error| Exit::cannot_create(format!("{}: {error}", dir.display())))?;
    fit(dir).map_err(|unfit| match unfit {
        Unfit::Missing(_) | Unfit::Unreadable(_) => Exit::no_input(unfit.to_string()),
        Unfit::Damaged { .. } => Exit::data(unfit.to_string()),
    })?;
    let metrics = Arc::new(Metrics::new().map_err(|error| Exit::software(error.to_string()))?);
    let inventory = Arc::new(Inventory::new(config.terminals()));
    let fold = Box::new(TerminalFold::new(inventory, Arc::clone(&metrics)));
    let opened = match Log::open(&config.log, &config.gateway.id, fold, metrics) {
        Err(OpenError::InUse(_)) => return Ok(None),
        opened => opened.map_err(|error| Exit::from(StartError::from(error)))?,
    };
    let news = opened.news();
    let Opened { log, newest_confirmed, .. } = opened;
    clock::configure(&config.clock, newest_confirmed);
    let events: Vec<_> = news.into_iter().map(|event| stamp(event).into()).collect();
    if !events.is_empty() {
        log.submit_blocking(Submission { events, ..Submission::default() })
            .map_err(|error| Exit::io(error.to_string()))?;
    }
    Ok(Some(log))
}

/// Whether a gateway has the store in this folder open. Makes nothing.
pub(super) fn is_running(dir: &Path) -> bool {
    File::open(dir.join(LOCK)).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Makes the process, where it is root's, the folder's owner's. What an earlier tool left there as root's is given to them first.
fn become_owner(dir: &Path) -> io::Result<()> {
    let Ok(folder) = fs::metadata(dir) else { return Ok(()) };
    if !geteuid().is_root() || folder.uid() == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let found = entry.metadata()?;
        let ours = entry.file_name().to_string_lossy().starts_with("events.");
        // Nothing that stands elsewhere too: a link of it, say, that somebody put there.
        if ours && found.is_file() && found.uid() == 0 && found.nlink() == 1 {
            lchown(entry.path(), Some(folder.uid()), Some(folder.gid()))?;
        }
    }
    let (user, group) = (Uid::from_raw(folder.uid()), Gid::from_raw(folder.gid()));
    setgroups(&[group])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    Ok(())
}

fn stamp(mut event: Event) -> Event {
    let (now, synced) = clock::now();
    event.terminal = "gateway".to_owned();
    event.received_at = Some(now);
    event.time_synced = synced;
    event
}

/// Who calls the verb, as far as the system knows: they need no token where they may write the store. To be asked before it is
/// opened, which may change who the process is.
pub(super) fn person() -> String {
    // Whoever has logged in, also where they have become root since; nobody has where this is the greatest number.
    let login = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse::<u32>().ok());
    let user = login.filter(|user| *user != u32::MAX).unwrap_or_else(|| geteuid().as_raw());
    format!("command line, user {user}")
}
