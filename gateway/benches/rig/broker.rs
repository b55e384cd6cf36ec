//! A real mosquitto.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use super::process::{Process, free_port, until};

/// A running broker that keeps nothing on disk and sets no limits of its own.
pub(crate) struct Broker {
    pub(crate) port: u16,
    process: Process,
}

impl Broker {
    pub(crate) async fn start(dir: &Path) -> Broker {
        Broker::start_at(dir, free_port()).await
    }

    pub(crate) async fn start_at(dir: &Path, address: SocketAddr) -> Broker {
        let port = address.port();
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
             max_inflight_messages 0\nmax_queued_messages 0\nlog_dest none\n"
        );
        let path = dir.join("mosquitto.conf");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(mosquitto());
        command.arg("-c").arg(path);
        let process = Process::start("mosquitto", command, dir);
        until("mosquitto", Duration::from_millis(10), async || TcpStream::connect(address).await.ok()).await;
        Broker { port, process }
    }
}

impl Broker {
    pub(crate) fn worked(&self) -> Duration {
        self.process.worked()
    }
}

/// Debian installs it where only root's search path looks.
fn mosquitto() -> &'static str {
    ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("mosquitto")
}
