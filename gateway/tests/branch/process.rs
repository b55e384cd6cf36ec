//! A child process that never outlives the test, and the waiting for what it does.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vestibule::simulate::Random;

/// How often a condition is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// The same where it is measured how long something takes.
pub(crate) const FINE: Duration = Duration::from_millis(1);
/// How much of a process's output a failure shows.
const SHOWN: usize = 4_000;

/// A running process whose output goes to a file.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    output: PathBuf,
}

impl Process {
    pub(crate) fn start(name: &'static str, mut command: Command, dir: &Path) -> Process {
        let output = dir.join(format!("{name}.log"));
        let file: File = OpenOptions::new().create(true).append(true).open(&output).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|fault| panic!("cannot start {name}: {fault}"));
        Process { name, child, output }
    }

    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It is a child that nobody has waited for: its number is still its own, even if it has ended.
        kill(Pid::from_raw(self.id()), signal).unwrap();
    }

    /// Fails the test where the process has ended by itself.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended by itself with {status}:\n{}", self.name, self.tail());
        }
    }

    /// Kill -9.
    pub(crate) fn kill(&mut self) {
        self.assert_alive();
        self.end();
    }

    /// Kill -9, whether it still runs or has ended.
    pub(crate) fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The end of what it printed.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits until `condition` gives something; panics with `missing` after `limit`.
pub(crate) async fn until<T>(
    limit: Duration,
    missing: impl Fn() -> String,
    condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    until_every(LOOK, limit, missing, condition).await
}

/// The same, looking so often.
pub(crate) async fn until_every<T>(
    look: Duration,
    limit: Duration,
    missing: impl Fn() -> String,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "after {} s: {}", limit.as_secs(), missing());
        tokio::time::sleep(look).await;
    }
}

/// Loopback ports that are free now, each another one. They lie below those that the kernel gives to whoever connects, so
/// that nobody takes one while its owner is away.
pub(crate) fn free_ports<const N: usize>() -> [SocketAddr; N] {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let mut random = Random::new(u64::from(std::process::id()) << 32 | u64::from(now));
    let mut held: Vec<TcpListener> = Vec::new();
    while held.len() < N {
        let port = 10_000 + u16::try_from(random.below(20_000)).unwrap();
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    std::array::from_fn(|nth| held[nth].local_addr().unwrap())
}
