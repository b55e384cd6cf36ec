//! Commands end to end: by HTTP, by MQTT and from rules, to an NDC terminal on a real socket.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use vestibule::event::Kind;
use vestibule::simulate::script::{Act, Script, Step};
use vestibule::simulate::{Pace, Retry, ndc};

use crate::atm::Atm;
use crate::client::{Answer, talk};
use crate::desk::Desk;
use crate::gateway::{DEADLINE, Running, Source, free_port};
use crate::mosquitto::Mosquitto;
use crate::subscriber::Subscriber;

/// A gateway's terminal, whose link takes commands.
pub(crate) fn terminal(address: SocketAddr, more: &str) -> String {
    format!(
        "[[terminal]]\nname = \"atm-01\"\nprofile = \"ncr-selfserv-ndc\"\nluno = \"001000001\"\n{more}\
         link = [{{ name = \"ndc\", protocol = \"ndc\", listen = \"{address}\", commands = true }}]\n"
    )
}

async fn request(http: SocketAddr, method: &str, path: &str, token: Option<&str>, more: &str, body: &str) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}");
    if let Some(token) = token {
        let _ = write!(text, "Authorization: Bearer {token}\r\n");
    }
    let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    talk(TcpStream::connect(http).await.expect("connects"), &text).await
}

pub(crate) async fn ask(http: SocketAddr, body: Value) -> Answer {
    request(http, "POST", "/api/v1/commands", None, "", &body.to_string()).await
}

async fn get(http: SocketAddr, path: &str) -> Answer {
    request(http, "GET", path, None, "", "").await
}

