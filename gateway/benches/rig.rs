//! What the benchmarks share: processes on the same cores, terminals, a broker, a subscriber, and figures.

pub(crate) mod figures;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Cores that a benchmark and all processes that it starts run on.
const CORES: usize = 2;

/// Keeps this process, and those that it starts from now on, on the first cores that it may use.
pub(crate) fn pin() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let mut cores = CpuSet::new();
    (0..CpuSet::count())
        .filter(|core| allowed.is_set(*core).unwrap())
        .take(CORES)
        .for_each(|core| cores.set(core).unwrap());
    sched_setaffinity(this, &cores).unwrap();
}
