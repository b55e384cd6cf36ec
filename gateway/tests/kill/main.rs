//! Kill -9 at any moment loses nothing that was answered, and does nothing twice.
//!
//! The gateway runs as a process against a real mosquitto. Eight TCP connections send JSON lines, a ninth is a terminal
//! that is being jackpotted, an NDC terminal speaks over TCP, a journal printer over a serial pty, and another NDC terminal
//! is given one command after the other by HTTP. Meanwhile the gateway is killed at 50 random moments of its life (while it
//! starts, runs, writes its log back, ends; [`seen`] tells which it was) and the broker at 5; both start again on the same data. In the end everything
//! that was answered has arrived, the sequence has no gaps, every rule has answered each cause once, and no command was
//! heard twice.
//!
//! `VESTIBULE_KILL_GATEWAY` (50), `VESTIBULE_KILL_EVENTS` (400 for each of these), `VESTIBULE_KILL_BROKER` (a tenth of
//! them) and `VESTIBULE_KILL_SEED` (the time) change the figures.

#![allow(clippy::unwrap_used, reason = "all of this is a test: what cannot be is a failure")]

#[path = "../branch/mod.rs"]
#[allow(dead_code, reason = "shared with the power cuts, which use the rest of it")]
mod branch;
mod chaos;
mod seen;
mod start;

use std::io::Write;
use std::time::SystemTime;

use branch::Branch;

/// The figures of a run.
#[derive(Clone, Copy, Debug)]
struct Figures {
    events: u64,
    gateway_kills: u64,
    broker_kills: u64,
    seed: u64,
}

impl Figures {
    fn from_environment() -> Figures {
        let figure = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
            Err(_) => default,
        };
        let now = SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs());
        let gateway_kills = figure("VESTIBULE_KILL_GATEWAY", 50);
        Figures {
            events: figure("VESTIBULE_KILL_EVENTS", 400 * gateway_kills),
            gateway_kills,
            broker_kills: figure("VESTIBULE_KILL_BROKER", gateway_kills.div_ceil(10)),
            seed: figure("VESTIBULE_KILL_SEED", now),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_answered_arrives_once() {
    let figures = Figures::from_environment();
    say(&format!("{figures:?}"));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut branch = Branch::open(dir.path(), &data, figures.events, figures.seed).await;
    branch.gateway.ready().await;
    say(&chaos::rage(figures, &mut branch, &data.join("events.db")).await);
    branch.close().await;
}

/// A line for whoever watches: the seed that repeats a run, the figures of one.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
