//! A verb that makes files with events in them, and is to end: it clears away what it has begun, and ends then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};

use super::exit::{Code, Exit};

/// Somebody wants the verb to end.
static ASKED: AtomicBool = AtomicBool::new(false);
static WATCHED: OnceLock<()> = OnceLock::new();

/// From now on Ctrl-C, SIGTERM and SIGHUP only ask; asked twice, the process ends at once. Call it before other threads begin:
/// they take over which signals wait.
pub(super) fn watch() {
    WATCHED.get_or_init(|| {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        if signals.thread_block().is_err() {
            return;
        }
        let wait = move || {
            while signals.wait().is_ok() {
                if ASKED.swap(true, Ordering::AcqRel) {
                    std::process::exit(i32::from(Code::Hurried as u8));
                }
            }
        };
        // Without the thread, signals would wait for ever.
        if std::thread::Builder::new().name("signals".to_owned()).spawn(wait).is_err() {
            let _ = signals.thread_unblock();
        }
    });
}

/// Whether nobody wants the verb to end.
pub(super) fn goes_on() -> bool {
    !ASKED.load(Ordering::Acquire)
}

/// An error where somebody wants it to.
pub(super) fn check() -> Result<(), Exit> {
    if goes_on() { Ok(()) } else { Err(interrupted()) }
}

/// What is said then.
pub(super) fn interrupted() -> Exit {
    Exit::hurried("interrupted: what was begun is cleared away")
}
