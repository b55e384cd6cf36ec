//! Whatever a broker does, each command is one, none is acknowledged before it is kept, and its end is told.
//!
//! The short form runs here. The long one: `HOSTILE_COMMANDS=2000 HOSTILE_SEEDS=20 cargo nextest run --release -p
//! vestibule --test it hostile_sessions --no-capture`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::{Duration, Instant};

use vestibule::command::Source;
use vestibule::event::Kind;
use vestibule::log::Log;

use crate::certificates::Authority;
use crate::command_broker::{CommandBroker, Manners, Message};
use crate::gateway::Running;
use crate::hostile::from_environment;
use crate::process::Process;

const FRONT: &str = "vestibule/v1/branch/";
/// A terminal whose power nobody can switch: `restart` ends at once, as a command that was refused.
const TERMINAL: &str = "[[terminal]]\nname = \"atm-01\"\nprofile = \"ncr-selfserv-ndc\"\n";

fn message(id: &str, payload: impl Into<Vec<u8>>) -> Message {
    Message { topic: format!("{FRONT}atm-01/command/{id}"), payload: payload.into(), retained: false }
}

/// Commands, some of them twice; between them what is none.
fn messages(count: u64) -> Vec<Message> {
    let one = |n: u64| match n % 10 {
        1 => message(&format!("bad-{n}"), "{\"verb\": \"rest"),
        3 => message(&format!("bad-{n}"), vec![0xff, 0, 0x80]),
        5 => Message { retained: true, ..message(&format!("bad-{n}"), "{\"verb\":\"restart\"}") },
        7 => Message { topic: format!("{FRONT}atm-01/event/supply/low"), ..message("", "of an older subscription") },
        // The same again.
        9 => message(&format!("c-{}", n - 1), "{\"verb\":\"restart\"}"),
        _ => message(&format!("c-{n}"), "{\"verb\":\"restart\"}"),
    };
    (0..count).map(one).collect()
}

/// The ids of commands and of what is none.
fn ids(messages: &[Message]) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let ids = messages.iter().filter_map(|message| message.topic.split_once("/command/")).map(|(_, id)| id);
    ids.partition(|id| id.starts_with("c-"))
}

/// What is wrong with an acknowledgement of this message, as the log stands now.
fn judge(
    is_kept: impl Fn(&str) -> bool + Send + Sync,
) -> impl Fn(&Message, &crate::command_broker::Books) -> Option<String> {
    move |message, books| {
        let (_, id) = message.topic.split_once("/command/")?;
        let kept = is_kept(id);
        let told = books.told.contains_key(&format!("{}/result", message.topic));
        match id.starts_with("c-") {
            true if !kept => Some("it is not kept".to_owned()),
            false if kept || !told => Some(format!("kept {kept}, told {told}")),
            _ => None,
        }
    }
}

/// How often each command was taken.
fn taken(log: &Log) -> BTreeMap<String, usize> {
    let mut taken = BTreeMap::new();
    for stored in log.read_after(0, 100_000).expect("reads") {
        if stored.event.kind == Kind::CommandRequested {
            let id = stored.event.attributes["command_id"].as_str().expect("an id").to_owned();
            *taken.entry(id).or_default() += 1;
        }
    }
    taken
}

fn settings(port: u16, five: bool, more: &str) -> String {
    let version = if five { "5" } else { "3.1.1" };
    format!(
        "commands.mqtt = true\ncommands.mqtt_trust = \"broker\"\nforward.port = {port}\nforward.version = \"{version}\"\n\
         forward.ack_timeout_s = 1\nforward.connect_timeout_s = 3\n{more}{TERMINAL}"
    )
}

async fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What one run came to: messages, deliveries, connections, sessions that were forgotten.
async fn run(seed: u64, five: bool, by_tls: bool, count: u64) -> [usize; 4] {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("temp dir");
    let ca = dir.path().join("ca");
    std::fs::write(&ca, &authority.pem).expect("writes");
    let tls = by_tls.then(|| authority.acceptor("127.0.0.1"));
    let messages = messages(count);
    // About a dozen lines for all of them.
    let manners = Manners { five, span: Some(count * 60), tls };
    let broker = CommandBroker::start(seed, manners, messages.clone()).await;
    let more = if by_tls { format!("forward.tls.ca = {ca:?}\n") } else { String::new() };
    let settings = settings(broker.port, five, &more);

    let gateway = Running::start(&settings).await;
    let log = gateway.log.clone();
    broker.judge(judge(move |id| log.command(Source::Mqtt, id).expect("reads").is_some()));
    let half = messages.len() / 2;
    wait("half of them", || broker.books().acknowledged() >= half).await;
    broker.judge(|_, _| None);
    let gateway = Running::start_in(gateway.stop_and_keep().await, &settings).await;
    let log = gateway.log.clone();
    broker.judge(judge(move |id| log.command(Source::Mqtt, id).expect("reads").is_some()));
    let (commands, others) = ids(&messages);
    let results = commands.len() + others.len();
    wait("all of them", || broker.books().is_done() && broker.books().told.len() == results).await;

    let taken = taken(&gateway.log);
    gateway.stop().await;
    let books = broker.books();
    assert_eq!(books.wrong, [] as [String; 0], "seed {seed}");
    assert_eq!(taken.keys().map(String::as_str).collect::<BTreeSet<_>>(), commands, "seed {seed}");
    assert!(taken.values().all(|times| *times == 1), "seed {seed}: {taken:?}");
    for (topic, told) in &books.told {
        let code = if topic.contains("/c-") { "unsupported" } else { "bad_request" };
        assert!(told.iter().all(|told| told["code"] == code), "seed {seed}: {topic} {told:?}");
    }
    [messages.len(), books.delivered, books.connections, books.forgotten]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_broker_makes_each_command_once_and_hears_of_its_end() {
    let (count, seeds) = (from_environment("HOSTILE_COMMANDS", 120), from_environment("HOSTILE_SEEDS", 2));
    let kinds = [(true, false), (false, false), (true, true), (false, true)];
    let kinds = kinds.iter().flat_map(|kind| (1..=seeds).map(move |seed| (seed, *kind)));
    let runs: Vec<_> =
        kinds.map(|(seed, (five, tls))| (seed, five, tls, tokio::spawn(run(seed, five, tls, count)))).collect();
    for (seed, five, tls, run) in runs {
        let [messages, delivered, connections, forgotten] = run.await.expect("a run that holds");
        let _ = writeln!(
            std::io::stdout(),
            "MQTT {} {}, seed {seed}: {messages} messages, {delivered} deliveries, {connections} connections, \
             {forgotten} sessions forgotten",
            if five { "5" } else { "3.1.1" },
            if tls { "by TLS" } else { "plain" },
        );
    }
}

/// Killed between the delivery and the acknowledgement: the broker brings the command again, and it is one. A message that
/// is far too large is among them.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_acknowledgement_it_comes_again_and_is_one() {
    for five in [true, false] {
        let mut messages = messages(300);
        if !five {
            // MQTT 5 says how large is too large, and the broker keeps it.
            messages.push(message("bad-large", vec![b'x'; 300_000]));
        }
        let broker = CommandBroker::start(1, Manners { five, span: None, tls: None }, messages.clone()).await;
        let dir = tempfile::tempdir().expect("a folder");
        let settings = settings(broker.port, five, "");
        let file = dir.path().join("events.db");
        broker.judge(judge(move |id| {
            let store = rusqlite::Connection::open(&file).expect("opens");
            let count = "SELECT count(*) FROM command WHERE source = 'mqtt' AND id = ?1";
            store.query_row(count, [id], |row| row.get::<_, i64>(0)).expect("reads") == 1
        }));
        let mut kills = 0;
        while !broker.books().is_done() {
            let before = broker.books().delivered;
            let gateway = Process::spawn(dir.path(), dir.path(), &format!("rules.bundled = []\n{settings}"), &[]);
            wait("a delivery", || broker.books().delivered > before || broker.books().is_done()).await;
            if kills < 10 {
                tokio::time::sleep(Duration::from_millis(kills)).await;
                kills += 1;
                drop(gateway);
                continue;
            }
            wait("the rest", || broker.books().is_done()).await;
        }
        assert!(kills >= 5, "they were through after {kills}");
        assert_eq!(broker.books().wrong, [] as [String; 0]);
        let gateway = Running::start_in(dir, &settings).await;
        let (commands, others) = ids(&messages);
        wait("all results", || broker.books().told.len() == commands.len() + others.len()).await;
        let taken = taken(&gateway.log);
        assert_eq!(taken.keys().map(String::as_str).collect::<BTreeSet<_>>(), commands);
        assert!(taken.values().all(|times| *times == 1), "{taken:?}");
        assert!(broker.books().delivered > messages.len(), "something came again");
        gateway.stop().await;
    }
}
