//! Commands of a gateway that is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use crate::atm::Atm;
use crate::commands::{ask, terminal};
use crate::gateway::{DEADLINE, free_port};
use crate::process::Process;

/// Kills, each at another moment.
const ROUNDS: usize = 24;

/// How often each command was heard, by the place at which it was asked for: its message's sequence number tells.
#[derive(Default)]
struct Heard(BTreeMap<usize, usize>);

impl Heard {
    /// Hears the next message; false where the line has ended.
    async fn next(&mut self, atm: &mut Atm) -> bool {
        let Ok(length) = atm.0.read_u16().await else { return false };
        let mut message = vec![0; usize::from(length)];
        atm.0.read_exact(&mut message).await.expect("whole frames");
        let text = String::from_utf8(message).expect("ASCII");
        let number: usize = text.split('\x1c').nth(2).and_then(|field| field.parse().ok()).expect("a sequence number");
        // The first command of a store has the number 1, and 002 in its message.
        *self.0.entry(number - 2).or_default() += 1;
        true
    }
}

/// Killed at every moment between the request, the command, its answer and its end: what was sent is never sent again, and
/// nothing that was acknowledged is forgotten.
#[tokio::test]
async fn killed_at_any_moment_nothing_is_sent_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let address = free_port();
    let settings = format!("auth.loopback = \"open\"\nrules.bundled = []\n{}", terminal(address, ""));
    let data = dir.path().join("data");
    let mut heard = Heard::default();
    for round in 0..ROUNDS {
        let gateway = Process::start_at(dir.path(), &data, &settings).await;
        let mut atm = Atm::connect(address).await;
        let body = json!({"id": format!("k{round}"), "terminal": "atm-01", "verb": "out_of_service", "ttl_s": 600});
        assert_eq!(ask(gateway.http, body).await.status, 202);
        // Every other time the terminal answers, and the kill comes between that and the end.
        if round % 2 == 1 {
            assert!(timeout(DEADLINE, heard.next(&mut atm)).await.expect("a command in time"));
            atm.say("22|001000001|||9").await;
        }
        sleep(Duration::from_millis(u64::try_from(round / 2).expect("small"))).await;
        drop(gateway);
        while timeout(DEADLINE, heard.next(&mut atm)).await.expect("the end of the line in time") {}
    }
    let gateway = Process::start_at(dir.path(), &data, &settings).await;
    let mut atm = Atm::connect(address).await;
    // Those that never left are sent now, and answered.
    let begun = Instant::now();
    loop {
        let mut waiting = 0;
        for state in ["requested", "sent"] {
            let list = gateway.get(&format!("/api/v1/commands?state={state}")).await;
            waiting += list.body["commands"].as_array().expect("a list").len();
        }
        if waiting == 0 {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{waiting} still wait");
        // A frame is short, and whole when its first bytes are there: given up is only the wait for one.
        let mut first = [0];
        if timeout(Duration::from_millis(50), atm.0.peek(&mut first)).await.is_ok() {
            assert!(heard.next(&mut atm).await, "the line lasts");
            atm.say("22|001000001|||9").await;
        }
    }
    let (mut done, mut unknown) = (0, 0);
    for round in 0..ROUNDS {
        let command = gateway.get(&format!("/api/v1/commands/k{round}")).await.body;
        let times = heard.0.get(&round).copied().unwrap_or_default();
        match command["state"].as_str().expect("a state") {
            "done" => {
                assert_eq!(times, 1, "{command}");
                done += 1;
            }
            "unknown" => {
                assert!(times <= 1, "heard {times} times: {command}");
                unknown += 1;
            }
            _ => panic!("{command}"),
        }
    }
    assert!(heard.0.keys().all(|place| *place < ROUNDS), "{:?}", heard.0);
    assert!(done > 0 && unknown > 0, "{done} {unknown}: the kills came all at one moment");
}
