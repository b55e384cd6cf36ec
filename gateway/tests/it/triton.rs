//! A Triton terminal on a serial line: polled, committed, acknowledged, asked again.

use std::time::Duration;

use vestibule::event::Kind;
use vestibule::simulate::triton::Terminal;

use crate::gateway::Running;

const WITHDRAWAL: &str = "EXATM0017|11|0042|9999990000000014=30122010000000000|00010000|00000250|A1B2C3D4E5F60718||";

fn link(terminal: &Terminal, more: &str) -> String {
    format!(
        r#"
        [[terminal]]
        name = "atm-01"
        profile = "triton"
        link = [{{ name = "triton", protocol = "triton", serial = {:?}{more} }}]
        "#,
        terminal.path()
    )
}

async fn count(gateway: &Running, kind: Kind) -> usize {
    gateway.log.read_after(0, 1000).expect("reads").iter().filter(|stored| stored.event.kind == kind).count()
}

#[tokio::test]
async fn a_report_is_in_the_log_before_it_is_acknowledged() {
    let mut terminal = Terminal::open().expect("a line");
    let gateway = Running::start(&link(&terminal, "")).await;
    for (body, kind) in [
        (WITHDRAWAL, Kind::TxnRequested),
        ("EXATM0017|29|0042|9999990000000014=3012|00010000|00000250|00000000|", Kind::TxnReversal),
        ("EXATM0017|50|0043||", Kind::HostQuery),
    ] {
        assert!(terminal.report(body).await.expect("the line holds"), "{body}");
        assert_eq!(count(&gateway, kind).await, 1, "{:?}", gateway.kinds());
    }
    let request = gateway.kind(Kind::TxnRequested).await;
    assert_eq!(request.event.card.as_deref(), Some("999999******0014"));
    let stored = serde_json::to_string(&request.event).expect("serialises");
    assert!(!stored.contains("A1B2C3D4") && !stored.contains("3012201"), "{stored}");
    gateway.stop().await;
}

#[tokio::test]
async fn noise_damage_and_lost_acknowledgements_lose_and_double_nothing() {
    let mut terminal = Terminal::open().expect("a line");
    let gateway = Running::start(&link(&terminal, "")).await;
    terminal.say(b"\x00\xff~static~").await.expect("the line holds");
    terminal.damage = 2;
    assert!(terminal.report(WITHDRAWAL).await.expect("the line holds"), "the third copy arrives");
    terminal.deafness = 1;
    assert!(terminal.report("EXATM0017|31|0043||").await.expect("the line holds"));
    assert_eq!(count(&gateway, Kind::TxnRequested).await, 2, "{:?}", gateway.kinds());
    let faults = count(&gateway, Kind::ProtocolError).await;
    assert_eq!(faults, 3, "two damaged frames and the noise: {:?}", gateway.kinds());

    terminal.damage = 100;
    assert!(!terminal.report("EXATM0017|31|0044||").await.expect("the line holds"), "the host gives up");
    terminal.damage = 0;
    assert!(terminal.report("EXATM0017|31|0044||").await.expect("the line holds"), "and polls anew");
    assert_eq!(count(&gateway, Kind::TxnRequested).await, 3);
    gateway.stop().await;
}

#[tokio::test]
async fn a_tap_says_nothing() {
    let mut terminal = Terminal::open().expect("a line");
    let gateway = Running::start(&link(&terminal, ", listen_only = true")).await;
    let sample = include_bytes!("../../../devices/triton/captures/triton_002.json");
    let sample: serde_json::Value = serde_json::from_slice(sample).expect("JSON");
    let hex = sample["hex"].as_str().expect("text");
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
    terminal.say(&bytes).await.expect("the line holds");
    gateway.kind(Kind::TxnApproved).await;
    assert_eq!(terminal.next(Duration::from_secs(3)).await.expect("the line holds"), None);
    gateway.stop().await;
}
