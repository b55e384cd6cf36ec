//! XFS4IoT: a publisher and its services, on real WebSockets.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use vestibule::event::{Kind, State};
use vestibule::simulate::xfs4iot::{Reset, Service, Terminal};

use crate::authority::Authority;
use crate::commands::{ask, until};
use crate::gateway::Running;

const QUESTIONS: [&str; 4] =
    ["ServicePublisher.GetServices", "Common.Status", "Common.Capabilities", "Storage.GetStorage"];

fn online() -> Value {
    json!({ "common": { "device": "online" } })
}

fn terminal() -> Arc<Terminal> {
    let cash =
        json!({ "storage": { "unit1": { "status": "ok", "cash": { "status": { "replenishmentStatus": "low" } } } } });
    let service = |name, storage| Service { name, status: online(), storage, reset: None };
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

    let asked = terminal.asked();
    assert!(asked.len() >= 10, "{asked:?}");
    for message in asked {
        assert_eq!(message["header"]["type"], "command");
        assert!(QUESTIONS.contains(&message["header"]["name"].as_str().expect("a name")), "{message}");
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

/// A terminal whose dispenser is broken, whose devices complete their resets so, and which has an encryptor besides.
fn broken(reader: Option<&'static str>, dispenser: Option<&'static str>) -> Arc<Terminal> {
    let reset = |command, code| Some(Reset { command, code });
    let jammed = json!({ "common": { "device": "hardwareError" } });
    let service = |name, status, reset| Service { name, status, storage: None, reset };
    Arc::new(Terminal::new(vec![
        service("CashDispenser", jammed, reset("CashManagement.Reset", dispenser)),
        service("CardReader", online(), reset("CardReader.Reset", reader)),
        service("Printer", online(), None),
        service("PinPad", online(), reset("PinPad.Reset", Some("success"))),
    ]))
}

/// What services were told to do, and how; nothing else but the questions was said to them.
fn told(terminal: &Terminal) -> Vec<(String, Value)> {
    let told = terminal.asked().into_iter().filter_map(|message| {
        assert_eq!(message["header"]["type"], "command");
        let name = message["header"]["name"].as_str().expect("a name").to_owned();
        (!QUESTIONS.contains(&name.as_str())).then(|| (name, message["payload"].clone()))
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    told
}

/// Once all services are connected, and heard.
async fn connected(gateway: &Running, terminal: &Terminal) {
    for (service, name, kind) in [
        ("CardReader", "CardReader.MediaRemovedEvent", Kind::CardTaken),
        ("CashDispenser", "CashManagement.ItemsTakenEvent", Kind::CashTaken),
    ] {
        heard(gateway, terminal, service, name, kind).await;
    }
    let low = json!({ "paperSource": "upper", "threshold": "low" });
    let say = async {
        loop {
            terminal.say("Printer", "Printer.PaperThresholdEvent", low.clone());
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        _ = gateway.kind(Kind::SupplyLow) => {}
        () = say => {}
    }
}

#[tokio::test]
async fn a_reset_goes_to_every_device_that_moves_something_and_nothing_else_is_ever_told() {
    let terminal = broken(Some("success"), Some("success"));
    let address = serve(&terminal, None).await;
    let gateway = Running::start(&link(&format!("ws://{address}"), ", commands = true")).await;
    let broken = gateway.event("the jam", |stored| stored.event.state == Some(State::Raised)).await;
    connected(&gateway, &terminal).await;
    assert_eq!(told(&terminal), [], "nobody has asked for anything");
    let body = json!({"id": "r1", "terminal": "atm-01", "verb": "reset", "args": {"reason": "a jam"}});
    let taken = ask(gateway.http, body.clone()).await;
    assert_eq!(taken.status, 202, "{taken:?}");
    let done = until(gateway.http, "r1", "done").await;
    let result = json!({"CardReader": "success", "CashDispenser": "success", "Printer": "unsupported"});
    assert_eq!(done["result"], result);
    let all = [
        ("CardReader.Reset".to_owned(), json!({"to": "auto"})),
        ("CashManagement.Reset".to_owned(), json!({})),
        ("Printer.Reset".to_owned(), json!({})),
    ];
    assert_eq!(told(&terminal), all);
    // The device says itself that it is well again.
    gateway.event("its end", |stored| stored.seq > broken.seq && stored.event.state == Some(State::Cleared)).await;
    // The same again is the same, and other verbs are none of theirs.
    assert_eq!(ask(gateway.http, body).await.body["state"], "done");
    let other = ask(gateway.http, json!({"terminal": "atm-01", "verb": "out_of_service"})).await;
    assert_eq!((other.status, other.code()), (409, "unsupported"));
    assert_eq!(told(&terminal), all);
    gateway.stop().await;
}

#[tokio::test]
async fn a_reset_may_fail_or_be_lost_and_a_link_that_is_only_read_has_none() {
    let terminal = broken(Some("success"), Some("hardwareError"));
    let address = serve(&terminal, None).await;
    let gateway = Running::start(&link(&format!("ws://{address}"), ", commands = true")).await;
    connected(&gateway, &terminal).await;
    ask(gateway.http, json!({"id": "f", "terminal": "atm-01", "verb": "reset"})).await;
    let failed = until(gateway.http, "f", "refused").await;
    assert_eq!(failed["code"], "device_fault");
    assert!(failed["detail"].as_str().expect("a sentence").contains("CashDispenser: hardwareError"), "{failed}");
    gateway.stop().await;

    let terminal = broken(Some("success"), None);
    let address = serve(&terminal, None).await;
    let gateway = Running::start(&link(&format!("ws://{address}"), ", commands = true")).await;
    connected(&gateway, &terminal).await;
    ask(gateway.http, json!({"id": "u", "terminal": "atm-01", "verb": "reset"})).await;
    crate::forwarding::eventually(|| told(&terminal).len() == 3).await;
    terminal.hang_up("CashDispenser");
    assert_eq!(until(gateway.http, "u", "unknown").await["code"], "connection_lost");
    gateway.stop().await;

    let terminal = broken(Some("success"), Some("success"));
    let address = serve(&terminal, None).await;
    let gateway = Running::start(&link(&format!("ws://{address}"), "")).await;
    connected(&gateway, &terminal).await;
    let refused = ask(gateway.http, json!({"terminal": "atm-01", "verb": "reset"})).await;
    assert_eq!((refused.status, refused.code()), (409, "link_read_only"));
    assert_eq!(told(&terminal), []);
    gateway.stop().await;
}
