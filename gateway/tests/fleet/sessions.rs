//! The subscriber and its broker are killed in turns: its table has each event once.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vestibule::simulate::Random;

use crate::broker::Node;
use crate::gateways::{self, Gateway};
use crate::load::Load;
use crate::process::until;
use crate::reader::Reader;
use crate::survival::{judge, settle};
use crate::{ALONE, figure, recipes, say};

/// Kills of the subscriber between those of the broker.
const TURNS: [u64; 3] = [3, 3, 2];
/// As dense as shows most: a kill shall fall between a commit and its acknowledgements.
const BURSTS: Duration = Duration::from_millis(50);
const WRITES_WITHIN: Duration = Duration::from_secs(20);
/// Most of the wait before a kill, in milliseconds.
const JITTER_MS: u32 = 150;
/// One gateway sends each event alone, the other packed batches.
const FORWARD: [&str; 2] = ["", "batch = { max_events = 20, max_age_ms = 200 }"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_is_killed_has_each_event_once() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let lines = 8 * figure("VESTIBULE_FLEET_EVENTS", 200);
    let mut broker = recipes::mosquitto(dir.path(), FORWARD.len(), None).await;
    let mut reader = Reader::start(dir.path(), vec![broker.mqtt], "5").await;
    write_down(&broker, &dir.path().join("mosquitto/mosquitto.db")).await;
    let start = |(n, forward)| Gateway::start(dir.path(), n, &[broker.mqtt], "5", forward);
    let mut fleet: Vec<Gateway> = FORWARD.into_iter().enumerate().map(start).collect();
    for gateway in &mut fleet {
        gateway.ready().await;
    }

    let mut random = Random::new(figure("VESTIBULE_FLEET_SEED", 7).try_into().unwrap());
    let mut wait = async || tokio::time::sleep(Duration::from_millis(random.below(JITTER_MS).into())).await;
    let (mut answered, mut books) = (Vec::new(), Vec::new());
    for (turn, kills) in TURNS.into_iter().enumerate() {
        // mosquitto forgets what it has not written down: here it is killed while nothing is under way in it, and comes back
        // to gateways that have gathered a backlog. The clusters of the other tests are killed without such mercy.
        if turn > 0 {
            broker.kill();
        }
        let before = reader.count();
        let load = Load::start(&fleet, turn, lines, BURSTS);
        if turn > 0 {
            wait().await;
            broker.restart().await;
        }
        let share = u64::try_from(FORWARD.len() * lines).unwrap() / (kills + 1);
        for kill in 1..=kills {
            reader.reaches(before + kill * share).await;
            wait().await;
            reader.kill();
            wait().await;
            reader.restart().await;
        }
        answered.extend(load.finish().await);
        books = settle(&mut fleet, &mut reader).await;
    }
    judge(&reader, &answered, &books, &fleet);
    // MQTT 5 says no where 3.1.1 drops without a word.
    let topic = format!("vestibule/v1/{}/atm-01/event/source/report", recipes::site(1));
    let complaint = recipes::branch(broker.mqtt, "5", 0).publish(&topic, &["-m", "forbidden"]);
    assert!(complaint.contains("Not authorized"), "a branch may speak for another: {complaint}");
    say(&format!(
        "mosquitto: {} events, {} of them came again, {} kills of the subscriber and {} of the broker",
        reader.count(),
        reader.figure("SELECT sum(times - 1) FROM events"),
        TURNS.iter().sum::<u64>(),
        TURNS.len() - 1,
    ));
    gateways::stop(fleet).await;
    reader.stop().await;
}

/// Has mosquitto write its sessions down, so that a killed one knows them again.
async fn write_down(broker: &Node, database: &std::path::Path) {
    kill(Pid::from_raw(broker.id()), Signal::SIGUSR1).unwrap();
    let there = async || std::fs::metadata(database).ok().filter(|file| file.len() > 0);
    until(WRITES_WITHIN, || format!("no database: {}", broker.tail()), there).await;
}
