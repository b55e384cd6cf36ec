//! A real mosquitto at the other end of a cable.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::network::{Network, ip};
use crate::process::{Process, until};

/// The gateway's end of the cable, the broker's, and where the broker listens.
const NEAR: &str = "10.77.0.1";
pub(crate) const FAR: &str = "10.77.0.2";
pub(crate) const PORT: u16 = 1883;
const STARTS_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Broker {
    pub(crate) network: Network,
    dir: PathBuf,
    process: Process,
}

impl Broker {
    pub(crate) async fn start(dir: &Path) -> Broker {
        let network = Network::new();
        network.lay_cable(NEAR, FAR);
        // The subscriber's socket takes what a kill of the broker would otherwise leave on the broker's side of it.
        let roomy = "4096 8388608 8388608";
        network.inside(|| std::fs::write("/proc/sys/net/ipv4/tcp_rmem", roomy)).unwrap();
        let dir = dir.join("broker");
        std::fs::create_dir(&dir).unwrap();
        // No limits on what the subscriber may have under way: each message goes into its socket before the gateway gets
        // its PUBACK, so that a kill of the broker does not lose what it acknowledged. The database is written on demand
        // and in an orderly end: a killed broker knows the subscriber's session from it.
        let config = format!(
            "listener {PORT}\nallow_anonymous true\npersistence true\npersistence_location {}/\nautosave_interval 0\n\
             max_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\nuser root\n",
            dir.display()
        );
        std::fs::write(dir.join("mosquitto.conf"), config).unwrap();
        let process = launch(&network, &dir);
        let mut broker = Broker { network, dir, process };
        broker.listens().await;
        broker
    }

    async fn listens(&mut self) {
        let Broker { network, process, .. } = self;
        let missing = || "mosquitto does not listen".into();
        until(STARTS_WITHIN, missing, async || {
            process.assert_alive();
            network.inside(|| TcpStream::connect(("127.0.0.1", PORT))).ok()
        })
        .await;
    }

    /// Has the broker write its sessions down.
    pub(crate) async fn keep_sessions(&self) {
        self.signal(Signal::SIGUSR1);
        let database = self.dir.join("mosquitto.db");
        let missing = || "mosquitto did not write its database".into();
        until(STARTS_WITHIN, missing, async || std::fs::metadata(&database).ok().filter(|file| file.len() > 0)).await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id()), signal).unwrap();
    }

    /// Ends it by this signal.
    pub(crate) fn end(&mut self, signal: Signal) {
        self.signal(signal);
        while self.process.ended().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again.
    pub(crate) fn again(&mut self) {
        self.process = launch(&self.network, &self.dir);
    }

    /// From now on every packet vanishes, and nobody is told.
    pub(crate) fn pull_cable(&mut self) {
        self.network.inside(|| ip("link set cable down"));
    }

    pub(crate) fn plug_cable(&mut self) {
        self.network.inside(|| ip("link set cable up"));
    }
}

/// Debian installs it where only root's search path looks.
fn launch(network: &Network, dir: &Path) -> Process {
    let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];
    let program = places.into_iter().find(|path| Path::new(path).exists()).unwrap_or("mosquitto");
    let mut command = Command::new(program);
    command.arg("-c").arg(dir.join("mosquitto.conf"));
    network.inside(|| Process::start("mosquitto", command, dir))
}
