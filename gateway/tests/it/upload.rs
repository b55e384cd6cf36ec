//! Files of JSON tables over real sockets: in one segment or in many, short, twice, two at once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use vestibule::event::{Kind, Severity, State};

use crate::gateway::{DEADLINE, Running, Source, free_port};

/// The bytes of a capture of `devices/atm-handler`.
pub(crate) fn capture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices/atm-handler/captures");
    let text = std::fs::read(folder.join(name)).expect("the capture is there");
    let capture: serde_json::Value = serde_json::from_slice(&text).expect("captures are JSON");
    let hex = capture["hex"].as_str().expect("has bytes");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
}

pub(crate) fn listener(listen: SocketAddr) -> String {
    format!("[[listener]]\nname = \"files\"\nprotocol = \"upload\"\nlisten = \"{listen}\"\n")
}

/// Sends these pieces, says that no more will come, and gives the answer.
pub(crate) async fn send(address: SocketAddr, pieces: &[&[u8]]) -> String {
    let send = async {
        drop(Source::connect(address).await);
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.set_nodelay(true).expect("is set");
        for piece in pieces {
            stream.write_all(piece).await.expect("is taken");
            sleep(Duration::from_millis(5)).await;
        }
        stream.shutdown().await.expect("ends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("is text");
        answer
    };
    timeout(DEADLINE, send).await.expect("in time")
}

#[tokio::test]
async fn a_file_is_committed_once_however_it_is_cut() {
    let address = free_port();
    let gateway = Running::start(&listener(address)).await;
    let file = capture("upload_001.json");
    // Header and data in one segment; the header alone; cut within the separator, the size and the document.
    let header = file.iter().position(|byte| *byte == b'{').expect("a document");
    let mut events = None;
    for cuts in [vec![], vec![header], vec![13, 15, 2000]] {
        let mut pieces = Vec::new();
        let mut rest = &file[..];
        for cut in cuts.into_iter().scan(0, |before, cut| Some(cut - std::mem::replace(before, cut))) {
            let (piece, after) = rest.split_at(cut);
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        assert_eq!(send(address, &pieces).await, "accepted\n");
        let log = gateway.log.read_after(0, 1000).expect("reads");
        let rows = log.iter().filter(|stored| stored.event.link.as_deref() == Some("files")).count();
        assert_eq!(rows, *events.get_or_insert(30), "a second time is no second set: {:#?}", gateway.kinds());
    }
    let lost = gateway.kind(Kind::CommsLost).await;
    assert_eq!((lost.event.terminal.as_str(), lost.event.severity), ("atm-3", Severity::Critical));
    assert_eq!(lost.event.state, Some(State::Raised));
    let said = gateway.event("masked journal line", |stored| stored.event.detail.starts_with("CARD 0")).await;
    assert_eq!(said.event.detail, "CARD 000999******0014 TRIED AT THE SERVICE MENU");
    assert!(!gateway.kinds().iter().any(|line| line.contains("0009990000000014")));

    // The terminal is online again: what the same listener had lost is over.
    let online = br#"{"ATM":[{"atmId":3,"status":"Online"}]}"#;
    let file = [format!("b.json<>{}", online.len()).as_bytes(), online].concat();
    assert_eq!(send(address, &[&file, &file]).await, "accepted\naccepted\n", "several files on one connection");
    let restored = gateway.kind(Kind::CommsRestored).await;
    assert_eq!(restored.event.state, Some(State::Cleared));
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_no_whole_file_is_refused_and_nothing_of_it_is_kept() {
    let address = free_port();
    let gateway = Running::start(&listener(address)).await;
    let file = capture("upload_001.json");
    let answer = send(address, &[&file[..file.len() - 1]]).await;
    assert!(answer.starts_with("refused: the file is short"), "{answer}");
    for (wrong, said) in [
        (&b"a.json<>99999999{"[..], "at most 1048576 are accepted"),
        (b"{\"no\":\"header\"}", "the middle of an upload's header"),
        (b"a.json<>4{\"a\"", "EOF"),
        (b"a.json<>2{}", "no row"),
    ] {
        let answer = send(address, &[wrong]).await;
        assert!(answer.starts_with("refused: ") && answer.contains(said), "{answer}");
    }
    // The answer to a fault does not wait for its event. The gateway's start is the first of six.
    let mut head = gateway.log.head();
    let _ = timeout(DEADLINE, head.wait_for(|head| *head >= 6)).await;
    let log = gateway.log.read_after(0, 1000).expect("reads");
    let kinds: Vec<Kind> = log.iter().map(|stored| stored.event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::ProtocolError).count(), 5, "{kinds:?}");
    assert!(!kinds.contains(&Kind::JournalUnparsed));
    // A sender that does not wait for an answer, as the seed's.
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(&file).await.expect("is taken");
    drop(stream);
    gateway.kind(Kind::SecurityFraudAttempt).await;
    gateway.stop().await;
}

#[tokio::test]
async fn two_files_at_once_and_a_name_that_is_a_path() {
    let address = free_port();
    let known = "[[terminal]]\nname = \"kiosk\"\nprofile = \"json-lines\"\nluno = \"12\"\n";
    let gateway = Running::start(&format!("{}{known}", listener(address))).await;
    let (large, path) = (capture("upload_001.json"), capture("upload_002.json"));
    let halves = large.split_at(large.len() / 2);
    let (three, two) = ([&halves.0[..10], &halves.0[10..], halves.1], [&path[..20], &path[20..]]);
    let (first, second) = tokio::join!(send(address, &three), send(address, &two));
    assert_eq!((first.as_str(), second.as_str()), ("accepted\n", "accepted\n"));
    let out = gateway.kind(Kind::ModeOutOfService).await;
    assert_eq!(out.event.terminal, "kiosk", "configured with the number as its LUNO");
    assert!(!Path::new("../../kiosk.json").exists() && !Path::new("kiosk.json").exists());
    gateway.stop().await;
}

#[tokio::test]
async fn a_listener_can_refuse_terminals_that_nobody_configured() {
    let address = free_port();
    let gateway = Running::start(&format!("{}unknown = \"refuse\"\n", listener(address))).await;
    let answer = send(address, &[&capture("upload_001.json")]).await;
    assert_eq!(answer, "refused: terminal `atm-1` is not configured here\n");
    gateway.kind(Kind::GatewayUnknownTerminal).await;
    gateway.stop().await;
}
