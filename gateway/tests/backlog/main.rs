//! A backlog, in short: it drains about as fast as the same messages go straight to the same broker, in memory that is bounded,
//! and a start with one reads little of it.
//!
//! The long form, and the promises' own figures, is `cargo bench -p vestibule --bench backlog -- --events 1000000`, of which
//! this uses the rig. Here the program need not be optimised and others use the machine, so the floor is low: it is there
//! for what makes an event cost a sync, or more the more wait.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is a test: what cannot be is a failure")]

#[path = "../../benches/rig/mod.rs"]
#[allow(dead_code, reason = "shared with the benchmarks, which use the rest of it")]
mod rig;

use rig::backlog::{RULES, Rates, TERMINALS, drain, fill};
use rig::broker::Broker;
use rig::gateway::Plan;
use rig::process::free_port;
use rig::subscriber::Subscriber;

/// Events of the backlog that is drained, and the parts in which it is.
const EVENTS: usize = 30_000;
const PARTS: usize = 5;
/// The best part's rate against publishing straight, at least: the promise is 0.7 for the middle part of an optimised build.
const FLOOR: f64 = 0.35;
/// Most memory while it drains, in KiB: 64 MB, as promised; or, where a program that is not optimised has more than the 32 MB at
/// rest, as much above that as was promised.
const MOST_KIB: usize = 64 * 1024;
const ABOVE_REST_KIB: usize = 32 * 1024;

/// A backlog of 40 MB, of which a start may hold so much, in KiB, that one without a backlog does not.
const LARGE: usize = 8_000;
const LARGE_EVENTS: usize = 5_000;
const MORE_KIB: usize = 8 * 1024;

#[test]
fn a_backlog_drains_in_bounded_memory_and_time() {
    rig::pin();
    rig::runtime().block_on(async {
        let dir = rig::folder();
        let address = free_port();
        let gateway = Plan::new(dir.path(), TERMINALS, RULES, address.port()).start().await;
        let rest = gateway.resident_kib();
        let pending = fill(&gateway, EVENTS, 0).await;
        assert!(pending >= EVENTS / TERMINALS * TERMINALS, "{pending} wait");
        let broker = Broker::start_at(dir.path(), address).await;
        let subscriber = Subscriber::start(broker.port).await;
        let show = |part, rates: &Rates| println!("part {part}: {:.2} of {rates:.0?}", rates.ratio());
        let drained = drain(&gateway, &broker, &subscriber, pending, PARTS, show).await;
        let best = drained.parts.iter().map(Rates::ratio).fold(0.0, f64::max);
        println!("{pending} events: {best:.2} at best, {} KiB at most, {rest} KiB at rest", drained.most_kib);
        assert!(best >= FLOOR, "{best:.2} of the rate of publishing straight, at best");
        let most = MOST_KIB.max(rest + ABOVE_REST_KIB);
        assert!(drained.most_kib <= most, "{} KiB while it drains, {rest} KiB at rest", drained.most_kib);
    });
}

#[test]
fn a_start_reads_little_of_a_backlog() {
    rig::pin();
    rig::runtime().block_on(async {
        let dir = rig::folder();
        let plan = Plan::new(dir.path(), TERMINALS, RULES, free_port().port());
        let gateway = plan.start().await;
        let without = gateway.peak_kib();
        let pending = fill(&gateway, LARGE_EVENTS, LARGE).await;
        assert!(pending >= LARGE_EVENTS / TERMINALS * TERMINALS, "{pending} wait");
        drop(gateway);
        let gateway = plan.start().await;
        let known = gateway.metric("vestibule_forward_pending_events").await;
        assert!(known >= pending, "it knows of {known} of {pending}");
        let with = gateway.peak_kib();
        println!("a start with {} MB waiting: {with} KiB at most, {without} without", pending * LARGE / 1_000_000);
        assert!(with <= without + MORE_KIB, "{with} KiB, {without} without a backlog");
    });
}
