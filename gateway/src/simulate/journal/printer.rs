//! A serial line without hardware: a pseudo-terminal whose far end is the device that the gateway opens.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;

use crate::simulate::pty::{Pty, open_far_end};

/// How long to wait where the line answers that its far end is just being replugged.
const REPLUG_WAIT: Duration = Duration::from_millis(20);

/// The printing side of a serial line.
#[derive(Debug)]
pub struct Printer {
    /// The near end. The runtime's pipe is the one asynchronous writer it has for a descriptor that is no socket.
    master: pipe::Sender,
    path: PathBuf,
    /// The far end, held open so that bytes wait in the line while nobody reads, as in a printer's buffer.
    far_end: Mutex<Option<File>>,
}

impl Printer {
    /// A new line. Must be called on a runtime.
    ///
    /// # Errors
    /// Where the system has no pseudo-terminal left.
    pub fn open() -> io::Result<Printer> {
        let Pty { master, path, far_end } = Pty::open()?;
        let master = pipe::Sender::from_owned_fd_unchecked(master)?;
        Ok(Printer { master, path, far_end: Mutex::new(Some(far_end)) })
    }

    /// The serial device for the gateway's configuration.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends bytes down the line, waiting while it is full.
    ///
    /// # Errors
    /// Where the line is gone for good.
    pub async fn print(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.master.writable().await?;
            match self.master.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
                Err(fault) if fault.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => {
                    tokio::time::sleep(REPLUG_WAIT).await;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Pulls the far end and plugs it in again: bytes in the line are lost.
    ///
    /// A reader that was killed leaves its exclusive lock (TIOCEXCL) on the device until everybody has closed it; a real
    /// line loses the lock with its one reader, this one only so.
    ///
    /// # Errors
    /// Where the device cannot be opened again.
    pub fn replug(&self) -> io::Result<()> {
        let mut far_end = self.far_end.lock().unwrap_or_else(PoisonError::into_inner);
        far_end.take();
        *far_end = Some(open_far_end(&self.path)?);
        Ok(())
    }
}
