//! A pseudo-terminal: a serial line without hardware.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use tokio::io::{Join, join};
use tokio::net::unix::pipe;

/// How often to look whether a line is empty.
const LOOK: Duration = Duration::from_millis(5);

/// The near end, read and written: the runtime's pipes are the asynchronous descriptors it has for what is no socket.
pub(super) type Near = Join<pipe::Receiver, pipe::Sender>;

/// Both ends of a line.
pub(super) struct Pty {
    /// The near end, which never blocks.
    pub(super) master: OwnedFd,
    /// The device at the far end.
    pub(super) path: PathBuf,
    /// The far end, held open so that bytes wait in the line while nobody reads.
    pub(super) far_end: File,
}

impl Pty {
    /// A new line.
    pub(super) fn open() -> io::Result<Pty> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(ptsname_r(&master)?);
        let far_end = open_far_end(&path)?;
        Ok(Pty { master: OwnedFd::from(master), path, far_end })
    }

    /// The near end as a stream, the device, and the far end to be held. Must be called on a runtime.
    pub(super) fn near(self) -> io::Result<(Near, PathBuf, File)> {
        let back = pipe::Receiver::from_owned_fd_unchecked(self.master.try_clone()?)?;
        let out = pipe::Sender::from_owned_fd_unchecked(self.master)?;
        Ok((join(back, out), self.path, self.far_end))
    }
}

/// Waits until the other side has taken everything: with the near end goes what is still in the line.
pub(super) async fn emptied(far_end: &File) {
    let waits = || {
        let mut line = [PollFd::new(far_end.as_fd(), PollFlags::POLLIN)];
        poll(&mut line, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    };
    while waits() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Opens the device in raw mode, so that nothing is echoed or translated before the gateway sets its own mode.
pub(super) fn open_far_end(path: &Path) -> io::Result<File> {
    let far_end = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(path)?;
    let mut mode = tcgetattr(&far_end)?;
    cfmakeraw(&mut mode);
    tcsetattr(&far_end, SetArg::TCSANOW, &mode)?;
    Ok(far_end)
}
