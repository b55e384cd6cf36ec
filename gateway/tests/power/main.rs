//! A power cut at any moment loses nothing that was answered, and does nothing twice.
//!
//! The whole branch of the kill tests runs (`tests/branch`), but the gateway keeps its store on a file system that is made
//! for this test and forgets, when the power is cut, every write that no completed sync covers. Then the gateway dies, the
//! store is looked at as the next start would find it ([`inspect`]), the power comes back, and the same gateway goes on with
//! what is left. Cuts come at any act on the disk, on either side of a sync, in checkpoints, while the gateway ends, while
//! it starts after the cut before, and ([`start`]) at each single act of a first start and of a migration.
//!
//! # Why this is what a power cut is
//!
//! Nothing of the gateway or of SQLite is replaced: both run as they are shipped, through the real kernel, which hands each
//! write, sync, length and name to this process by FUSE, in the order in which they are made. The kernel keeps nothing back:
//! without FUSE's write-back cache a write is here before its system call returns; only pages that are written by memory map
//! (`-shm`, which SQLite never needs after a crash) are here when the kernel likes. So what is durable at a cut is exactly
//! what [`disk`] says, and it says less than real disks do:
//!
//! - A sync of a file covers its bytes and its length, `fdatasync` no less than `fsync`. It covers no name: a new file that
//!   is synced, and whose folder is not, is gone. (ext4, XFS and btrfs keep it.)
//! - A sync of a folder covers the names in it, neither the folder's own name nor the bytes behind those names.
//! - Of what was not synced nothing, everything, or any part is left, in any order, by the seed ([`remains`]): whole writes, or
//!   single sectors of 512 bytes, each as it was at any moment since the sync; a length without its bytes, with zeros or noise
//!   in their place; a name without the one that was made before it. A journaling file system leaves far less to chance.
//! - A sync that failed, or that nobody was told of, may have happened or not.
//!
//! What is granted: a sector is written wholly or not at all, and a write leaves the bytes beside its own alone, also within
//! a sector (SQLite's "powersafe overwrite", which it takes for granted on Unix); a rename happens wholly or not at all; what
//! was synced stays. A disk that says that it has synced and has not is outside of what any program can survive: [`tester`]
//! shows that this test finds such a disk out, and everything else that it claims to look for.
//!
//! It needs `/dev/fuse`, and root or `fusermount3`. `VESTIBULE_POWER_CUTS` (25), `VESTIBULE_POWER_STEP` (7: one act of seven
//! of a start; 1 for each) and `VESTIBULE_POWER_SEED` (the time; 1 for the starts) change the figures.

#![allow(clippy::unwrap_used, reason = "all of this is a test: what cannot be is a failure")]

#[path = "../branch/mod.rs"]
#[allow(dead_code, reason = "shared with the kills, which use the rest of it")]
mod branch;
mod disk;
mod inspect;
mod mount;
mod outage;
mod remains;
mod start;
mod supply;
mod tester;

use std::io::Write;
use std::time::{Instant, SystemTime};

use outage::Figures;

/// Cuts of one branch: then another one begins anew.
const CHAIN: u64 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_answered_survives_every_cut() {
    mount::sweep();
    let cuts = figure("VESTIBULE_POWER_CUTS", 25);
    let seed = figure("VESTIBULE_POWER_SEED", SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs());
    let mut figures = Figures::default();
    let begun = Instant::now();
    for chain in 0..cuts.div_ceil(CHAIN) {
        outage::chain(seed + chain, CHAIN.min(cuts - chain * CHAIN), &mut figures).await;
    }
    say(&format!("seed {seed}, {} s: {figures:?}", begun.elapsed().as_secs()));
}

/// A figure of the run that the environment may change.
fn figure(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

/// A line for whoever watches: the seed that repeats a run, the figures of one.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
