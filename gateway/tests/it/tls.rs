//! TLS on TCP links, real sockets on both sides: who is let in, who is not, and certificates that are renewed.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vestibule::event::Kind;
use vestibule::link::Pin;

use crate::authority::{Authority, Identity};
use crate::gateway::{DEADLINE, Running, free_port};

/// An NDC status: the supervisor's key 9.
const STATUS: &[u8] = b"\x00\x1112\x1c001000001\x1c\x1cR09";

fn listening(address: SocketAddr, tls: &str) -> String {
    link(&format!("listen = \"{address}\""), tls)
}

fn link(place: &str, tls: &str) -> String {
    format!(
        r#"
        [[terminal]]
        name = "atm-01"
        profile = "ncr-selfserv-ndc"
        link = [{{ name = "ndc", protocol = "ndc", {place}, tls = {{ {tls} }} }}]
        "#
    )
}

fn own(identity: &Identity) -> String {
    format!("certificate = {:?}, key = {:?}", identity.certificate_file, identity.key_file)
}

async fn connect(connector: &TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let name = ServerName::try_from("localhost").expect("a name");
    timeout(DEADLINE, connector.connect(name, stream)).await.expect("in time")
}

/// Whether the gateway refuses: in TLS 1.3 a client learns so when it reads.
async fn is_refused(connector: &TlsConnector, address: SocketAddr) -> bool {
    let Ok(mut stream) = connect(connector, address).await else { return true };
    let _ = stream.write_all(STATUS).await;
    timeout(Duration::from_secs(5), stream.read(&mut [0; 1])).await.is_ok_and(|read| read.is_err())
}

fn metric(text: &str, role: &str) -> Option<i64> {
    let line = format!(
        "vestibule_tls_certificate_expiry_timestamp_seconds{{link=\"ndc\",role=\"{role}\",terminal=\"atm-01\"}} "
    );
    text.lines().find_map(|found| found.strip_prefix(&line))?.parse().ok()
}

async fn scrape(gateway: &Running) -> String {
    let mut stream = TcpStream::connect(gateway.http).await.expect("connects");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("asks");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("answers");
    text
}

#[tokio::test]
async fn only_the_pinned_certificate_of_the_authority_is_let_in() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (server, pinned) = (authority.issue("localhost", 2090), authority.issue("atm-01", 2080));
    let (other, forged) = (authority.issue("atm-02", 2080), stranger.issue("atm-01", 2080));
    let expired = authority.issue("expired", 2021);
    let address = free_port();
    let pins = format!("[\"{}\", \"{}\", \"{}\"]", pinned.pin(), forged.pin(), expired.pin());
    let tls = format!("{}, ca = {:?}, pin_sha256 = {pins}", own(&server), authority.file());
    let gateway = Running::start(&listening(address, &tls)).await;

    assert!(is_refused(&authority.connector(None), address).await, "no certificate");
    assert!(is_refused(&authority.connector(Some(&other)), address).await, "of the authority, but not pinned");
    assert!(is_refused(&authority.connector(Some(&forged)), address).await, "pinned, but of another authority");
    assert!(is_refused(&authority.connector(Some(&expired)), address).await, "pinned, but expired");
    let refused = gateway.kind(Kind::ProtocolError).await;
    assert!(refused.event.detail.contains("no TLS"), "{}", refused.event.detail);
    assert!(!gateway.kinds().iter().any(|line| line.contains("comms.restored")), "{:?}", gateway.kinds());

    let mut stream = connect(&authority.connector(Some(&pinned)), address).await.expect("is let in");
    stream.write_all(STATUS).await.expect("is heard");
    gateway.kind(Kind::ModeSupervisorKey).await;
    let text = scrape(&gateway).await;
    let year = |role| metric(&text, role).map(|at| jiff::Timestamp::from_second(at).expect("a time").to_string());
    assert_eq!(year("own").as_deref(), Some("2090-01-01T00:00:00Z"));
    assert_eq!(year("ca").as_deref(), Some("2099-01-01T00:00:00Z"));
    assert_eq!(year("peer").as_deref(), Some("2080-01-01T00:00:00Z"));
    assert!(text.contains("vestibule_link_refused_total{reason=\"tls\"} 4"), "{text}");
    gateway.stop().await;
}

