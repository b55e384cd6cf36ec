//! What the benchmarks, and their short forms among the tests, share: processes on the same cores, sources, a broker, a subscriber, and figures.

pub(crate) mod backlog;
pub(crate) mod broker;
pub(crate) mod disk;
pub(crate) mod figures;
pub(crate) mod gateway;
pub(crate) mod process;
pub(crate) mod publisher;
pub(crate) mod source;
pub(crate) mod subscriber;

use std::path::PathBuf;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Cores that a benchmark and all processes that it starts run on.
const CORES: usize = 2;

/// Keeps this thread, and the threads and processes that it starts from now on, on the first cores that it may use.
pub(crate) fn pin() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let mut cores = CpuSet::new();
    let allowed = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap());
    allowed.take(CORES).for_each(|core| cores.set(core).unwrap());
    sched_setaffinity(this, &cores).unwrap();
}

/// The number behind `--{name}` on the command line (`cargo bench … -- --events 1000000`), or another.
pub(crate) fn option(name: &str, otherwise: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument.strip_prefix("--") != Some(name)).skip(1);
    arguments.next().map_or(otherwise, |number| number.parse().unwrap_or_else(|_| panic!("--{name} takes a number")))
}

/// A fresh folder on the disk that the build is on: the temporary folder may be memory, where a sync costs nothing.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).unwrap()
}

/// A runtime with one thread for each core.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(CORES).enable_all().build().unwrap()
}
