//! Whatever a broker does, no event is lost, and none counts as forwarded that the broker had not read.
//!
//! The short form runs here. The long one: `HOSTILE_EVENTS=100000 HOSTILE_SEEDS=20 cargo nextest run --release -p
//! vestibule --test it hostile --no-capture`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::OptionalExtension as _;
use tokio::sync::Semaphore;
use vestibule::forward::{Config, Tls, Version};

use crate::certificates::Authority;
use crate::forwarding::{DEADLINE, Gateway, eventually, to};
use crate::hostile_broker::{self, Dice};

/// Runs at once.
const AT_ONCE: usize = 40;

pub(crate) fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What one run came to.
#[derive(Default)]
struct Sum {
    events: u64,
    published: usize,
    connections: usize,
    dead_letters: usize,
    strays: u64,
    cut: usize,
    withheld: usize,
    put_off: usize,
}

impl Sum {
    fn add(&mut self, one: &Sum) {
        self.events += one.events;
        self.published += one.published;
        self.connections += one.connections;
        self.dead_letters += one.dead_letters;
        self.strays += one.strays;
        self.cut += one.cut;
        self.withheld += one.withheld;
        self.put_off += one.put_off;
    }
}

/// The places that the store of this folder has as forwarded: dealt with, and neither a dead letter nor given up.
fn on_disk(dir: &Path) -> BTreeSet<u64> {
    let store = rusqlite::Connection::open(dir.join("events.db")).expect("opens");
    store.busy_timeout(Duration::from_secs(20)).expect("is set");
    // In one statement, which sees one moment.
    let select =
        "SELECT floor, ranges, (SELECT json_group_array(seq) FROM dead_letter) FROM progress WHERE consumer = 'mqtt'";
    let row = store
        .query_row(select, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)));
    let Some((floor, ranges, dead)) = row.optional().expect("reads") else { return BTreeSet::new() };
    let ranges: Vec<(u64, u64)> = serde_json::from_str(&ranges).expect("pairs");
    let dead: BTreeSet<u64> = serde_json::from_str(&dead).expect("numbers");
    let settled =
        (1..=u64::try_from(floor).expect("positive")).chain(ranges.into_iter().flat_map(|(from, to)| from..=to));
    settled.filter(|seq| !dead.contains(seq)).collect()
}

