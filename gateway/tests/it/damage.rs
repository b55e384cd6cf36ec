//! What happens when a disk goes bad, to a gateway as a process: it starts, or it says exactly what to do; and what it had
//! acknowledged and not forwarded comes to the broker, as far as it can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;

use crate::mosquitto::{Mosquitto, free_port};
use crate::site::Site;
use crate::subscriber::Subscriber;

/// Lines that are acknowledged, and that no broker has.
pub(crate) const LINES: u64 = 1200;

/// A site whose gateway has acknowledged lines while nobody took them, and was killed. Its configuration names the port of a
/// broker that does not run yet.
async fn acknowledged(rest: &str) -> (Site, u16) {
    let port = free_port();
    let site = Site::new(Some(port), rest);
    let gateway = site.start();
    site.feed(1, LINES).await;
    gateway.kill();
    (site, port)
}

/// A broker at this port, and somebody who hears the events.
pub(crate) async fn broker(port: u16) -> (Mosquitto, Subscriber) {
    let broker = Mosquitto::at(port);
    let subscriber = Subscriber::to(port, "vestibule/v1/br001/+/event/#").await;
    (broker, subscriber)
}

/// Hears until all these events of `atm-01` were heard, and one of each kind of the gateway's own: by their numbers, each once or
/// more, always with the same id.
pub(crate) async fn hear(
    subscriber: &mut Subscriber,
    numbers: impl Iterator<Item = u64>,
    kinds: &[&str],
) -> BTreeMap<u64, Value> {
    let mut missing: BTreeSet<u64> = numbers.collect();
    let mut kinds: Vec<&str> = kinds.to_vec();
    let mut heard: BTreeMap<u64, Value> = BTreeMap::new();
    while !missing.is_empty() || !kinds.is_empty() {
        let json = subscriber.next().await.json;
        let detail = json["data"]["detail"].as_str().unwrap_or_default();
        if let Some(number) = detail.strip_prefix("number ").map(|number| number.parse().expect("a number")) {
            missing.remove(&number);
            let before = heard.insert(number, json.clone());
            assert!(before.is_none_or(|before| before["id"] == json["id"]), "{json}");
        }
        let kind = json["type"].as_str().unwrap_or_default().trim_start_matches("vestibule.").to_owned();
        kinds.retain(|wanted| *wanted != kind);
    }
    heard
}

/// The life in an id.
pub(crate) fn life(event: &Value) -> &str {
    event["id"].as_str().and_then(|id| id.rsplit_once('-')).expect("an id").0
}

