//! Commands of a gateway that is killed.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use crate::atm::Atm;
use crate::commands::{ask, terminal};
use crate::gateway::{DEADLINE, free_port};
use crate::process::Process;

/// Killed at every moment between the request and the answer: what was sent is never sent again, and nothing that was
/// acknowledged is forgotten.
#[tokio::test]
async fn killed_at_any_moment_nothing_is_sent_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let address = free_port();
    let settings = format!("auth.loopback = \"open\"\nrules.bundled = []\n{}", terminal(address, ""));
    let data = dir.path().join("data");
    let mut ids = Vec::new();
    let mut heard = 0;
    for round in 0..12_u64 {
        let gateway = Process::start_at(dir.path(), &data, &settings).await;
        let mut atm = Atm::connect(address).await;
        let id = format!("k{round}");
        let body = json!({"id": id, "terminal": "atm-01", "verb": "out_of_service", "ttl_s": 600});
        assert_eq!(ask(gateway.http, body).await.status, 202);
        ids.push(id);
        sleep(Duration::from_millis(round)).await;
        drop(gateway);
        while let Ok(Ok(length)) = timeout(DEADLINE, atm.0.read_u16()).await {
            let mut message = vec![0; usize::from(length)];
            atm.0.read_exact(&mut message).await.expect("whole frames");
            heard += 1;
        }
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
        let next = timeout(Duration::from_millis(50), atm.0.read_u16()).await;
        if let Ok(length) = next {
            let mut message = vec![0; usize::from(length.expect("a frame"))];
            atm.0.read_exact(&mut message).await.expect("the whole of it");
            heard += 1;
            atm.say("22|001000001|||9").await;
        }
    }
    let mut unknown = 0;
    for id in &ids {
        let command = gateway.get(&format!("/api/v1/commands/{id}")).await.body;
        let state = command["state"].as_str().expect("a state");
        assert!(["done", "unknown"].contains(&state), "{command}");
        unknown += usize::from(state == "unknown");
    }
    assert!(heard <= ids.len(), "{heard} of {} were heard", ids.len());
    assert!(unknown > 0, "no kill came behind a command");
}
