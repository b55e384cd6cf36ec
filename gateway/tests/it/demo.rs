//! The demo as a person runs it: a 3.1.1 subscriber at the printed broker hears all of it, and the summary adds up.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

#[test]
fn the_demo_is_heard_by_a_subscriber_and_adds_up() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["demo", "--seconds", "14", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("piped"))
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.expect("reads")).expect("every line is JSON"));
    let ready = lines.next().expect("says where things are");
    let broker = ready["mqtt"].as_str().expect("an address");
    let (host, port) = broker.rsplit_once(':').expect("with a port");
    let mut subscriber = Command::new("mosquitto_sub")
        .args(["-h", host, "-p", port, "-t", "#", "-C", "20", "-W", "30", "-F", "%t"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("mosquitto_sub is installed");

    let summary = lines.last().expect("a summary");
    assert!(demo.wait().expect("ends").success());
    let heard = BufReader::new(subscriber.stdout.take().expect("piped")).lines().count();
    assert!(subscriber.wait().expect("ends").success());
    assert_eq!(heard, 20, "twenty messages were heard live");

    assert_eq!(summary["invariant_holds"], true, "{summary}");
    for protocol in ["ndc", "journal", "jsonl"] {
        assert!(summary["by_protocol"][protocol].as_u64() > Some(5), "{protocol}: {summary}");
    }
    for rule in ["cash-low", "dispenser-guard"] {
        assert!(summary["alerts_by_rule"][rule].as_u64() >= Some(1), "{rule}: {summary}");
    }
}
