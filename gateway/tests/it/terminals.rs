//! Terminals and places over HTTP and on the command line: configured, uploaded, heard and adopted.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use vestibule::event::Kind;

use crate::gateway::{Running, Source, free_port};
use crate::http::get;
use crate::mosquitto::Mosquitto;
use crate::subscriber::{Heard, Subscriber};
use crate::upload::{capture, listener, send};

pub(crate) async fn ask(http: SocketAddr, path: &str) -> (u16, Value) {
    let answer = get(http, path).await;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    (status, serde_json::from_str(body).expect("JSON"))
}

fn names(body: &Value) -> Vec<&str> {
    body["terminals"].as_array().expect("a list").iter().filter_map(|terminal| terminal["name"].as_str()).collect()
}

/// Runs the program; its exit code and what it said on both ways.
async fn vestibule(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("ends").expect("runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn uploaded_terminals_have_places_groups_devices_and_a_state() {
    let (address, json) = (free_port(), free_port());
    let own = format!(
        "[[terminal]]\nname = \"kiosk\"\nprofile = \"json-lines\"\nluno = \"1\"\n\
         link = [{{ name = \"json\", protocol = \"jsonl\", listen = \"{json}\" }}]\n"
    );
    let gateway = Running::start(&format!("{}{own}", listener(address))).await;
    let file = capture("upload_001.json");
    for _ in 0..2 {
        assert_eq!(send(address, &[&file]).await, "accepted\n");
    }
    let http = gateway.http;
    let (status, all) = ask(http, "/api/v1/terminals").await;
    assert_eq!((status, names(&all)), (200, vec!["atm-2", "atm-3", "kiosk"]));
    assert_eq!(
        (&all["terminals"][0]["known"], &all["terminals"][2]["known"]),
        (&json!("uploaded"), &json!("configured"))
    );
    for (query, expected) in [
        ("branch=Airport", vec!["atm-3"]),
        ("region=1", vec!["atm-2", "kiosk"]),
        ("group=Pilot", vec!["atm-2", "kiosk"]),
        ("group=South", vec!["atm-3"]),
        ("group=Hardware", vec!["atm-2"]),
        ("severity=critical", vec!["atm-3"]),
        ("unknown=true", vec![]),
        ("limit=1&cursor=atm-2", vec!["atm-3"]),
    ] {
        let (status, body) = ask(http, &format!("/api/v1/terminals?{query}")).await;
        assert_eq!((status, names(&body)), (200, expected), "{query}");
    }
    let (_, first) = ask(http, "/api/v1/terminals?limit=1").await;
    assert_eq!(first["next"], "atm-2");

    let (_, shown) = ask(http, "/api/v1/terminals/kiosk").await;
    assert_eq!(shown["label"], "Harbour 1");
    assert_eq!(shown["branch"], json!({"id": 1, "name": "Harbour"}));
    assert_eq!(shown["region"], json!({"id": 1, "name": "North"}));
    assert_eq!((&shown["cash_level"], &shown["software"]), (&json!("10000.00"), &json!("v1.2.3")));
    assert_eq!(shown["devices"][0]["model"], "Cash Dispenser 5000");
    assert_eq!(shown["groups"], json!([{"id": 2, "name": "Pilot"}]));
    assert_eq!((&shown["links"][0]["name"], &shown["links"][0]["up"]), (&json!("json"), &json!(false)));
    let (_, lost) = ask(http, "/api/v1/terminals/atm-3").await;
    assert!(lost["conditions"].as_array().expect("a list").iter().any(|open| open["kind"] == "comms.lost"), "{lost}");

    let (_, kept) = ask(http, "/api/v1/journal?terminal=kiosk&date=2030-03-05").await;
    let lines: Vec<&str> =
        kept["lines"].as_array().expect("a list").iter().filter_map(|line| line["text"].as_str()).collect();
    assert_eq!(lines.len(), 4, "each once: {lines:?}");
    assert_eq!(lines[3], "CARD 000999******0014 TRIED AT THE SERVICE MENU");

    let (_, groups) = ask(http, "/api/v1/groups").await;
    assert_eq!((groups["groups"].as_array().map(Vec::len), &groups["groups"][1]["members"]), (Some(3), &json!(2)));
    assert_eq!(ask(http, "/api/v1/groups/3").await.1["members"], json!(["atm-3"]));
    assert_eq!(ask(http, "/api/v1/regions").await.1["regions"][0]["terminals"], json!(2));
    assert_eq!(ask(http, "/api/v1/branches?limit=2").await.1["next"], json!(2));
    assert_eq!(ask(http, "/api/v1/devices").await.1["devices"][2]["serial"], json!("EX-RP-0003"));
    for (path, status, code) in [
        ("/api/v1/terminals/nobody", 404, "terminal_not_found"),
        ("/api/v1/terminals?group=nobody", 404, "group_not_found"),
        ("/api/v1/terminals?colour=red", 400, "bad_request"),
        ("/api/v1/terminals?limit=0", 400, "bad_request"),
        ("/api/v1/groups/99", 404, "group_not_found"),
    ] {
        let (answered, problem) = ask(http, path).await;
        assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_terminal_that_was_heard_is_listed_and_adopted() {
    let strict = free_port();
    let text = format!("[[listener]]\nname = \"strict\"\nprotocol = \"jsonl\"\nlisten = \"{strict}\"\n");
    let gateway = Running::start(&text).await;
    let mut source = Source::connect(strict).await;
    source.say(b"{\"hello\":\"atm-99\"}\n").await;
    assert!(source.answer().await.expect("an answer")["error"].is_string());
    gateway.kind(Kind::GatewayUnknownTerminal).await;
    let (_, heard) = ask(gateway.http, "/api/v1/terminals?unknown=true").await;
    let heard = &heard["terminals"][0];
    assert_eq!((&heard["name"], &heard["known"]), (&json!("atm-99"), &json!("unknown")));
    assert_eq!((&heard["heard"]["profile"], &heard["heard"]["link"]), (&json!("json-lines"), &json!("strict")));

    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("vestibule.toml");
    std::fs::write(&file, &text).expect("is written");
    let http = gateway.http.to_string();
    let (code, said) = vestibule(&["terminals", "ls", "--unknown", "--http", &http]).await;
    assert!(code == Some(0) && said.contains("atm-99") && said.contains("heard on strict (jsonl)"), "{said}");
    let (code, said) = vestibule(&["terminals", "adopt", "atm-99", "--http", &http]).await;
    assert_eq!((code, said.as_str()), (Some(0), "[[terminal]]\nname = \"atm-99\"\nprofile = \"json-lines\"\n"));
    let file = file.to_str().expect("is text");
    let adopt = ["terminals", "adopt", "atm-99", "--as", "lobby", "--write", file, "--http", &http];
    assert_eq!(vestibule(&adopt).await.0, Some(0));
    let (code, said) = vestibule(&adopt).await;
    assert_eq!(code, Some(78), "a second time the name is taken: {said}");
    gateway.stop().await;

    let adopted = std::fs::read_to_string(file).expect("is there");
    let gateway = Running::start(&adopted).await;
    let mut source = Source::connect(strict).await;
    source.say(b"{\"hello\":\"atm-99\"}\n{\"kind\":\"supply.low\"}\n").await;
    assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    assert_eq!(gateway.kind(Kind::SupplyLow).await.event.terminal, "lobby");
    gateway.stop().await;
}

#[tokio::test]
async fn a_file_is_imported_into_a_stopped_store_and_a_running_one_says_how_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("journal.json");
    let bytes = capture("upload_001.json");
    let document = &bytes[bytes.iter().position(|byte| *byte == b'{').expect("a document")..];
    std::fs::write(&file, document).expect("is written");
    let (data, file) = (dir.path().join("data"), file.to_str().expect("is text").to_owned());
    let data = data.to_str().expect("is text");
    let (code, said) = vestibule(&["import", &file, "--dir", data]).await;
    assert!(code == Some(0) && !said.contains("30 known already"), "{said}");
    let (code, said) = vestibule(&["import", &file, "--dir", data]).await;
    assert!(code == Some(0) && said.contains(" 0 events, 30 known already"), "{said}");

    let config = crate::gateway::config(std::path::Path::new(data), "auth.loopback = \"open\"\n");
    let gateway = vestibule::gateway::Gateway::start(config).await.expect("starts");
    let (code, said) = vestibule(&["import", &file, "--dir", data]).await;
    assert!(code == Some(69) && said.contains("send the file to the running gateway"), "{said}");
    let (_, shown) = ask(gateway.http, "/api/v1/terminals/atm-2").await;
    assert_eq!(shown["label"], "Old Town 1", "the register survives");
    gateway.run(async {}).await;

    std::fs::write(dir.path().join("bad.json"), "{").expect("is written");
    let bad = dir.path().join("bad.json").to_str().expect("is text").to_owned();
    assert_eq!(vestibule(&["import", &bad, "--dir", data]).await.0, Some(65));
}

/// The next state of this terminal that holds; what came before is gone.
async fn state(subscriber: &mut Subscriber, mut wanted: impl FnMut(&Heard) -> bool) -> Heard {
    loop {
        let heard = subscriber.next().await;
        if wanted(&heard) {
            return heard;
        }
    }
}

#[tokio::test]
async fn the_state_of_a_terminal_is_retained_follows_it_and_is_cleared_when_it_is_removed() {
    let broker = Mosquitto::start();
    let (port, json) = (broker.port(), free_port());
    let dir = tempfile::tempdir().expect("a folder");
    let forward = format!("gateway.site = \"br1\"\n[forward]\nport = {port}\n");
    let terminal = |name: &str| {
        format!(
            "[[terminal]]\nname = \"{name}\"\nprofile = \"json-lines\"\n\
             link = [{{ name = \"json\", protocol = \"jsonl\", listen = \"{json}\" }}]\n"
        )
    };
    let start = |rest: String| {
        let config = crate::gateway::config(dir.path(), &rest);
        async move {
            let gateway = vestibule::gateway::Gateway::start(config).await.expect("starts");
            let log = gateway.log.clone();
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let task = tokio::spawn(gateway.run(async move { drop(stopped.await) }));
            (log, stop, task)
        }
    };
    let (log, stop, task) = start(format!("{forward}{}", terminal("atm-1"))).await;
    let mut source = Source::connect(json).await;
    source.say(b"{\"kind\":\"supply.low\",\"device\":\"cash_handler\",\"component\":\"cassette_1\"}\n").await;
    assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    let mut live = Subscriber::to(port, "vestibule/v1/br1/+/state").await;
    let low = |heard: &Heard| heard.text.contains("supply.low");
    let heard = state(&mut live, low).await;
    assert_eq!(
        (heard.topic.as_str(), heard.content_type.as_deref()),
        ("vestibule/v1/br1/atm-1/state", Some("application/json"))
    );
    assert_eq!(heard.json["terminal"], "atm-1");
    assert_eq!(heard.json["conditions"]["supply/cash_handler/cassette_1"]["severity"], "warning");
    let mut late = Subscriber::to(port, "vestibule/v1/br1/+/state").await;
    assert!(state(&mut late, low).await.retained, "who comes late hears it too");
    // A thousand changes are a few messages, and the last one is right.
    for round in 0..1000 {
        let kind = if round % 2 == 0 { "mode.out_of_service" } else { "mode.in_service" };
        source.say(format!("{{\"kind\":\"{kind}\"}}\n").as_bytes()).await;
    }
    for _ in 0..1000 {
        assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    }
    source.say(b"{\"kind\":\"supply.out\",\"device\":\"cash_handler\",\"component\":\"cassette_2\"}\n").await;
    assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    let last = *log.head().borrow();
    let mut count = 0;
    let newest = state(&mut live, |heard| {
        count += 1;
        heard.text.contains("cassette_2")
    })
    .await;
    assert_eq!((newest.json["sequence"].as_u64(), &newest.json["in_service"]), (Some(last), &true.into()));
    assert!(count < 200, "{count} messages");
    drop(log);
    stop.send(()).expect("runs");
    task.await.expect("ends");

    let (log, stop, task) = start(format!("{forward}{}", terminal("atm-2"))).await;
    loop {
        let heard = live.next().await;
        if heard.topic.ends_with("/atm-1/state") && heard.text.is_empty() {
            break;
        }
    }
    drop(log);
    stop.send(()).expect("runs");
    task.await.expect("ends");
}
