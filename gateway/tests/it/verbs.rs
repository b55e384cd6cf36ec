//! The outbox's verbs, `events`, `backup` and `restore`, as a person calls them: beside a running gateway and without one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::DEADLINE;
use crate::mosquitto::{Mosquitto, free_port};
use crate::site::Site;
use crate::subscriber::Subscriber;

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("is JSON: {line}"))).collect()
}

/// Numbers in the details of `atm-01`'s events.
fn numbers<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<u64> {
    let number = |event: &Value| event["detail"].as_str()?.strip_prefix("number ")?.parse().ok();
    events.into_iter().filter_map(number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_is_seen_checked_and_written_out_while_the_gateway_runs_and_after() {
    let site = Site::new(Some(free_port()), "");
    let mut gateway = Some(site.start());
    site.feed(1, 50).await;
    for running in [true, false] {
        if !running && let Some(gateway) = gateway.take() {
            // As it is after a kill: the write-ahead log is still there.
            gateway.kill();
        }
        let status: Value = serde_json::from_str(&site.good(&["outbox", "status", "--json"])).expect("is JSON");
        // `gateway.started`, `comms.restored` and the fifty; then that the link went.
        let appended = status["appended"].as_u64().expect("a number");
        assert!((52..=53).contains(&appended), "{status}");
        assert_eq!((status["pending"].as_u64(), &status["forwarded"]), (Some(appended), &0.into()), "{status}");
        assert_eq!((&status["oldest_pending"]["seq"], &status["floor"]), (&1.into(), &0.into()), "{status}");
        assert!(status["oldest_pending"]["age_s"].is_i64() && status["store_bytes"].as_u64() > Some(0), "{status}");
        assert!(
            site.good(&["outbox", "status"])
                .contains(&format!("appended {appended} = forwarded 0 + pending {appended}"))
        );

        let listed = json(&site.good(&["outbox", "ls", "--json", "--kind", "supply.*", "--limit", "7"]));
        assert_eq!(listed.len(), 7);
        assert!(
            listed.iter().all(|event| event["terminal"] == "atm-01" && event["kind"] == "supply.low"),
            "{listed:?}"
        );
        assert_eq!(
            site.good(&["outbox", "ls", "--limit", "0"]).lines().count(),
            usize::try_from(appended).expect("small")
        );
        assert!(site.good(&["outbox", "ls", "--severity", "critical", "--kind", "supply.*"]).is_empty());

        assert!(site.good(&["outbox", "verify", "--full"]).contains("sound"));
        let exported = json(&site.good(&["outbox", "export", "--pending", "--kind", "supply.low"]));
        assert_eq!(numbers(&exported), (1..=50).collect::<Vec<_>>());
        let some = json(&site.good(&["outbox", "export", "--first", "5", "--last", "9"]));
        assert_eq!(
            some.iter().map(|event| event["seq"].as_u64().expect("a place")).collect::<Vec<_>>(),
            [5, 6, 7, 8, 9]
        );
    }
    let file = site.file("batch.json");
    let to = file.to_str().expect("is text");
    site.good(&["outbox", "export", "--format", "cloudevents", "--kind", "supply.low", "--to", to]);
    let batch: Vec<Value> = serde_json::from_str(&fs::read_to_string(&file).expect("reads")).expect("an array");
    assert_eq!(numbers(batch.iter().map(|event| &event["data"])), (1..=50).collect::<Vec<_>>());
    assert!(batch.iter().all(|event| event["id"] == event["data"]["id"] && event["specversion"] == "1.0"));
    assert_eq!(site.verb(&["outbox", "export", "--to", to]).0, Some(73), "it is there already");
    let empty = site.good(&["outbox", "export", "--format", "cloudevents", "--kind", "card.taken"]);
    assert_eq!(empty, "[]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_sound_is_said_to_be_so() {
    let site = Site::new(None, "");
    let gateway = site.start();
    site.feed(1, 30).await;
    gateway.stop();
    let store = rusqlite::Connection::open(site.store()).expect("opens");
    for (change, fault) in [
        (
            "UPDATE event SET json = replace(json, '\"supply.low\"', '\"supply low\"') WHERE seq = 9",
            "event 9 cannot be read",
        ),
        ("UPDATE event SET json = replace(json, '\"seq\":7,', '\"seq\":8,') WHERE seq = 7", "event 7 does not begin"),
        ("UPDATE event SET terminal_seq = terminal_seq + 1 WHERE seq = 12", "event 12 says that it is"),
        ("DELETE FROM event WHERE seq = 20", "places 20 to 20 are missing"),
        ("INSERT OR REPLACE INTO progress VALUES ('mqtt', 5, '[[9,99]]', 3, 0, 0)", "the forwarder stands at 99"),
        ("INSERT INTO plugin VALUES ('p', 77)", "rule p stands at 77"),
        ("INSERT INTO dead_letter VALUES (88, 'x', 'y')", "1 dead letters are of no event"),
    ] {
        store.execute_batch("BEGIN").expect("begins");
        store.execute(change, []).expect("changes");
        store.execute_batch("COMMIT").expect("commits");
        let (code, out, err) = site.verb(&["outbox", "verify"]);
        assert_eq!(code, Some(65), "{change}: {out}{err}");
        assert!(out.contains(fault) && out.contains("not sound"), "{change}: {out}");
        assert!(err.contains("vestibule outbox salvage"), "{err}");
    }
    let faults: Value = serde_json::from_str(&site.verb(&["outbox", "verify", "--json"]).1).expect("is JSON");
    assert!(faults["faults"].as_array().is_some_and(|faults| faults.len() >= 7), "{faults}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_and_sent_again_with_and_without_a_gateway() {
    let broker = Mosquitto::start();
    let site = Site::new(Some(broker.port()), "");
    // Every event is too large for the packets that are allowed.
    let allowed = fs::read_to_string(site.config()).expect("reads");
    let small = allowed.replace("[forward]", "[forward]\nmax_packet_bytes = 1024");
    fs::write(site.config(), &small).expect("writes");
    let gateway = site.start();
    let mut source = crate::gateway::Source::connect(site.lines).await;
    let detail = "x".repeat(1500);
    for number in 0..3 {
        source
            .say(format!("{{\"id\":\"{number}\",\"kind\":\"supply.low\",\"detail\":\"{detail}\"}}\n").as_bytes())
            .await;
        source.answer().await.expect("an answer");
    }
    let letters = |count: usize| {
        let begun = Instant::now();
        loop {
            let letters = json(&site.good(&["outbox", "dead-letter", "ls", "--json"]));
            if letters.len() == count {
                return letters;
            }
            assert!(begun.elapsed() < DEADLINE, "{count} of {letters:?}");
        }
    };
    let set_aside = letters(3);
    assert!(
        set_aside.iter().all(|letter| letter["terminal"] == "atm-01"
            && letter["reason"].as_str().is_some_and(|why| why.contains("bytes")))
    );
    assert_eq!(site.good(&["outbox", "dead-letter", "ls"]).lines().count(), 3);
    // Too large still: the running gateway sets them aside again.
    let first = set_aside[0]["seq"].to_string();
    assert!(site.good(&["outbox", "dead-letter", "replay", &first]).contains("1 events are pending again"));
    letters(3);
    gateway.stop();
    assert_eq!(site.verb(&["outbox", "dead-letter", "replay"]).0, Some(64), "all, or which");
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/br001/+/event/#").await;
    assert!(site.good(&["outbox", "dead-letter", "replay", "--all"]).contains("3 events are pending again"));
    // Who asked stands in the log: the gateway's caller, and whoever may write its store.
    let told = json(&site.good(&["events", "--json", "--kind", "gateway.dead_letters_replayed"]));
    let by = |event: &Value| event["attributes"]["by"].as_str().unwrap_or_default().to_owned();
    let counts: Vec<_> = told.iter().map(|event| event["attributes"]["events"].as_u64()).collect();
    assert_eq!(counts, [Some(1), Some(3)], "{told:?}");
    assert!(by(&told[0]) == "loopback" && by(&told[1]).starts_with("command line, user "), "{told:?}");
    fs::write(site.config(), &allowed).expect("writes");
    let gateway = site.start();
    let mut heard = BTreeSet::new();
    while heard.len() < 3 {
        let json = subscriber.next().await.json;
        if json["data"]["detail"] == detail.as_str() {
            heard.insert(json["id"].to_string());
        }
    }
    letters(0);
    gateway.stop();
}

/// A verb that goes on, and what it prints.
struct Follower {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Follower {
    fn start(site: &Site, arguments: &[&str]) -> Follower {
        let mut child = spawn(site, arguments);
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Follower { child, lines }
    }

    /// Numbers of the events until this one.
    fn until(&self, number: u64) -> Vec<u64> {
        let mut heard = Vec::new();
        while heard.last() != Some(&number) {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{number} after {heard:?}"));
            heard.extend(numbers(&json(&line)));
        }
        heard
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(site: &Site, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.arg("events").args(arguments).current_dir(site.file("."));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_through_kills_pruning_and_a_store_that_is_replaced() {
    let site = Site::new(None, "");
    let gateway = site.start();
    site.feed(1, 20).await;
    let http = site.http.to_string();
    let config = site.config().display().to_string();
    let ways = [vec!["--http", http.as_str()], vec!["--config", config.as_str()]];
    let shown: Vec<Follower> = ways
        .iter()
        .map(|way| {
            Follower::start(
                &site,
                &[way.as_slice(), &["--follow", "--json", "--after", "0", "--kind", "supply.*"]].concat(),
            )
        })
        .collect();
    for follower in &shown {
        assert_eq!(follower.until(20), (1..=20).collect::<Vec<_>>());
    }
    gateway.kill();
    let gateway = site.start();
    site.feed(21, 20).await;
    for follower in &shown {
        assert_eq!(follower.until(40), (21..=40).collect::<Vec<_>>());
    }
    // Old events go; whoever is behind them does not care.
    let store = rusqlite::Connection::open(site.store()).expect("opens");
    store.busy_timeout(Duration::from_secs(5)).expect("is set");
    store.execute("DELETE FROM event WHERE seq < 30", []).expect("prunes");
    drop(store);
    site.feed(41, 5).await;
    for follower in &shown {
        assert_eq!(follower.until(45), (41..=45).collect::<Vec<_>>());
    }
    // Another store in its place, whose places are the same again.
    gateway.stop();
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(site.data().join(format!("events.db{suffix}")));
    }
    fs::write(site.store(), b"no store").expect("writes");
    let gateway = site.start();
    site.feed(46, 10).await;
    for follower in &shown {
        assert_eq!(follower.until(55), (46..=55).collect::<Vec<_>>());
    }
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_shown_to_people_and_end_where_nobody_reads() {
    let site = Site::new(None, "");
    let gateway = site.start();
    site.feed(1, 30).await;
    let http = site.http.to_string();
    let config = site.config().display().to_string();
    for way in [["--http", http.as_str()], ["--config", config.as_str()]] {
        let run = |arguments: &[&str]| {
            let output = spawn(&site, &[&way, arguments].concat()).wait_with_output().expect("ends");
            assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{output:?}");
            String::from_utf8(output.stdout).expect("is text")
        };
        let newest = run(&["--limit", "3", "--kind", "supply.low"]);
        let lines: Vec<&str> = newest.lines().collect();
        assert_eq!(lines.len(), 3, "{newest}");
        assert!(
            lines[2].contains("atm-01") && lines[2].contains("warning  supply.low") && lines[2].ends_with("number 30"),
            "{newest}"
        );
        assert_eq!(
            numbers(&json(&run(&["--since", "1h", "--json", "--kind", "supply.*"]))),
            (1..=30).collect::<Vec<_>>()
        );
        assert_eq!(numbers(&json(&run(&["--after", "0", "--limit", "2", "--json", "--kind", "supply.*"]))), [1, 2]);
        assert!(run(&["--terminal", "atm-02"]).is_empty());
        assert!(run(&["--severity", "critical", "--kind", "supply.*"]).is_empty());

        // The reader goes, and nothing comes that would tell it.
        let mut child = spawn(&site, &[&way[..], &["--follow", "--limit", "1", "--kind", "supply.*"]].concat());
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        BufRead::read_line(&mut out, &mut line).expect("reads");
        assert!(line.contains("number 30"), "{line}");
        drop::<BufReader<ChildStdout>>(out);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("can be asked") {
                break status;
            }
            assert!(begun.elapsed() < DEADLINE, "it goes on for nobody");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0));
    }
    let output = spawn(&site, &["--kind", "suply.*"]).wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    gateway.stop();
    let output = spawn(&site, &["--http", &http]).wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(69), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_gateway_is_restored_as_a_new_life_and_nothing_is_lost_silently() {
    let port = free_port();
    let site = Site::new(Some(port), "");
    let gateway = site.start();
    site.feed(1, 100).await;
    let to = site.file("backup");
    let to = to.to_str().expect("is text");
    let said = site.good(&["backup", to]);
    assert!(said.contains("events up to"), "{said}");
    assert_eq!(site.verb(&["backup", to]).0, Some(73), "it overwrites nothing");
    assert_eq!(site.verb(&["restore", to]).0, Some(69), "the gateway runs");
    // Forwarded after the backup was made: the copy does not know it.
    // It must not find the broker before somebody listens there.
    gateway.signal(nix::sys::signal::Signal::SIGSTOP);
    let broker = Mosquitto::at(port);
    let mut subscriber = Subscriber::to(port, "vestibule/v1/br001/+/event/#").await;
    gateway.signal(nix::sys::signal::Signal::SIGCONT);
    site.feed(101, 50).await;
    let mut before = std::collections::BTreeMap::new();
    while before.len() < 150 {
        let json = subscriber.next().await.json;
        if let [number] = numbers([&json["data"]])[..] {
            before.insert(number, json["id"].to_string());
        }
    }
    drop(broker);
    gateway.kill();

    assert_eq!(site.verb(&["restore", to]).0, Some(73), "there is a store");
    let manifest = site.file("backup/manifest.json");
    let text = fs::read_to_string(&manifest).expect("reads");
    assert!(text.contains("vestibule.toml") && text.contains("\"gateway\": \"gw-1\""), "{text}");
    let copy = fs::read(site.file("backup/events.db")).expect("reads");
    let mut damaged = copy.clone();
    damaged[5000] ^= 1;
    fs::write(site.file("backup/events.db"), &damaged).expect("writes");
    let (code, _, err) = site.verb(&["restore", to, "--replace"]);
    assert!(code == Some(65) && err.contains("is not what was backed up"), "{err}");
    fs::write(site.file("backup/events.db"), &copy).expect("writes");
    let said = site.good(&["restore", to, "--replace"]);
    assert!(said.contains("vestibule outbox salvage") && said.contains("vestibule.toml"), "{said}");

    // A source that was answered sends nothing again; what it said is in the store that was set aside.
    let _broker = Mosquitto::at(port);
    let mut subscriber = Subscriber::to(port, "vestibule/v1/br001/+/event/#").await;
    let gateway = site.start();
    let aside = fs::read_dir(site.data()).expect("reads").map(|entry| entry.expect("reads").path());
    let mut aside: Vec<_> = aside.filter(|path| path.to_string_lossy().contains(".replaced-")).collect();
    aside.retain(|path| !path.to_string_lossy().ends_with("-wal") && !path.to_string_lossy().ends_with("-shm"));
    let [aside] = &aside[..] else { panic!("{aside:?}") };
    site.feed(201, 10).await;
    let (mut heard, mut restored) = (std::collections::BTreeMap::new(), None);
    while heard.len() < 110 || restored.is_none() {
        let json = subscriber.next().await.json;
        if let [number] = numbers([&json["data"]])[..] {
            heard.insert(number, json["id"].to_string());
        }
        if json["type"] == "vestibule.gateway.store_restored" {
            restored = Some(json["data"].clone());
        }
    }
    let restored = restored.expect("is told");
    assert!(
        restored["detail"].as_str().is_some_and(|detail| detail.contains("vestibule outbox salvage")),
        "{restored}"
    );
    assert!((1..=100).all(|number| heard[&number] == before[&number]), "again, with the ids that they had");
    let ids: BTreeSet<&String> = before.values().collect();
    assert!((201..=210).all(|number| !ids.contains(&heard[&number])), "no id is given twice");
    let (code, _, err) = site.verb(&["outbox", "salvage", aside.to_str().expect("is text")]);
    assert_eq!(code, Some(0), "{err}");
    gateway.stop();
    assert!(site.good(&["outbox", "verify", "--full"]).contains("sound"));
    // Told once.
    let gateway = site.start();
    let told = json(&site.good(&["outbox", "export", "--kind", "gateway.store_restored"]));
    assert_eq!(told.len(), 1);
    gateway.stop();
}
