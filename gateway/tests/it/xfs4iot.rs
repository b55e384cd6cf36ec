//! XFS4IoT: a publisher and its services, on real WebSockets.

use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpListener;
use vestibule::event::{Kind, State};
use vestibule::simulate::xfs4iot::{Service, Terminal};

use crate::authority::Authority;
use crate::gateway::Running;

fn terminal() -> Arc<Terminal> {
    let cash =
        json!({ "storage": { "unit1": { "status": "ok", "cash": { "status": { "replenishmentStatus": "low" } } } } });
    let service = |name, storage| Service { name, status: json!({ "common": { "device": "online" } }), storage };
    Arc::new(Terminal::new(vec![service("CashDispenser", Some(cash)), service("CardReader", None)]))
}

async fn serve(terminal: &Arc<Terminal>, tls: Option<tokio_rustls::TlsAcceptor>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let terminal = Arc::clone(terminal);
    tokio::spawn(async move { terminal.serve(listener, tls).await });
    address
}

fn link(dial: &str, more: &str) -> String {
    format!(
        r#"
        [[terminal]]
        name = "atm-01"
        profile = "xfs4iot"
        link = [{{ name = "xfs", protocol = "xfs4iot", dial = "{dial}"{more} }}]
        "#
    )
}

/// Says an event until it arrives: whether a client has subscribed already, only its arrival shows.
async fn heard(gateway: &Running, terminal: &Terminal, service: &'static str, name: &str, kind: Kind) {
    let say = async {
        loop {
            terminal.say(service, name, json!({}));
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        _ = gateway.kind(kind) => {}
        () = say => {}
    }
}

#[tokio::test]
async fn services_are_found_asked_and_heard_and_nothing_else_is_ever_sent() {
    let terminal = terminal();
    let address = serve(&terminal, None).await;
    let gateway = Running::start(&link(&format!("ws://{address}"), "")).await;
    let low = gateway.kind(Kind::SupplyLow).await;
    assert_eq!(low.event.component.map(|part| part.to_string()).as_deref(), Some("unit1"));
    assert_eq!(low.event.state, Some(State::Raised));
    heard(&gateway, &terminal, "CashDispenser", "CashManagement.ItemsTakenEvent", Kind::CashTaken).await;
    heard(&gateway, &terminal, "CardReader", "CardReader.MediaRemovedEvent", Kind::CardTaken).await;
    assert!(!gateway.kinds().iter().any(|line| line.contains("command_reject")), "{:?}", gateway.kinds());

    // A connection that is lost is made again; while the other stands, the terminal is not lost.
    terminal.hang_up("CardReader");
    gateway.kind(Kind::CommsDegraded).await;
    heard(&gateway, &terminal, "CardReader", "CardReader.MediaInsertedEvent", Kind::CardInserted).await;
    assert!(!gateway.kinds().iter().any(|line| line.contains("comms.lost")), "{:?}", gateway.kinds());

    let allowed = ["ServicePublisher.GetServices", "Common.Status", "Common.Capabilities", "Storage.GetStorage"];
    let asked = terminal.asked();
    assert!(asked.len() >= 10, "{asked:?}");
    for message in asked {
        assert_eq!(message["header"]["type"], "command");
        assert!(allowed.contains(&message["header"]["name"].as_str().expect("a name")), "{message}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_no_message_is_an_event_and_one_too_large_ends_the_connection() {
    let terminal = terminal();
    let address = serve(&terminal, None).await;
    let gateway = Running::start(&link(&format!("ws://{address}"), ", max_frame_bytes = 4096")).await;
    heard(&gateway, &terminal, "CardReader", "CardReader.MediaRemovedEvent", Kind::CardTaken).await;
    terminal.say_text("CardReader", "{\"header\":4123456789011234}".to_owned());
    let fault = gateway.kind(Kind::ProtocolError).await;
    let shown = serde_json::to_string(&fault.event).expect("serialises");
    assert!(!shown.contains("4123456789011234"), "{shown}");
    terminal.say_text("CardReader", "x".repeat(10_000));
    gateway.event("a message too large", |stored| stored.event.detail.contains("more than 4096 bytes")).await;
    heard(&gateway, &terminal, "CardReader", "CardReader.MediaInsertedEvent", Kind::CardInserted).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_terminal_that_goes_is_lost_and_found_again_over_tls() {
    let authority = Authority::new();
    let own = authority.issue("localhost", 2090);
    let terminal = terminal();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = Arc::clone(&terminal);
    let first = tokio::spawn({
        let tls = own.acceptor(None);
        async move { serving.serve(listener, Some(tls)).await }
    });
    let tls = format!(", tls = {{ ca = {:?}, pin_sha256 = [\"{}\"] }}", authority.file(), own.pin());
    let gateway = Running::start(&link(&format!("wss://localhost:{}", address.port()), &tls)).await;
    gateway.kind(Kind::CommsRestored).await;
    first.abort();
    gateway.kind(Kind::CommsLost).await;
    let before = gateway.log.read_after(0, 1000).expect("reads").len();
    let listener = TcpListener::bind(address).await.expect("the same port");
    let serving = Arc::clone(&terminal);
    let tls = own.acceptor(None);
    tokio::spawn(async move { serving.serve(listener, Some(tls)).await });
    gateway
        .event("the terminal back", |stored| {
            stored.event.kind == Kind::CommsRestored && stored.seq > u64::try_from(before).expect("small")
        })
        .await;
    gateway.stop().await;
}