pub(crate) async fn until(http: SocketAddr, id: &str, state: &str) -> Value {
    let begun = Instant::now();
    loop {
        let answer = get(http, &format!("/api/v1/commands/{id}")).await;
        if answer.body["state"] == state {
            return answer.body;
        }
        assert!(begun.elapsed() < DEADLINE, "{id} {state}: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn by_http_one_after_the_other_and_each_once() {
    let address = free_port();
    let gateway = Running::start(&terminal(address, "")).await;
    let http = gateway.http;
    // Asked before there is anybody to hear it.
    let out = json!({"id": "c1", "terminal": "atm-01", "verb": "out_of_service", "args": {"reason": "test"}});
    let taken = ask(http, out.clone()).await;
    assert_eq!((taken.status, &taken.body["state"]), (202, &json!("requested")), "{taken:?}");
    assert!(taken.head.contains("location: /api/v1/commands/c1"), "{taken:?}");
    let counters = json!({"terminal": "atm-01", "verb": "counters", "args": {"set": "basic"}}).to_string();
    let keyed = request(http, "POST", "/api/v1/commands", None, "Idempotency-Key: \"c2\"\r\n", &counters).await;
    assert_eq!((keyed.status, &keyed.body["id"]), (202, &json!("c2")), "{keyed:?}");

    let mut atm = Atm::connect(address).await;
    assert_eq!(atm.heard().await, "1|001000001|002|2");
    atm.hears_nothing().await;
    // The same again is the same; the same id for something else is none.
    assert_eq!(ask(http, out.clone()).await.body["state"], "sent");
    let other = ask(http, json!({"id": "c1", "terminal": "atm-01", "verb": "in_service"})).await;
    assert_eq!((other.status, other.code()), (409, "conflict"));
    atm.say("22|001000001|||9").await;
    let done = until(http, "c1", "done").await;
    assert_eq!((&done["by"], &done["source"]), (&json!("loopback"), &json!("http")));

    assert_eq!(atm.asked().await, "41");
    atm.say("22|001000001|||C|C02").await;
    let refused = until(http, "c2", "refused").await;
    assert_eq!(refused["code"], "rejected");
    let again = ask(http, out).await;
    assert_eq!((again.status, &again.body["state"]), (202, &json!("done")));
    atm.hears_nothing().await;

    ask(http, json!({"id": "c3", "terminal": "atm-01", "verb": "configuration", "args": {"part": "id"}})).await;
    assert_eq!(atm.asked().await, "3");
    atm.say("22|001000001|||F|60022").await;
    assert_eq!(until(http, "c3", "done").await["result"], json!({"state_id": "6", "config_id": "0022"}));
    ask(http, json!({"id": "c4", "terminal": "atm-01", "verb": "set_time"})).await;
    assert!(atm.heard().await.contains("|1C|"));
    drop(atm);
    assert_eq!(until(http, "c4", "unknown").await["code"], "connection_lost");

    let list = get(http, "/api/v1/commands?terminal=atm-01&state=done").await;
    let ids: Vec<&str> =
        list.body["commands"].as_array().expect("a list").iter().filter_map(|c| c["id"].as_str()).collect();
    assert_eq!(ids, ["c3", "c1"], "newest first");
    let first = get(http, "/api/v1/commands?limit=1").await;
    assert_eq!(first.body["commands"][0]["id"], "c4");
    let next = get(http, &format!("/api/v1/commands?limit=1&cursor={}", first.body["next"])).await;
    assert_eq!(next.body["commands"][0]["id"], "c3");
    for kind in
        [Kind::CommandRequested, Kind::CommandSent, Kind::CommandDone, Kind::CommandRefused, Kind::CommandUnknown]
    {
        gateway.kind(kind).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_says_that_it_is_json_and_each_field_once() {
    let gateway = Running::start(&terminal(free_port(), "")).await;
    let counters = r#"{"terminal":"atm-01","verb":"counters"}"#;
    for path in ["/api/v1/commands", "/api/v1/outbox/dead-letters/replay", "/api/v1/outbox/salvage"] {
        for kind in ["", "Content-Type: text/plain\r\n"] {
            let text = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n{counters}",
                counters.len()
            );
            let answer = talk(TcpStream::connect(gateway.http).await.expect("connects"), &text).await;
            assert_eq!((answer.status, answer.code()), (415, "unsupported_media_type"), "{path}: {answer:?}");
        }
    }
    for (body, words) in [
        (r#"{"terminal":"atm-01","verb":"counters","terminal":"atm-02"}"#, "duplicate field `terminal`"),
        (
            r#"{"terminal":"atm-01","verb":"counters","args":{"set":"basic","set":"extended"}}"#,
            "duplicate field `args.set`",
        ),
        (
            r#"{"terminal":"atm-01","verb":"counters","args":{"4000001234567899":1,"4000001234567899":2}}"#,
            "field `args`",
        ),
        (r#"{"terminal":"atm-01"}"#, "missing field `verb`"),
        (r#"{"terminal":"atm-01","verb":"counters","4000001234567899":1}"#, "expected one of `terminal`"),
    ] {
        let answer = request(gateway.http, "POST", "/api/v1/commands", None, "", body).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert_eq!((answer.status, answer.code()), (400, "bad_request"), "{answer:?}");
        assert!(detail.contains(words) && !detail.contains("40000"), "{body}: {detail}");
    }
    let doubled = get(gateway.http, "/api/v1/commands?limit=1&limit=2").await;
    let detail = doubled.body["detail"].as_str().unwrap_or_default();
    assert!(doubled.status == 400 && detail.contains("duplicate field `limit`"), "{doubled:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn what_cannot_be_or_may_not_be_is_refused_with_a_word() {
    let desk = Desk::new();
    let [viewer, operator, teller] = ["viewer", "operator", "teller"].map(|role| desk.add(role));
    let elsewhere = desk.token(&["add", "--name", "e", "--role", "operator", "--terminals", "kiosk-*"]);
    let (own, tap) = (free_port(), free_port());
    let silent = format!(
        "[[terminal]]\nname = \"tap\"\nprofile = \"ncr-selfserv-ndc\"\n\
         link = [{{ name = \"ndc\", protocol = \"ndc\", listen = \"{tap}\" }}]\n"
    );
    let gateway = Running::closed(&format!("{}{}{silent}", desk.setting(), terminal(own, ""))).await;
    let post = async |token: &str, body: Value| {
        request(gateway.http, "POST", "/api/v1/commands", Some(token), "", &body.to_string()).await
    };
    let one = |terminal: &str, verb: &str| json!({"terminal": terminal, "verb": verb});
    for (token, body, status, code) in [
        (&viewer, one("atm-01", "counters"), 403, "forbidden"),
        (&teller, one("atm-01", "in_service"), 403, "forbidden"),
        (&elsewhere, one("atm-01", "counters"), 403, "forbidden"),
        (&elsewhere, one("nobody", "counters"), 403, "forbidden"),
        (&operator, one("nobody", "counters"), 404, "unknown_terminal"),
        (&operator, one("tap", "counters"), 409, "link_read_only"),
        (&operator, one("tap", "restart"), 409, "unsupported"),
        (&operator, one("atm-01", "restart"), 409, "unsupported"),
        (&operator, one("atm-01", "dance"), 400, "bad_request"),
        (&operator, json!({"terminal": "atm-01"}), 400, "bad_request"),
        (&operator, json!({"terminal": "atm-01", "verb": "counters", "id": "a/b"}), 400, "bad_request"),
        (&operator, json!({"terminal": "atm-01", "verb": "counters", "ttl_s": 1_000_000}), 400, "bad_request"),
        (
            &operator,
            json!({"terminal": "atm-01", "verb": "counters", "expires_at": "2020-01-01T00:00:00Z"}),
            409,
            "expired",
        ),
    ] {
        let answer = post(token, body.clone()).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{body} {answer:?}");
    }
    let refused =
        gateway.event("a refusal", |stored| stored.event.attributes.get("code") == Some(&json!("forbidden"))).await;
    assert_eq!(refused.event.kind, Kind::CommandRefused);
    // It waits, and runs out of time.
    let waiting = post(&operator, json!({"id": "w", "terminal": "atm-01", "verb": "counters", "ttl_s": 1})).await;
    assert_eq!(waiting.status, 202, "{waiting:?}");
    gateway.kind(Kind::CommandExpired).await;
    let shown = request(gateway.http, "GET", "/api/v1/commands/w", Some(&elsewhere), "", "").await;
    assert_eq!((shown.status, shown.code()), (404, "command_not_found"), "it is none of theirs");
    gateway.stop().await;
}

/// Publishes with QoS 1 and returns once the broker has it.
pub(crate) async fn publish(port: u16, topic: &str, payload: &Value) {
    say(port, topic, payload, false).await;
}

/// The same, for whoever comes later, too.
pub(crate) async fn retain(port: u16, topic: &str, payload: &Value) {
    say(port, topic, payload, true).await;
}

async fn say(port: u16, topic: &str, payload: &Value, retain: bool) {
    let mut options = MqttOptions::new("somebody", "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(60));
    let (client, mut eventloop) = AsyncClient::new(options, 4);
    client.try_publish(topic, QoS::AtLeastOnce, retain, payload.to_string()).expect("is queued");
    let wait = async {
        loop {
            if let Event::Incoming(Packet::PubAck(_)) = eventloop.poll().await.expect("the broker answers") {
                return;
            }
        }
    };
    timeout(DEADLINE, wait).await.expect("in time");
}

/// Waits until the broker has accepted the connection for commands.
pub(crate) async fn connected(http: SocketAddr) {
    let begun = Instant::now();
    while !crate::http::get(http, "/metrics").await.contains("\nvestibule_commands_connected 1\n") {
        assert!(begun.elapsed() < DEADLINE, "no connection");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn by_mqtt_what_the_broker_keeps_while_both_are_away_is_done_once() {
    let desk = Desk::new();
    let operator = desk.add("operator");
    let viewer = desk.add("viewer");
    let mut broker = Mosquitto::with(
        "allow_anonymous true\npersistence true\npersistence_location {dir}/\nautosave_interval 1\n",
        &[],
    );
    let address = free_port();
    let rest =
        format!("forward.port = {}\ncommands.mqtt = true\n{}{}", broker.port(), desk.setting(), terminal(address, ""));
    let topic = |id: &str| format!("vestibule/v1/branch/atm-01/command/{id}");
    let gateway = Running::closed(&rest).await;
    let mut results = Subscriber::to(broker.port(), "vestibule/v1/branch/+/command/+/result").await;
    let mut atm = Atm::connect(address).await;
    connected(gateway.http).await;
    let first = json!({"verb": "out_of_service", "token": operator});
    publish(broker.port(), &topic("m1"), &first).await;
    assert_eq!(atm.asked().await, "2");
    atm.say("22|001000001|||9").await;
    let result = results.next().await;
    assert_eq!(
        (result.topic.as_str(), &result.json["state"]),
        ("vestibule/v1/branch/atm-01/command/m1/result", &json!("done"))
    );
    assert!(!result.retained && !result.text.contains("vst_"), "{}", result.text);
    // The same again is told again, and said to nobody.
    publish(broker.port(), &topic("m1"), &first).await;
    assert_eq!(results.next().await.json["state"], "done");
    for (id, payload, code) in [
        ("m2", json!({"verb": "counters"}), "unauthorised"),
        ("m3", json!({"verb": "counters", "token": viewer}), "forbidden"),
        ("m4", json!({"verb": "restart", "token": operator}), "unsupported"),
        ("m5", json!({"colour": "red"}), "bad_request"),
    ] {
        publish(broker.port(), &topic(id), &payload).await;
        let told = results.next().await;
        assert_eq!((&told.json["id"], &told.json["code"]), (&json!(id), &json!(code)), "{told:?}");
    }
    atm.hears_nothing().await;

    let dir = gateway.stop_and_keep().await;
    publish(broker.port(), &topic("m6"), &json!({"verb": "in_service", "token": operator})).await;
    publish(broker.port(), &topic("m1"), &first).await;
    drop(results);
    broker.restart();
    let mut results = Subscriber::to(broker.port(), "vestibule/v1/branch/+/command/+/result").await;
    let gateway = Running::start_in(dir, &rest).await;
    let mut atm = Atm::connect(address).await;
    assert_eq!(atm.asked().await, "1");
    atm.say("22|001000001|||9").await;
    let told = [results.next().await, results.next().await].map(|told| told.json["id"].clone());
    assert!(told.contains(&json!("m1")) && told.contains(&json!("m6")), "{told:?}");
    atm.hears_nothing().await;
    let requested =
        gateway.log.read_after(0, 10_000).expect("reads").into_iter().filter(|stored| {
            stored.event.kind == Kind::CommandRequested && stored.event.attributes["command_id"] == "m1"
        });
    assert_eq!(requested.count(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn a_rule_puts_the_terminal_out_of_service() {
    let (address, journal, rules) = (free_port(), free_port(), tempfile::tempdir().expect("a folder"));
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist/dispenser-guard.wasm");
    std::fs::copy(dist, rules.path().join("dispenser-guard.wasm")).expect("committed");
    let two_links = terminal(address, "reports_requests = true\n")
        .replace("link = [", &format!("link = [{{ name = \"json\", protocol = \"jsonl\", listen = \"{journal}\" }}, "));
    let gateway = Running::start(&format!("rules.dir = {:?}\n{two_links}", rules.path())).await;
    gateway.kind(Kind::GatewayPluginLoaded).await;
    const SCRIPT: Script = Script { opening: &[Step { after_ms: 60_000, act: Act::SupervisorIn }], round: &[] };
    let atm = ndc::Terminal {
        address,
        luno: "001000001".into(),
        script: SCRIPT,
        seed: 1,
        tempo: Pace::percent(100).into(),
        retry: Retry::default(),
    };
    let shutdown = CancellationToken::new();
    let playing = tokio::spawn(atm.run(shutdown.clone()));
    let mut source = Source::connect(journal).await;
    source.say(b"{\"kind\":\"cash.presented\",\"device\":\"cash_handler\"}\n").await;
    source.answer().await.expect("an answer");
    let done = gateway.kind(Kind::CommandDone).await;
    assert_eq!(
        (done.event.attributes["verb"].clone(), done.event.attributes["by"].clone()),
        (json!("out_of_service"), json!("dispenser-guard"))
    );
    assert_eq!(done.event.attributes["source"], "rule");
    shutdown.cancel();
    assert_eq!(playing.await.expect("no panic").commands, 1);
    gateway.stop().await;
}

#[tokio::test]
async fn by_the_command_line() {
    let address = free_port();
    let gateway = Running::start(&terminal(address, "")).await;
    let mut atm = Atm::connect(address).await;
    let http = gateway.http.to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.arg("command").args(arguments).args(["--http", &http]).stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().expect("runs"))
    };
    let waiting = run(&["atm-01", "out_of_service", "--reason", "cash count", "--wait"]);
    assert_eq!(atm.asked().await, "2");
    atm.say("22|001000001|||9").await;
    let done = waiting.await.expect("no panic");
    let told: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((done.status.code(), &told["state"]), (Some(0), &json!("done")), "{done:?}");
    assert_eq!(told["arguments"]["reason"], "cash count");
    for (arguments, code, why) in [
        (&["nobody", "counters"][..], 65, "not configured"),
        (&["atm-01", "counters", "--set", "all"][..], 65, "`set` must be"),
        (&["atm-01", "reset"][..], 69, "has a message for it"),
    ] {
        let refused = run(arguments).await.expect("no panic");
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why), "{refused:?}");
    }
    gateway.stop().await;
    let closed = Running::closed(&terminal(free_port(), "")).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.args(["command", "atm-01", "counters", "--http", &closed.http.to_string()]).stdin(Stdio::null());
    let nobody = tokio::task::spawn_blocking(move || command.output().expect("runs")).await.expect("no panic");
    assert_eq!(nobody.status.code(), Some(77), "{nobody:?}");
    closed.stop().await;
}
