//! Kill -9 at any moment loses nothing that was answered, and does nothing twice.
//!
//! The gateway runs as a process against a real mosquitto. Eight TCP connections send JSON lines, a ninth is a terminal
//! that is being jackpotted, an NDC terminal speaks over TCP and a journal printer over a serial pty. Meanwhile the
//! gateway is killed at 20 random moments and the broker at 5; both start again on the same data. In the end everything
//! that was answered has arrived, the sequence has no gaps, and every rule has answered each cause once.
//!
//! `VESTIBULE_KILL_EVENTS` (20000), `VESTIBULE_KILL_GATEWAY` (20), `VESTIBULE_KILL_BROKER` (5) and
//! `VESTIBULE_KILL_SEED` (the time) change the figures.

#![allow(clippy::unwrap_used, reason = "all of this is a test: what cannot be is a failure")]

mod broker;
mod chaos;
mod gateway;
mod load;
mod process;
mod subscriber;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;
use vestibule::simulate::journal::Printer;
use vestibule::simulate::{Pace, Retry, journal, ndc, script};

use broker::Broker;
use gateway::Gateway;
use load::Load;
use subscriber::Subscriber;

/// How long the whole of it may take without any progress before it has failed.
const STALLED: Duration = Duration::from_secs(60);

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
        Figures {
            events: figure("VESTIBULE_KILL_EVENTS", 20_000),
            gateway_kills: figure("VESTIBULE_KILL_GATEWAY", 20),
            broker_kills: figure("VESTIBULE_KILL_BROKER", 5),
            seed: figure("VESTIBULE_KILL_SEED", now),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_answered_arrives_once() {
    let figures = Figures::from_environment();
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path()).await;
    let subscriber = Subscriber::start(broker.port).await;
    broker.keep_sessions(&subscriber).await;

    let printer = Arc::new(Printer::open().unwrap());
    let mut gateway = Gateway::start(dir.path(), broker.port, printer.path()).await;
    let shutdown = CancellationToken::new();
    let load = Load::start(figures, &gateway.ports, &shutdown);
    let ndc = tokio::spawn(
        ndc::Terminal {
            address: gateway.ports.ndc,
            luno: "001000001".into(),
            script: script::LOBBY,
            seed: figures.seed,
            tempo: Pace::percent(400).into(),
            retry: Retry { first: Duration::from_millis(20), most: Duration::from_millis(200) },
        }
        .run(shutdown.clone()),
    );
    let journal = tokio::spawn(
        journal::Terminal {
            script: script::BACK_OFFICE,
            seed: figures.seed,
            time_zone: TimeZone::get("Europe/Berlin").unwrap(),
            baud: 9_600,
            pace: Pace::percent(400),
        }
        .run(Arc::clone(&printer), shutdown.clone()),
    );

    chaos::rage(figures, &load, &mut gateway, &mut broker, &printer).await;
    let answered = load.finish(&mut gateway).await;
    shutdown.cancel();
    let (ndc, journal) = (ndc.await.unwrap(), journal.await.unwrap());
    assert!(ndc.sent > 0 && journal.sent > 0, "the NDC terminal or the journal never spoke: {ndc:?} {journal:?}");

    let appended = verdict::settle(&mut gateway, &subscriber, &answered).await;
    let seen = subscriber.stop();
    verdict::judge(&seen, &answered, appended, &gateway);
    gateway.stop().await;
}
