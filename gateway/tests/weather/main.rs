//! The weather between gateway and broker, while terminals offer 1,000 events a second: a real mosquitto is restarted,
//! killed, stopped, cut off, and its machine rebooted. Each time the gateway goes on answering its terminals, at a third of
//! its pace before at least (how many a second a busy machine answers is printed), notices, catches up by itself, and takes
//! no more memory than before; in the end every event has arrived, in order, a known id at most again.
//!
//! Gateway and broker stand in network namespaces of their own with a cable between them, which is pulled; that takes
//! root. `VESTIBULE_WEATHER_SECONDS` (8) is how long each outage lasts: `VESTIBULE_WEATHER_SECONDS=60 cargo nextest run
//! --release -p vestibule --test weather --no-capture` for the long form.

#![allow(clippy::unwrap_used, reason = "all of this is a test: what cannot be is a failure")]

#[path = "../it/fake_broker.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest of it")]
mod fake_broker;
#[path = "../branch/process.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest of it")]
mod process;

mod broker;
mod gateway;
mod load;
mod network;
mod subscriber;

use std::io::Write as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use broker::Broker;
use gateway::Gateway;
use load::Load;
use network::Network;
use process::until;
use subscriber::Subscriber;

/// Lines answered before the outage: the log's tail in memory is full, and everything has been used once.
const WARM: usize = 6_000;
/// Lines answered after the gateway has caught up: nothing comes late.
const AFTER: usize = 2_000;
/// It has caught up when less than a second's events wait, while others come.
const CAUGHT_UP: u64 = 1_000;
/// How long what must happen may take; these machines are shared.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the watchdog may be later than it is set to: it looks once a second, and so do we.
const LATE: Duration = Duration::from_secs(4);
/// How long the gateway is watched doing nothing.
const REST: Duration = Duration::from_secs(3);
/// Most memory that an outage may cost, in KiB. The 60,000 events that wait in the long form come to more than that, as JSON
/// alone. The 8,000 of the short form do not: there this shows nothing but a leak, and that a backlog waits on the disk is
/// for `tests/backlog`.
const MORE_KIB: u64 = 8 * 1024;
/// An outage may slow down the answers to this part of what they were.
const SLOWER: f64 = 3.0;

/// How long an outage lasts, and what the gateway is set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    seconds: u64,
    ack_timeout_s: u64,
    connect_timeout_s: u64,
}

impl Figures {
    fn from_environment() -> Figures {
        let seconds = match std::env::var("VESTIBULE_WEATHER_SECONDS") {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("VESTIBULE_WEATHER_SECONDS={text} is no number")),
            Err(_) => 8,
        };
        // The defaults where the outage is long enough for them.
        let ack_timeout_s = (seconds / 4).clamp(1, 10);
        Figures { seconds, ack_timeout_s, connect_timeout_s: 2 * ack_timeout_s }
    }
}

/// What is done to a broker.
type Deed = fn(&mut Broker);

/// Runs through one outage, from `begin` to `end`.
fn endure(name: &str, figures: Figures, begin: Deed, end: Deed) {
    Network::new().inside(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(outage(name, figures, begin, end));
    });
}

