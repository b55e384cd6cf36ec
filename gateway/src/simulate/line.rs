//! A terminal's way to the gateway: connects, and waits longer after every failure in a row.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Retry;

/// The way to one address.
#[derive(Debug)]
pub(super) struct Line {
    address: SocketAddr,
    retry: Retry,
    failures: u32,
}

impl Line {
    pub(super) fn new(address: SocketAddr, retry: Retry) -> Line {
        Line { address, retry, failures: 0 }
    }

    /// A new connection, once there is one; nothing where it was told to stop.
    pub(super) async fn connect(&mut self, shutdown: &CancellationToken) -> Option<TcpStream> {
        loop {
            if self.failures > 0 && !self.retry.wait(self.failures - 1, shutdown).await {
                return None;
            }
            self.failures += 1;
            let connected = tokio::select! {
                () = shutdown.cancelled() => return None,
                connected = TcpStream::connect(self.address) => connected,
            };
            if let Ok(stream) = connected
                && stream.set_nodelay(true).is_ok()
            {
                return Some(stream);
            }
        }
    }

    /// The other side is gone. Where something had gone over the line, it counts as the first failure.
    pub(super) fn lost(&mut self, worked: bool) {
        if worked {
            self.failures = 1;
        }
    }

    /// The terminal itself hung up: it comes back without a wait.
    pub(super) fn hung_up(&mut self) {
        self.failures = 0;
    }
}
