//! A child process that never outlives the benchmark.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vestibule::simulate::Random;

/// A running process whose output goes to a file.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(name: &str, mut command: Command, dir: &Path) -> Process {
        let output = File::create(dir.join(format!("{name}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        Process(command.spawn().unwrap_or_else(|fault| panic!("cannot start {name}: {fault}")))
    }

    /// A figure of its memory in `/proc`, in kibibytes.
    pub(crate) fn memory_kib(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// For how long processors have worked for it.
    pub(crate) fn worked(&self) -> Duration {
        worked(self.0.id())
    }

    /// Has the kernel forget its `VmHWM:` before now.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5").unwrap();
    }

    /// Fails where it has ended by itself.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.0.try_wait().unwrap() {
            panic!("it ended by itself with {status}");
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

/// For how long processors have worked for a process.
pub(crate) fn worked(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Behind the name in brackets come the state and, as the twelfth and thirteenth, times in hundredths of a second.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    Duration::from_millis(fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `condition` gives something.
pub(crate) async fn until<T>(what: &str, every: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(600), "{what} did not come");
        tokio::time::sleep(every).await;
    }
}

/// A loopback port that is free now.
pub(crate) fn free_port() -> SocketAddr {
    free_ports(1)[0]
}

/// So many of them, each another one. They lie below those that the kernel gives to whoever connects, so that nobody takes one
/// before its owner does.
pub(crate) fn free_ports(count: usize) -> Vec<SocketAddr> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let mut random = Random::new(u64::from(std::process::id()) << 32 | u64::from(now));
    let mut held: Vec<TcpListener> = Vec::new();
    while held.len() < count {
        let port = 10_000 + u16::try_from(random.below(20_000)).unwrap();
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    held.iter().map(|port| port.local_addr().unwrap()).collect()
}
