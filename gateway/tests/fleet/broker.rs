//! Brokers that are killed and started again on the same data.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::process::{Process, until};

/// RabbitMQ takes its time on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(90);

/// One server.
pub(crate) struct Node {
    pub(crate) mqtt: SocketAddr,
    name: &'static str,
    dir: PathBuf,
    command: Box<dyn Fn() -> Command + Send>,
    process: Option<Process>,
}

impl Node {
    /// Starts a server; `command` starts it again, too.
    pub(crate) fn start(
        name: &'static str,
        dir: &Path,
        mqtt: SocketAddr,
        command: impl Fn() -> Command + Send + 'static,
    ) -> Node {
        let process = Some(Process::start(name, command(), dir));
        Node { mqtt, name, dir: dir.to_owned(), command: Box::new(command), process }
    }

    /// Waits until it takes connections.
    pub(crate) async fn listens(&mut self) {
        let Node { mqtt, name, process, .. } = self;
        let process = process.as_mut().expect("it was started");
        until(
            STARTS_WITHIN,
            || format!("{name} does not listen at {mqtt}"),
            async || {
                process.assert_alive();
                TcpStream::connect(*mqtt).await.ok()
            },
        )
        .await;
    }

    /// Its number.
    pub(crate) fn id(&self) -> i32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Starts it again, on what it has left.
    pub(crate) async fn restart(&mut self) {
        self.process = Some(Process::start(self.name, (self.command)(), &self.dir));
        self.listens().await;
    }

    /// The end of what it printed.
    pub(crate) fn tail(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::tail)
    }
}

/// Several servers as one broker.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    /// What they run on; it goes with them.
    pub(crate) _beneath: Option<Process>,
}

impl Cluster {
    /// The addresses, from this one on.
    pub(crate) fn addresses(&self, from: usize) -> Vec<SocketAddr> {
        let mut all: Vec<_> = self.nodes.iter().map(|node| node.mqtt).collect();
        let places = all.len();
        all.rotate_left(from % places);
        all
    }
}
