//! What terminals, people and ports do wrong: each a clear message, nothing lost, nothing else disturbed.

use std::net::TcpListener;
use std::process::Command;

use serde_json::json;
use vestibule::event::Kind;

use crate::gateway::{Running, Source, free_port};

fn json_terminal(listen: std::net::SocketAddr) -> String {
    format!(
        r#"
        [[terminal]]
        name = "atm-01"
        profile = "json-lines"
        link = [{{ name = "json", protocol = "jsonl", listen = "{listen}", max_frame_bytes = 4096 }}]
        "#
    )
}

#[tokio::test]
async fn bad_lines_are_answered_in_their_place_and_become_events() {
    let address = free_port();
    let gateway = Running::start(&json_terminal(address)).await;
    let mut source = Source::connect(address).await;
    source.say(b"{\"kind\":\"supply.low\"}\n{\"kind\":\"supply.lowish\"}\n\xff\xfe\n{\"kind\":\"supply.ok\"}\n").await;
    assert!(source.answer().await.expect("answer")["seq"].is_u64());
    let error = source.answer().await.expect("answer");
    assert!(error["error"].as_str().expect("an error").contains("unknown kind `supply.lowish`"), "{error}");
    assert!(source.answer().await.expect("answer")["error"].as_str().expect("an error").contains("UTF-8"));
    assert!(source.answer().await.expect("answer")["seq"].is_u64());
    gateway.kind(Kind::ProtocolError).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_line_of_ten_megabytes_is_refused_once_and_the_next_is_heard() {
    let address = free_port();
    let gateway = Running::start(&json_terminal(address)).await;
    let mut source = Source::connect(address).await;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..160 {
        source.say(&piece).await;
    }
    source.say(b"\n{\"kind\":\"supply.low\"}\n").await;
    assert!(source.answer().await.expect("answer")["error"].is_string());
    assert!(source.answer().await.expect("answer")["seq"].is_u64());
    gateway.stop().await;
}

#[tokio::test]
async fn half_a_frame_and_a_hang_up_is_an_event_and_the_link_lives_on() {
    let address = free_port();
    let ndc = format!(
        r#"
        [[terminal]]
        name = "atm-01"
        profile = "ncr-selfserv-ndc"
        link = [{{ name = "ndc", protocol = "ndc", listen = "{address}" }}]
        "#
    );
    let gateway = Running::start(&ndc).await;
    let mut source = Source::connect(address).await;
    source.say(b"\x00\x2012\x1c000").await;
    drop(source);
    gateway.kind(Kind::ProtocolError).await;
    gateway.kind(Kind::CommsLost).await;

    // The longest length there is: the frames cannot be told apart any more, so the gateway hangs up.
    let mut source = Source::connect(address).await;
    source.say(b"\xff\xff\xff\xff").await;
    assert_eq!(source.answer().await, None);

    let mut source = Source::connect(address).await;
    source.say(b"\x00\x1112\x1c001000001\x1c\x1cR09").await;
    gateway.kind(Kind::ModeSupervisorKey).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_terminal_that_nobody_configured_is_reported_and_refused_or_accepted() {
    let (refusing, accepting) = (free_port(), free_port());
    let listeners = format!(
        r#"
        [[listener]]
        name = "strict"
        protocol = "jsonl"
        listen = "{refusing}"
        [[listener]]
        name = "open"
        protocol = "jsonl"
        listen = "{accepting}"
        unknown = "accept"
        "#
    );
    let gateway = Running::start(&listeners).await;
    let mut source = Source::connect(refusing).await;
    source.say(b"{\"hello\":\"atm-99\"}\n").await;
    assert_eq!(source.answer().await, Some(json!({ "error": "terminal `atm-99` is not configured here" })));
    assert_eq!(source.answer().await, None, "the gateway hangs up");
    gateway.kind(Kind::GatewayUnknownTerminal).await;

    let mut source = Source::connect(accepting).await;
    source.say(b"{\"hello\":\"atm-98\"}\n{\"kind\":\"supply.low\"}\n").await;
    assert!(source.answer().await.expect("answer")["seq"].is_u64());
    assert_eq!(gateway.kind(Kind::SupplyLow).await.event.terminal, "unknown-atm-98");
    gateway.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_an_event_and_a_new_try() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gateway = Running::start(&json_terminal(taken.local_addr().expect("has an address"))).await;
    let fault = gateway.kind(Kind::GatewayLinkFault).await;
    assert!(fault.event.detail.contains("cannot listen on"), "{}", fault.event.detail);
    drop(taken);
    gateway.kind(Kind::GatewayLinkRestored).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_configuration_with_faults_leaves_the_store_as_it_was() {
    let address = free_port();
    let gateway = Running::start(&json_terminal(address)).await;
    let mut source = Source::connect(address).await;
    source.say(b"{\"kind\":\"supply.low\"}\n").await;
    assert!(source.answer().await.expect("answer")["seq"].is_u64());
    let dir = gateway.stop_and_keep().await;
    let look = || {
        let mut files = std::collections::BTreeMap::new();
        for entry in std::fs::read_dir(dir.path()).expect("a folder").map(|entry| entry.expect("a file").path()) {
            files.insert(entry.clone(), std::fs::read(entry).expect("reads"));
        }
        files
    };
    let before = look();
    let elsewhere = tempfile::tempdir().expect("temp dir");
    let file = elsewhere.path().join("vestibule.toml");
    std::fs::write(&file, format!("log.dir = {:?}\nforward.port = 0\ncolour = 1\n", dir.path())).expect("writes");
    let output = Command::new(env!("CARGO_BIN_EXE_vestibule")).arg("run").arg("--config").arg(&file).output();
    assert_eq!(output.expect("runs").status.code(), Some(78));
    assert!(!before.is_empty() && look() == before);
}

#[test]
fn what_is_wrong_at_start_is_an_exit_code_and_a_sentence() {
    let dir = tempfile::tempdir().expect("temp dir");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port_in_use =
        format!("log.dir = {:?}\nhttp.listen = \"{}\"\n", dir.path(), taken.local_addr().expect("address"));
    for (text, code, said) in [
        (port_in_use.as_str(), 69, "cannot listen on"),
        ("log.dir = \"/proc/vestibule\"\nhttp.listen = \"127.0.0.1:0\"\n", 73, "the data folder /proc/vestibule"),
        ("log.tail_events = \"many\"\ncolour = 1\n", 78, "log.tail_events"),
    ] {
        let file = dir.path().join("vestibule.toml");
        std::fs::write(&file, text).expect("writes");
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule")).arg("run").arg("--config").arg(&file).output();
        let output = output.expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[tokio::test]
async fn a_source_that_calls_for_each_line_is_lost_once_when_it_stays_away() {
    let address = free_port();
    let setting = json_terminal(address).replace("max_frame_bytes = 4096", "lost_after_s = 1");
    let gateway = Running::start(&setting).await;
    for _ in 0..3 {
        let mut source = Source::connect(address).await;
        source.say(b"{\"kind\":\"supply.low\"}\n").await;
        assert!(source.answer().await.expect("answer")["seq"].is_u64());
    }
    gateway.kind(Kind::CommsLost).await;
    let comms: Vec<_> = gateway.kinds().into_iter().filter(|line| line.contains("comms.")).collect();
    assert_eq!(comms.len(), 2, "{comms:?}");
    gateway.stop().await;
}
