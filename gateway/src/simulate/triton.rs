//! A terminal that speaks Triton Standard on a serial line: polled, acknowledged, and asked again where the line is noisy.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::pty::Pty;
use crate::protocol::triton::{Control, frame};

/// How long a terminal waits for its host before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it sends a frame again.
const RETRIES: u32 = 3;

/// A simulated terminal. The far end of its line is a device that the gateway can open.
#[derive(Debug)]
pub struct Terminal {
    /// The near end, twice: the runtime's pipes are the asynchronous descriptors it has for what is no socket.
    out: pipe::Sender,
    back: pipe::Receiver,
    path: PathBuf,
    _far_end: File,
    /// So many frames from now on are damaged on the line.
    pub damage: u32,
    /// So many acknowledgements from now on are lost on the line.
    pub deafness: u32,
}

impl Terminal {
    /// A terminal on a line of its own. Must be called on a runtime.
    ///
    /// # Errors
    /// Where the system has no pseudo-terminal left.
    pub fn open() -> io::Result<Terminal> {
        let Pty { master, path, far_end } = Pty::open()?;
        let back = pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?;
        let out = pipe::Sender::from_owned_fd_unchecked(master)?;
        Ok(Terminal { out, back, path, _far_end: far_end, damage: 0, deafness: 0 })
    }

    /// The serial device for the gateway's configuration.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits to be polled, sends one message, and ends the exchange; fields are separated by `|`. True where the host
    /// acknowledged it.
    ///
    /// # Errors
    /// Where the line is gone.
    pub async fn report(&mut self, body: &str) -> io::Result<bool> {
        let whole = frame(&body.replace('|', "\x1c"));
        if self.until(&[Control::Enq]).await?.is_none() {
            return Ok(false);
        }
        for _ in 0..=RETRIES {
            let mut sent = whole.clone();
            if take_one(&mut self.damage)
                && let Some(byte) = sent.get_mut(2)
            {
                *byte ^= 0x03;
            }
            self.say(&sent).await?;
            match self.until(&[Control::Ack, Control::Nak, Control::Eot]).await? {
                Some(Control::Ack) if !take_one(&mut self.deafness) => {
                    self.say(&[Control::Eot.character() | 0x80]).await?;
                    return Ok(true);
                }
                Some(Control::Eot) | None => return Ok(false),
                Some(_) => {}
            }
        }
        Ok(false)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Where the line is gone.
    pub async fn say(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.out.writable().await?;
            match self.out.try_write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// The next byte that the host says, without its parity; `None` where it says nothing for so long.
    ///
    /// # Errors
    /// Where the line is gone.
    pub async fn next(&self, patience: Duration) -> io::Result<Option<u8>> {
        let read = async {
            loop {
                self.back.readable().await?;
                let mut byte = [0];
                match self.back.try_read(&mut byte) {
                    Ok(_) => return Ok(byte[0] & 0x7f),
                    Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
                    Err(fault) => return Err(fault),
                }
            }
        };
        timeout(patience, read).await.map_or(Ok(None), |read: io::Result<u8>| read.map(Some))
    }

    /// The next of these that the host says; everything else is not for us.
    async fn until(&self, wanted: &[Control]) -> io::Result<Option<Control>> {
        while let Some(byte) = self.next(PATIENCE).await? {
            if let Some(control) = Control::of(byte).filter(|control| wanted.contains(control)) {
                return Ok(Some(control));
            }
        }
        Ok(None)
    }
}

/// Takes one away, where there is one left.
fn take_one(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}