#[tokio::test]
async fn certificates_are_renewed_without_a_restart_and_a_bad_one_changes_nothing() {
    let authority = Authority::new();
    let first = authority.issue_as("server", "localhost", 2050);
    let address = free_port();
    let tls = format!("{}, client = \"none\"", own(&first));
    let gateway = Running::start(&listening(address, &tls)).await;
    let connector = authority.connector(None);
    let shown = async || {
        let stream = connect(&connector, address).await.expect("connects");
        Pin::of(&stream.get_ref().1.peer_certificates().expect("a certificate")[0])
    };
    assert_eq!(shown().await, first.pin());
    let mut open = connect(&connector, address).await.expect("connects");

    std::fs::write(&first.certificate_file, "-----BEGIN CERTIFICATE-----\nnonsense\n").expect("writes");
    let fault = gateway.kind(Kind::GatewayLinkFault).await;
    assert!(
        fault.event.detail.contains("server.pem") && fault.event.detail.contains("stay in force"),
        "{}",
        fault.event.detail
    );
    assert_eq!(shown().await, first.pin());

    let second = authority.issue_as("server", "localhost", 2060);
    gateway.kind(Kind::GatewayLinkRestored).await;
    assert_eq!(shown().await, second.pin());
    let expiry = metric(&scrape(&gateway).await, "own").expect("is exported");
    assert!(jiff::Timestamp::from_second(expiry).expect("a time").to_string().starts_with("2060"));
    open.write_all(STATUS).await.expect("what was open stays open");
    gateway.kind(Kind::ModeSupervisorKey).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_terminal_that_is_dialled_must_show_its_certificate() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (good, bad) = (authority.issue("localhost", 2090), stranger.issue("localhost", 2090));
    let client = authority.issue("gateway", 2090);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let tls = format!("{}, ca = {:?}", own(&client), authority.file());
    let gateway = Running::start(&link(&format!("dial = \"localhost:{port}\""), &tls)).await;

    let (stream, _) = listener.accept().await.expect("is dialled");
    assert!(bad.acceptor(None).accept(stream).await.is_err(), "the gateway does not trust it");
    let lost = gateway.kind(Kind::CommsLost).await;
    assert!(lost.event.detail.contains("no TLS"), "{}", lost.event.detail);

    // It comes again, and shows its own certificate to who asks for it.
    for round in 1..=2 {
        let (stream, _) = listener.accept().await.expect("is dialled again");
        let mut stream = good.acceptor(Some(&authority)).accept(stream).await.expect("both are trusted");
        stream.write_all(STATUS).await.expect("is heard");
        let heard = || gateway.kinds().iter().filter(|line| line.contains("mode.supervisor_key")).count();
        gateway.event("a status a round", |_| heard() == round).await;
        stream.shutdown().await.expect("hangs up");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_terminal_on_a_shared_listener_speaks_only_with_its_own_certificate() {
    let authority = Authority::new();
    let server = authority.issue("localhost", 2090);
    let (one, two) = (authority.issue("atm-01", 2090), authority.issue("atm-02", 2090));
    let address = free_port();
    let terminal = |name: &str, identity: &Identity| {
        format!("[[terminal]]\nname = \"{name}\"\nprofile = \"json-lines\"\npin_sha256 = [\"{}\"]\n", identity.pin())
    };
    let gateway = Running::start(&format!(
        "{}{}[[listener]]\nname = \"json\"\nprotocol = \"jsonl\"\nlisten = \"{address}\"\ntls = {{ {}, ca = {:?} }}\n",
        terminal("atm-01", &one),
        terminal("atm-02", &two),
        own(&server),
        authority.file()
    ))
    .await;
    let answer = async |identity: &Identity, line: &str| {
        let mut stream = connect(&authority.connector(Some(identity)), address).await.expect("is let in");
        stream.write_all(line.as_bytes()).await.expect("is heard");
        let mut answer = vec![0; 256];
        let read = timeout(DEADLINE, stream.read(&mut answer)).await.expect("in time").expect("answers");
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    let line = "{\"terminal\":\"atm-01\",\"kind\":\"supply.low\"}\n";
    assert!(answer(&one, line).await.contains("seq"));
    assert!(answer(&two, line).await.contains("must show its own certificate"));
    let refused = gateway.kind(Kind::GatewayUnknownTerminal).await;
    assert!(refused.event.detail.contains("not its own"), "{}", refused.event.detail);
    gateway.stop().await;
}

#[test]
fn check_says_what_is_wrong_with_the_files() {
    let authority = Authority::new();
    let (good, other) = (authority.issue("localhost", 2090), authority.issue("other", 2090));
    let expired = authority.issue("expired", 2021);
    let mut mixed = authority.issue_as("mixed", "localhost", 2090);
    mixed.key_file.clone_from(&other.key_file);
    let mut gone = authority.issue_as("gone", "localhost", 2090);
    gone.certificate_file = "/nowhere/server.pem".into();
    for (identity, said) in [
        (&good, None),
        (&expired, Some("the certificate expired at 2021-01-01")),
        (&mixed, Some("the key does not belong to the certificate")),
        (&gone, Some("/nowhere/server.pem")),
    ] {
        let file = authority.dir.path().join("vestibule.toml");
        let tls = format!("{}, ca = {:?}", own(identity), authority.file());
        let text = format!("log.dir = {:?}\n{}", authority.dir.path().join("data"), listening(free_port(), &tls));
        std::fs::write(&file, text).expect("writes");
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule")).args(["check", "--config"]).arg(&file).output();
        let output = output.expect("runs");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), said.is_none(), "{words}");
        assert!(said.is_none_or(|said| words.contains(said)), "{words}");
    }
}

#[tokio::test]
async fn a_terminal_is_dialled_until_it_is_there_and_again_when_it_hangs_up() {
    let address = free_port();
    let text = format!(
        r#"
        [[terminal]]
        name = "atm-01"
        profile = "json-lines"
        link = [{{ name = "json", protocol = "jsonl", dial = "{address}" }}]
        "#
    );
    let gateway = Running::start(&text).await;
    let lost = gateway.kind(Kind::CommsLost).await;
    assert!(lost.event.detail.contains("cannot be reached"), "{}", lost.event.detail);
    let listener = TcpListener::bind(address).await.expect("a port");
    for kind in [Kind::SupplyLow, Kind::SupplyOk] {
        let (mut stream, _) = timeout(DEADLINE, listener.accept()).await.expect("in time").expect("is dialled");
        stream.write_all(format!("{{\"kind\":\"{kind}\"}}\n").as_bytes()).await.expect("is heard");
        let mut answer = [0; 64];
        let read = timeout(DEADLINE, stream.read(&mut answer)).await.expect("in time").expect("answers");
        assert!(String::from_utf8_lossy(&answer[..read]).contains("seq"));
        gateway.kind(kind).await;
    }
    gateway.stop().await;
}