async fn outage(name: &str, figures: Figures, begin: Deed, end: Deed) {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path()).await;
    let subscriber = Subscriber::start(&broker).await;
    broker.keep_sessions().await;
    let mut gateway = Gateway::start(dir.path(), figures).await;
    let (load, started) = (Load::start(&gateway.lines), Instant::now());
    load.reaches(WARM, &mut gateway).await;
    let pace_before = per_second(WARM, started.elapsed());
    let before = gateway.forget_peak();

    load.forget_slowest();
    let answered = load.answered();
    let begun = Instant::now();
    let period = Duration::from_secs(figures.seconds);
    begin(&mut broker);
    let bound = Duration::from_secs(figures.ack_timeout_s);
    let mut noticed = None;
    if period > bound {
        let missing = || format!("{name}: the gateway does not notice");
        until(bound + LATE, missing, async || (gateway.metric("forward_connected").await == 0).then_some(())).await;
        noticed = Some(begun.elapsed());
    }
    tokio::time::sleep(period.saturating_sub(begun.elapsed())).await;
    if noticed.is_some() {
        assert_eq!(gateway.metric("forward_connected").await, 0, "{name}: there is nobody to be connected to");
    }
    let waiting = gateway.metric("forward_pending_events").await;
    let meanwhile = load.answered() - answered;
    let pace = per_second(meanwhile, begun.elapsed());
    end(&mut broker);

    let over = Instant::now();
    let missing = || format!("{name}: it does not catch up: {}", gateway.tail());
    until(PATIENCE, missing, async || {
        let settled = gateway.metric("forward_pending_events").await < CAUGHT_UP;
        (settled && gateway.metric("forward_connected").await == 1).then_some(())
    })
    .await;
    let caught_up = over.elapsed();
    let slowest = load.slowest();
    let answered = load.answered();
    load.reaches(answered + AFTER, &mut gateway).await;
    let answers = load.finish(&mut gateway).await;

    let missing = || format!("{name}: {}; {}", subscriber.summary(), gateway.tail());
    until(PATIENCE, missing, async || {
        let (appended, pending) =
            (gateway.metric("log_appended_events").await, gateway.metric("forward_pending_events").await);
        (pending == 0 && subscriber.count() == appended).then_some(())
    })
    .await;
    assert!(gateway.metric(r#"forward_connections_total{outcome="connected"}"#).await > 1, "{name}: it never left");
    let most = gateway.peak();
    let line = format!(
        "{name} for {} s: noticed after {}, {waiting} waited, caught up {:.1} s after its end; {pace:.0} answers \
         a second meanwhile, {pace_before:.0} before, the slowest {} ms; {} lines, {}; VmRSS {:.1} MiB before, {:.1} MiB at most\n",
        figures.seconds,
        noticed.map_or("-".to_owned(), |after| format!("{:.1} s", after.as_secs_f64())),
        caught_up.as_secs_f64(),
        slowest.as_millis(),
        answers.len(),
        subscriber.summary(),
        mebibytes(before),
        mebibytes(most),
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    subscriber.judge(&answers);
    assert!(most <= before + MORE_KIB, "{name}: {most} KiB, {before} KiB before");
    // Whoever waited for the broker would answer nothing meanwhile.
    assert!(
        noticed.is_none() || pace >= pace_before / SLOWER,
        "{name}: {pace:.0} answers a second, {pace_before:.0} before"
    );
}

fn per_second(count: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / time.as_secs_f64()
}

fn mebibytes(kibibytes: u64) -> f64 {
    f64::from(u32::try_from(kibibytes).unwrap()) / 1024.0
}

#[test]
fn a_broker_that_is_restarted() {
    endure("restarted", Figures::from_environment(), |broker| broker.end(Signal::SIGTERM), Broker::again);
}

#[test]
fn a_broker_that_is_killed() {
    endure("killed", Figures::from_environment(), |broker| broker.end(Signal::SIGKILL), Broker::again);
}

#[test]
fn a_broker_that_stands_still() {
    let figures = Figures::from_environment();
    endure("stopped", figures, |broker| broker.signal(Signal::SIGSTOP), |broker| broker.signal(Signal::SIGCONT));
}

#[test]
fn a_broker_that_is_cut_off() {
    endure("cut off", Figures::from_environment(), Broker::pull_cable, Broker::plug_cable);
}

/// The machine comes back before the watchdog has missed it, and knows nothing of the connection.
#[test]
fn a_broker_whose_machine_reboots() {
    let figures = Figures { seconds: 1, ..Figures::from_environment() };
    let down = |broker: &mut Broker| {
        broker.pull_cable();
        broker.end(Signal::SIGKILL);
    };
    let up = |broker: &mut Broker| {
        broker.again();
        broker.plug_cable();
    };
    endure("rebooted", figures, down, up);
}

/// Nobody is there at all: attempts are rare, and nothing goes round in a circle.
#[test]
fn a_gateway_without_a_broker_rests() {
    Network::new().inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let gateway = Gateway::start_alone(dir.path(), Figures::from_environment()).await;
            let missing = || "the rules are not in force".to_owned();
            until(PATIENCE, missing, async || (gateway.rules().await == 2).then_some(())).await;
            let before = gateway.processor_ms();
            tokio::time::sleep(REST).await;
            let took = gateway.processor_ms() - before;
            assert_eq!(gateway.metric("forward_connected").await, 0);
            // A tenth of one core, on any machine; what goes round in a circle takes all of it.
            assert!(took < REST.as_millis() / 10, "{took} ms in {REST:?}");
        });
    });
}
