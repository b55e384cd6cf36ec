//! What a sync costs here, without anything of ours around it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Milliseconds of each of `count` syncs, each after one page was appended: what a small commit makes SQLite do.
pub(crate) fn syncs(dir: &Path, count: usize) -> Vec<f64> {
    let path = dir.join("sync-probe");
    let mut file = File::create(&path).unwrap();
    let sync = |_| {
        let begun = Instant::now();
        file.write_all(&[0x5a; 4096 + 24]).unwrap();
        file.sync_data().unwrap();
        begun.elapsed().as_secs_f64() * 1e3
    };
    let times = (0..count).map(sync).collect();
    std::fs::remove_file(path).unwrap();
    times
}
