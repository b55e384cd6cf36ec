//! Networks of our own: what is inside reaches nothing else, and nothing else reaches it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, id};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace; it is gone when nothing is in it and nobody holds it.
pub(crate) struct Network(File);

impl Network {
    /// A new one, with its loopback up.
    pub(crate) fn new() -> Network {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces can be made: run this as root");
            ip("link set lo up");
            Network(File::open("/proc/thread-self/ns/net").unwrap())
        };
        std::thread::spawn(make).join().unwrap()
    }

    /// Does this inside, on a thread of its own. Threads and processes that it starts stay inside.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let work = || {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            };
            scope.spawn(work).join().unwrap_or_else(|fault| std::panic::resume_unwind(fault))
        })
    }

    /// Lays a cable from the network that we are in to this one, with an address at either end.
    pub(crate) fn lay_cable(&self, ours: &str, theirs: &str) {
        let other = format!("/proc/{}/fd/{}", id(), self.0.as_raw_fd());
        ip(&format!("link add cable type veth peer name cable netns {other}"));
        self.inside(|| {
            ip(&format!("address add {theirs}/24 dev cable"));
            ip("link set cable up");
        });
        ip(&format!("address add {ours}/24 dev cable"));
        ip("link set cable up");
    }
}

/// Configures the network that this thread is in.
pub(crate) fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().expect("ip is installed (apt install iproute2)");
    assert!(status.success(), "ip {words}: {status}");
}