async fn run(seed: u64, version: Version, by_tls: bool, events: u64) -> Sum {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("temp dir");
    let ca = dir.path().join("ca");
    std::fs::write(&ca, &authority.pem).expect("writes");
    let acceptor = by_tls.then(|| authority.acceptor("127.0.0.1"));
    // About thirty lines for all of them.
    let span = events * 600 / 30;
    let (port, seen) = hostile_broker::start(seed, version == Version::V5, span, acceptor).await;
    let tls = by_tls.then(|| Tls { ca, ..Tls::default() });
    let config = Config { version, tls, ack_timeout_s: 1, window: 64, connect_timeout_s: 3, ..to(port) };

    let mut gateway = Gateway::new();
    let mut dice = Dice::new(seed ^ 0x5eed);
    let mut forwarder = gateway.forward(config.clone());
    let (mut appended, mut restart_at) = (0, events / 2 + dice.below(events / 4));
    let begun = Instant::now();
    loop {
        // What is counted first may be less than what the broker knows when it is asked.
        let [forwarded, pending, dead, discarded] = gateway.counts();
        let on_disk = on_disk(gateway.dir());
        {
            let known = seen.accepted.lock().expect("not poisoned");
            let marked = usize::try_from(forwarded).expect("positive");
            assert!(marked <= known.len(), "{marked} marked, {} read", known.len());
            let early: Vec<_> = on_disk.iter().filter(|seq| !known.contains(seq)).collect();
            assert!(early.is_empty(), "seed {seed}: marked, and not read: {early:?}");
        }
        if appended == events && pending == 0 && i64::try_from(events).expect("small") == forwarded + dead + discarded {
            assert_eq!(discarded, 0, "nothing is lost");
            break;
        }
        let few = dice.below(1 + events / 20).min(events - appended);
        if few > 0 {
            gateway.append("atm-1", usize::try_from(few).expect("small")).await;
            appended += few;
        }
        if appended >= restart_at {
            // The forwarder is dropped without a word, and the log closed in order: what was not saved is sent again, and no
            // more. Processes are killed in `tests/kill`, and the power is cut in `tests/power`.
            restart_at = u64::MAX;
            drop(forwarder);
            gateway.restart();
            forwarder = gateway.forward(config.clone());
        }
        assert!(begun.elapsed() < Duration::from_secs(900), "seed {seed}: {:?}", gateway.counts());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    forwarder.stop(DEADLINE).await;
    // They are written within a second.
    let dead = usize::try_from(gateway.counts()[2]).expect("positive");
    eventually(|| gateway.log.dead_letters(0, usize::MAX).expect("reads").len() == dead).await;
    let letters = gateway.log.dead_letters(0, usize::MAX).expect("reads");
    let (accepted, refused) = (seen.accepted.lock().expect("not poisoned"), seen.refused.lock().expect("not poisoned"));
    for seq in 1..=events {
        let dead = letters.binary_search_by_key(&seq, |letter| letter.seq).is_ok();
        assert!(if dead { refused.contains(&seq) } else { accepted.contains(&seq) }, "seed {seed}: {seq}, dead {dead}");
    }
    Sum {
        events,
        published: seen.published.load(Ordering::Relaxed),
        connections: seen.connections.load(Ordering::Relaxed),
        dead_letters: letters.len(),
        strays: gateway.metrics.forward_stray_acks.get(),
        cut: seen.cut.load(Ordering::Relaxed),
        withheld: seen.withheld.load(Ordering::Relaxed),
        put_off: seen.put_off.load(Ordering::Relaxed),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_broker_gets_everything_and_nothing_counts_before_it_was_read() {
    let (events, seeds) = (from_environment("HOSTILE_EVENTS", 2000), from_environment("HOSTILE_SEEDS", 2));
    let kinds = [(Version::V5, false), (Version::V311, false), (Version::V5, true), (Version::V311, true)];
    let begun = Instant::now();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let start = |seed, version, tls| {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move {
            let _turn = turns.acquire_owned().await.expect("never closed");
            run(seed, version, tls, events).await
        })
    };
    let runs = kinds.map(|(version, tls)| {
        let seeds: Vec<_> = (1..=seeds).map(|seed| start(seed, version, tls)).collect();
        (version, tls, seeds)
    });
    let mut all = Sum::default();
    for (version, tls, runs) in runs {
        let mut sum = Sum::default();
        for run in runs {
            sum.add(&run.await.expect("a run that holds"));
        }
        all.add(&sum);
        let _ = writeln!(
            std::io::stdout(),
            "MQTT {} {}: {} events, {} publishes read, {} connections, {} cut, {} acks withheld, {} put off, \
             {} dead letters, {} stray acks, by {:.1} s",
            version.name(),
            if tls { "by TLS" } else { "plain" },
            sum.events,
            sum.published,
            sum.connections,
            sum.cut,
            sum.withheld,
            sum.put_off,
            sum.dead_letters,
            sum.strays,
            begun.elapsed().as_secs_f64(),
        );
    } // A tame broker would prove nothing.
    let Sum { connections, strays, cut, withheld, put_off, dead_letters, .. } = all;
    let runs = kinds.len() * usize::try_from(seeds).expect("few");
    assert!(connections > runs * 3 && cut > runs * 2, "{connections} connections, {cut} cut");
    assert!(
        withheld > 0 && put_off > 0 && dead_letters > 0 && strays > 0,
        "{withheld} {put_off} {dead_letters} {strays}"
    );
}
