//! What a gateway is seen to be doing at the very moment of a kill.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::branch::gateway::Gateway;

/// Where SQLite locks the file beside the write-ahead log for as long as a checkpoint lasts (its `WAL_CKPT_LOCK`, at the
/// second byte of the locks; the place is part of the file's format).
const CHECKPOINT_LOCK: libc::off_t = 121;

/// Where in its life a gateway was when it was killed, or that it was too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// It did not say yet that it is ready.
    Starting,
    /// It was ready.
    Running,
    /// It wrote its log back into the store.
    Checkpoint,
    /// It was asked to end, and had not.
    Stopping,
    /// It was asked to end, and had: in order, and not by a kill.
    Ended,
}

/// Who looks.
pub(crate) struct Witness {
    locks: PathBuf,
}

impl Witness {
    /// Looks at the gateway of this store.
    pub(crate) fn of(store: &Path) -> Witness {
        let mut locks = store.as_os_str().to_owned();
        locks.push("-shm");
        Witness { locks: locks.into() }
    }

    /// What a gateway that was not asked to end does now.
    pub(crate) async fn look(&self, gateway: &Gateway) -> Seen {
        // While it starts, it locks everything at times.
        match gateway.is_ready().await {
            false => Seen::Starting,
            true if self.is_checkpoint() => Seen::Checkpoint,
            true => Seen::Running,
        }
    }

    /// Whether a ready gateway writes its log back now.
    pub(crate) fn is_checkpoint(&self) -> bool {
        let Ok(file) = File::open(&self.locks) else { return false };
        let mut lock = libc::flock {
            l_type: i16::try_from(libc::F_RDLCK).unwrap(),
            l_whence: i16::try_from(libc::SEEK_SET).unwrap(),
            l_start: CHECKPOINT_LOCK,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_GETLK(&mut lock)).unwrap();
        libc::c_int::from(lock.l_type) != libc::F_UNLCK
    }
}