/// Has everything written back into the file, as a stop does.
fn write_back(site: &Site) {
    // A verb that opens the store of a gateway that does not run closes it in order.
    site.good(&["outbox", "dead-letter", "replay", "--all"]);
    assert!(!site.data().join("events.db.open").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_costs_what_is_on_it_and_everything_else_is_forwarded_by_itself() {
    let (site, port) = acknowledged("").await;
    write_back(&site);
    let numbers = damage_a_page(&site.store());
    let (code, out, err) = site.verb(&["outbox", "verify"]);
    assert!(code == Some(65) && out.contains("malformed") && err.contains("vestibule outbox salvage"), "{out}{err}");
    let (_broker, mut subscriber) = broker(port).await;
    let gateway = site.start();
    let readable = (1..=LINES).filter(|number| !numbers.contains(number));
    let heard = hear(&mut subscriber, readable, &["gateway.store_replaced", "gateway.events_salvaged"]).await;
    let wreck = site.wrecks().pop().expect("was set aside");
    assert!(site.said().contains(&format!("vestibule outbox salvage {}", wreck.display())), "{}", site.said());
    let lives: BTreeSet<&str> = heard.values().map(life).collect();
    assert_eq!(lives.len(), 1, "{lives:?}");
    let news: Vec<&u64> =
        heard.iter().filter(|(_, event)| event["replayed"] != true).map(|(number, _)| number).collect();
    assert!(news.is_empty(), "what was salvaged is no news: {news:?}");
    // The sequence is the one that it had, and a terminal's new events count anew.
    site.feed(LINES + 1, 1).await;
    let new = hear(&mut subscriber, LINES + 1..=LINES + 1, &[]).await.remove(&(LINES + 1)).expect("heard");
    assert_eq!(new["replayed"], false);
    assert_eq!(new["terminalsequence"], "2", "its link's `comms.restored` is the first");
    assert_ne!(life(&new), *lives.first().expect("one"));
    // Again, by hand: nothing is new. What is lost is a number.
    let (code, _, err) = site.verb(&["outbox", "salvage", wreck.to_str().expect("is text")]);
    assert_eq!(code, Some(65), "{err}");
    assert!(
        err.contains("0 events are pending again") && err.contains(&format!("{} events cannot be read", numbers.len())),
        "{err}"
    );
    gateway.stop();
    assert!(site.good(&["outbox", "verify", "--full"]).contains("sound"));
}

/// Writes garbage over a page with events in the middle of a store; the numbers of those events.
fn damage_a_page(store: &Path) -> Vec<u64> {
    let file = File::options().read(true).write(true).open(store).expect("opens");
    let bytes = fs::read(store).expect("reads");
    let pages: Vec<usize> = (0..bytes.len() / 4096).filter(|page| bytes[page * 4096] == 0x0d).collect();
    let page = pages[pages.len() / 2];
    let numbers: Vec<u64> = numbers_on(&bytes[page * 4096..(page + 1) * 4096]).collect();
    assert!(!numbers.is_empty(), "page {page} has no events");
    let garbage: Vec<u8> = (0..4096_u32).map(|at| u8::try_from(at * 7919 % 251).expect("a byte")).collect();
    file.write_all_at(&garbage, u64::try_from(page * 4096).expect("small")).expect("writes");
    numbers
}

/// The numbers in the events whose rows stand whole on this page of a table (the cells of a leaf, as
/// <https://www.sqlite.org/fileformat2.html> has them: length, rowid, row).
fn numbers_on(page: &[u8]) -> impl Iterator<Item = u64> {
    let short = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    let varint = |mut at: usize| {
        let mut value = 0;
        loop {
            value = value << 7 | usize::from(page[at] & 0x7f);
            at += 1;
            if page[at - 1] < 0x80 {
                return (value, at);
            }
        }
    };
    let cells = if page[0] == 0x0d { short(3) } else { 0 };
    (0..cells).filter_map(move |cell| {
        let (length, at) = varint(short(8 + 2 * cell));
        let (_, at) = varint(at);
        let row = String::from_utf8_lossy(page.get(at..at + length)?);
        row.split_once("\"number ")?.1.split_once('"')?.0.parse().ok()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_store_gives_what_is_left_of_it() {
    // By hand, with nobody doing it at the start.
    let (site, port) = acknowledged("log.salvage = false").await;
    write_back(&site);
    let size = fs::metadata(site.store()).expect("is there").len();
    let file = File::options().write(true).open(site.store()).expect("opens");
    file.set_len(size * 3 / 4 + 100).expect("truncates");
    drop(file);
    let left = fs::read(site.store()).expect("reads");
    let readable: BTreeSet<u64> = left.chunks_exact(4096).flat_map(numbers_on).collect();
    assert!(readable.len() > 600 && readable.len() < usize::try_from(LINES).expect("small"), "{}", readable.len());
    let gateway = site.start();
    let wreck = site.wrecks().pop().expect("was set aside");
    let wreck = wreck.to_str().expect("is text");
    // What is there is seen first.
    let saved = site.file("saved.jsonl");
    let output = site.run(&["outbox", "salvage", wreck, "--to", saved.to_str().expect("is text")]);
    assert!([Some(0), Some(65)].contains(&output.status.code()), "{output:?}");
    let saved = fs::read_to_string(saved).expect("reads");
    let numbers: BTreeSet<u64> = saved
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("is JSON"))
        .filter_map(|event| event["detail"].as_str()?.strip_prefix("number ")?.parse().ok())
        .collect();
    assert_eq!(numbers, readable, "everything that stands whole in what is left, and nothing else");
    // Then a running gateway brings it in, and again brings in nothing.
    let (_broker, mut subscriber) = broker(port).await;
    for (round, pending) in [(1, ""), (2, "0 events are pending again")] {
        let (code, _, err) = site.verb(&["outbox", "salvage", wreck]);
        assert!([Some(0), Some(65)].contains(&code) && err.contains(pending), "round {round}: {err}");
    }
    hear(&mut subscriber, numbers.into_iter(), &["gateway.events_salvaged"]).await;
    let told = site.good(&["events", "--json", "--kind", "gateway.events_salvaged"]);
    assert!(told.lines().count() == 2 && told.lines().all(|event| event.contains("\"by\":\"loopback\"")), "{told}");
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_write_ahead_log_a_store_begins_a_new_life_and_no_id_is_given_twice() {
    let port = free_port();
    let site = Site::new(Some(port), "");
    let gateway = site.start();
    site.feed(1, 100).await;
    gateway.kill();
    write_back(&site);
    let gateway = site.start();
    site.feed(101, 50).await;
    gateway.kill();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(site.data().join(format!("events.db{suffix}"))).expect("is there");
    }
    // Whoever looks first hides nothing from the start.
    site.good(&["outbox", "status"]);
    assert!(!site.data().join("events.db-wal").exists(), "a verb that only reads has made a log");
    let (_broker, mut subscriber) = broker(port).await;
    let gateway = site.start();
    site.feed(201, 50).await;
    let heard = hear(&mut subscriber, (1..=100).chain(201..=250), &["gateway.store_rewound"]).await;
    assert_ne!(life(&heard[&100]), life(&heard[&250]), "the numbers of the lost ones are given again, in another life");
    assert!(site.said().contains("write-ahead log was gone"), "{}", site.said());
    assert!(site.wrecks().is_empty());
    gateway.stop();
    assert!(site.good(&["outbox", "verify"]).contains("sound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_write_ahead_log_costs_no_event_no_id_and_no_alarm() {
    let port = free_port();
    let site = Site::new(Some(port), "");
    let gateway = site.start();
    let mut source = crate::gateway::Source::connect(site.lines).await;
    source.say(b"{\"kind\":\"device.fault\",\"severity\":\"critical\",\"device\":\"card_reader\"}\n").await;
    assert!(source.answer().await.is_some_and(|answer| answer["seq"].is_u64()));
    drop(source);
    for number in 1..=50 {
        site.feed(number, 1).await;
    }
    gateway.kill();
    let wal = site.data().join("events.db-wal");
    let file = File::options().read(true).write(true).open(&wal).expect("opens");
    let middle = fs::metadata(&wal).expect("is there").len() / 4120 / 2 * 4120 + 32 + 2000;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("reads");
    file.write_all_at(&[byte[0] ^ 0x10], middle).expect("writes");
    let (code, out, _) = site.verb(&["outbox", "verify", "--full"]);
    assert!(code == Some(65) && out.contains("write-ahead log"), "{out}");
    let (_broker, mut subscriber) = broker(port).await;
    let gateway = site.start();
    site.feed(51, 60).await;
    let heard = hear(&mut subscriber, 1..=110, &["gateway.store_replaced", "gateway.events_salvaged"]).await;
    assert_ne!(life(&heard[&50]), life(&heard[&110]));
    assert_eq!(site.wrecks().len(), 1);
    // The fault is still open: and so it can end.
    let mut source = crate::gateway::Source::connect(site.lines).await;
    source.say(b"{\"kind\":\"device.recovered\",\"device\":\"card_reader\"}\n").await;
    assert!(source.answer().await.is_some_and(|answer| answer["seq"].is_u64()));
    let recovered = loop {
        let json = subscriber.next().await.json;
        if json["type"].as_str().is_some_and(|kind| kind.ends_with("device.recovered")) {
            break json;
        }
    };
    assert_eq!(recovered["data"]["state"], "cleared", "{recovered}");
    gateway.stop();
    assert!(site.good(&["outbox", "verify", "--full"]).contains("sound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_and_a_wrong_file_are_set_aside_with_what_belongs_to_them() {
    for content in
        [&b""[..], b"this is a letter to the branch, and no database at all; somebody copied it to the wrong place"]
    {
        let (site, port) = acknowledged("").await;
        // Everything is still in the write-ahead log, of which only a store's own file is gone.
        fs::write(site.store(), content).expect("writes");
        let (_broker, mut subscriber) = broker(port).await;
        let gateway = site.start();
        hear(&mut subscriber, 1..=LINES, if content.is_empty() { &["gateway.store_replaced"] } else { &[] }).await;
        gateway.stop();
        assert!(site.good(&["outbox", "verify"]).contains("sound"));

        if content.is_empty() {
            // Beside which nothing stands: what a power cut leaves of a first start.
            continue;
        }
        write_back(&site);
        fs::write(site.store(), content).expect("writes");
        let before = site.wrecks().len();
        let gateway = site.start();
        hear(&mut subscriber, std::iter::empty(), &["gateway.store_replaced", "gateway.events_salvaged"]).await;
        assert_eq!(site.wrecks().len(), before + 1);
        gateway.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_is_met_while_it_runs_ends_the_run_and_the_next_one_saves_the_rest() {
    // What memory holds need not be read: it holds next to nothing.
    let (site, port) = acknowledged("log.tail_events = 1").await;
    write_back(&site);
    for sort in ["a page", "a text"] {
        let mut gateway = site.start();
        let numbers = match sort {
            "a page" => damage_a_page(&site.store()),
            // SQLite notices nothing of this.
            _ => damage_a_text(&site.store()),
        };
        // It must not find the broker before somebody listens there.
        gateway.signal(nix::sys::signal::Signal::SIGSTOP);
        let (broker, mut subscriber) = broker(port).await;
        gateway.signal(nix::sys::signal::Signal::SIGCONT);
        assert_eq!(gateway.ended().code(), Some(74), "{sort}: {}", site.said());
        let said = site.said();
        let why = said.rfind("The event log is damaged: something in").unwrap_or_else(|| panic!("{sort}: {said}"));
        assert!(said[why..].contains("the next start checks all of it"), "{sort}: {said}");
        fs::write(site.file("said"), "").expect("is emptied");
        let before = site.wrecks().len();
        let gateway = site.start();
        assert_eq!(site.wrecks().len(), before + 1, "{sort}");
        let readable = (1..=LINES).filter(|number| !numbers.contains(number));
        hear(&mut subscriber, readable, &["gateway.events_salvaged"]).await;
        gateway.stop();
        drop((broker, subscriber));
        if sort == "a page" {
            // Anew, and not forwarded.
            fs::remove_dir_all(site.data()).expect("is there");
            let gateway = site.start();
            site.feed(1, LINES).await;
            gateway.kill();
            write_back(&site);
        }
    }
}

/// Takes the quote away in front of an event's kind; its number.
fn damage_a_text(store: &Path) -> Vec<u64> {
    let file = File::options().read(true).write(true).open(store).expect("opens");
    let bytes = fs::read(store).expect("reads");
    let needle = b"\"number 600\"";
    let at = bytes.windows(needle.len()).position(|window| window == needle).expect("is in the file");
    let kind = bytes[..at].windows(11).rposition(|window| window == b"\"supply.low").expect("before it");
    file.write_all_at(b"x", u64::try_from(kind).expect("small")).expect("writes");
    vec![600]
}
