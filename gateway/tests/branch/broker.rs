//! A real mosquitto, killed and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::process::{Process, free_ports, until};
use super::subscriber::Subscriber;

const STARTS_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct Broker {
    pub(crate) port: u16,
    dir: PathBuf,
    process: Option<Process>,
}

impl Broker {
    pub(crate) async fn start(dir: &Path) -> Broker {
        let [address] = free_ports();
        let port = address.port();
        let dir = dir.join("broker");
        std::fs::create_dir(&dir).unwrap();
        // No limits on what a subscriber may have under way: each message goes into its socket before the publisher gets
        // its PUBACK, so that a kill of the broker does not lose what it acknowledged. The subscriber acknowledges nothing:
        // an acknowledgement that a killed broker cannot read any more would break the line, and what stands in it unread
        // would be gone. The database is written on demand alone: it keeps the subscriber's session from the beginning, and
        // nothing else.
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
             autosave_interval 0\nmax_inflight_messages 0\nmax_queued_messages 0\nqueue_qos0_messages true\nuser root\n",
            dir.display()
        );
        std::fs::write(dir.join("mosquitto.conf"), config).unwrap();
        let mut broker = Broker { port, dir, process: None };
        broker.restart().await;
        broker
    }

    pub(crate) async fn restart(&mut self) {
        let mut command = Command::new(mosquitto());
        command.arg("-c").arg(self.dir.join("mosquitto.conf"));
        let mut process = Process::start("mosquitto", command, &self.dir);
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        until(
            STARTS_WITHIN,
            || "mosquitto does not listen".into(),
            async || {
                process.assert_alive();
                TcpStream::connect(address).await.ok()
            },
        )
        .await;
        self.process = Some(process);
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().expect("the broker runs").kill();
    }

    /// Has the broker write its sessions down, so that a killed one knows them again.
    pub(crate) async fn keep_sessions(&self, subscriber: &Subscriber) {
        subscriber.subscribed().await;
        let process = self.process.as_ref().expect("the broker runs");
        process.signal(Signal::SIGUSR1);
        let database = self.dir.join("mosquitto.db");
        until(
            STARTS_WITHIN,
            || "mosquitto did not write its database".into(),
            async || std::fs::metadata(&database).ok().filter(|file| file.len() > 0),
        )
        .await;
    }
}

/// Debian installs it where only root's search path looks.
fn mosquitto() -> &'static str {
    ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap_or("mosquitto")
}
