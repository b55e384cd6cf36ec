//! Another configuration while everything runs: what did not change goes on, what is wrong changes nothing.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::gateway::{Source, free_port};
use crate::mosquitto::Mosquitto;
use crate::process::Process;
use crate::subscriber::Subscriber;

fn terminal(name: &str, port: SocketAddr) -> String {
    format!(
        "[[terminal]]\nname = '{name}'\nprofile = 'json-lines'\n\
         link = [{{ name = 'json', protocol = 'jsonl', listen = '{port}' }}]\n"
    )
}

async fn say(source: &mut Source, detail: &str) {
    source.say(format!("{{\"kind\":\"journal.block\",\"detail\":\"{detail}\"}}\n").as_bytes()).await;
    assert!(source.answer().await.expect("an answer")["seq"].is_u64());
}

async fn until(subscriber: &mut Subscriber, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let event = subscriber.next().await.json;
        if wanted(&event) {
            return event;
        }
    }
}

async fn kind(subscriber: &mut Subscriber, kind: &str) -> Value {
    until(subscriber, |event| event["type"] == format!("vestibule.{kind}")).await
}

async fn events(broker: &Mosquitto) -> Subscriber {
    Subscriber::to(broker.port(), "vestibule/v1/+/+/event/#").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_comes_another_goes_the_broker_moves_and_whoever_stays_notices_nothing() {
    let (first, second) = (Mosquitto::start(), Mosquitto::start());
    let (mut at_first, mut at_second) = (events(&first).await, events(&second).await);
    let mut health = Subscriber::to(first.port(), "vestibule/v1/+/gateway/+/health").await;
    let (stays, goes, comes, shared) = (free_port(), free_port(), free_port(), free_port());
    let head = |broker: &Mosquitto| format!("rules.bundled = []\nforward.port = {}\n", broker.port());
    let listener = format!("[[listener]]\nname = 'shared'\nprotocol = 'jsonl'\nlisten = '{shared}'\n");
    let silent = |name: &str| format!("[[terminal]]\nname = '{name}'\nprofile = 'json-lines'\n");
    let mut gateway = Process::start(&format!(
        "{}{}{}{}{}{listener}",
        head(&first),
        terminal("atm-stays", stays),
        terminal("atm-goes", goes),
        silent("kiosk-stays"),
        silent("kiosk-goes"),
    ))
    .await;
    let (mut staying, mut going) = (Source::connect(stays).await, Source::connect(goes).await);
    say(&mut staying, "before").await;
    say(&mut going, "before").await;
    let (mut kiosk, mut other) = (Source::connect(shared).await, Source::connect(shared).await);
    kiosk.say(b"{\"hello\":\"kiosk-stays\"}\n").await;
    other.say(b"{\"hello\":\"kiosk-goes\"}\n").await;
    say(&mut kiosk, "before").await;
    say(&mut other, "before").await;
    until(&mut at_first, |event| event["subject"] == "kiosk-goes").await;

    gateway.reload(&format!(
        "{}{}{}{}{listener}",
        head(&second),
        terminal("atm-stays", stays),
        terminal("atm-comes", comes),
        silent("kiosk-stays"),
    ));
    let reloaded = kind(&mut at_second, "gateway.config_reloaded").await;
    let attributes = &reloaded["data"]["attributes"];
    assert_eq!(attributes["changed"], serde_json::json!(["forward", "terminals"]), "{reloaded}");
    let links = ["links_opened", "links_closed", "links_kept"].map(|name| attributes[name].as_u64());
    assert_eq!(links, [Some(1), Some(1), Some(2)], "{reloaded}");
    // Those that stay are on the same connection; those that went are hung up on, and nobody misses them.
    say(&mut staying, "after").await;
    say(&mut kiosk, "after").await;
    assert_eq!(going.answer().await, None);
    assert_eq!(other.answer().await, None);
    assert!(TcpStream::connect(goes).await.is_err(), "the port is closed");
    let mut coming = Source::connect(comes).await;
    say(&mut coming, "after").await;
    let heard =
        until(&mut at_second, |event| event["subject"] == "atm-comes" && event["data"]["detail"] == "after").await;
    assert_eq!(heard["replayed"], false);
    // The broker before was left in order.
    while health.next().await.json["status"] != "stopped" {}
    let figures = gateway.get("/metrics").await.text;
    assert!(figures.contains("vestibule_config_reloads_total{outcome=\"applied\"} 1"), "{figures}");
    assert!(!figures.contains("vestibule_link_up{link=\"json\",terminal=\"atm-goes\"}"), "{figures}");
    assert!(!figures.contains("vestibule_link_reconnects_total{link=\"json\",terminal=\"atm-stays\"}"), "{figures}");
    for missed in ["atm-goes", "kiosk-goes"] {
        let lost = |event: &Value| event["subject"] == missed && event["type"] == "vestibule.comms.lost";
        assert!(!at_second.rest().iter().any(|heard| lost(&heard.json)), "{missed}");
    }

    // The same again changes nothing, and says so.
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    gateway.until_figure("vestibule_config_reloads_total{outcome=\"unchanged\"}", |value| value == 1.0).await;
    say(&mut staying, "still").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_or_a_forbidden_change_leaves_everything_as_it_is_and_is_said() {
    let broker = Mosquitto::start();
    let mut subscriber = events(&broker).await;
    let (here, there) = (free_port(), free_port());
    let good = format!("rules.bundled = []\nforward.port = {}\n{}", broker.port(), terminal("atm-1", here));
    let mut gateway = Process::start(&good).await;
    let mut source = Source::connect(here).await;
    say(&mut source, "before").await;

    gateway.reload(&format!("{good}colour = 'red'\n{}", terminal("atm 2", there)));
    let refused = kind(&mut subscriber, "gateway.config_refused").await;
    let faults = refused["data"]["attributes"]["faults"].to_string();
    assert!(faults.contains("terminal[0].colour") && faults.contains("terminal[1].name"), "{faults}");
    assert_eq!(gateway.figure("vestibule_config_fault").await, Some(1.0));

    gateway.reload(&format!("gateway.id = 'other'\n{good}{}", terminal("atm-2", there)));
    let refused = kind(&mut subscriber, "gateway.config_refused").await;
    let detail = refused["data"]["detail"].as_str().expect("a sentence");
    assert!(detail.contains("gateway.id: cannot change while the gateway runs"), "{detail}");
    gateway.until_said("cannot change while the gateway runs").await;
    assert!(TcpStream::connect(there).await.is_err(), "nothing of it was applied");

    gateway.reload(&format!("auth.tokens = '{{dir}}'\n{good}{}", terminal("atm-2", there)));
    let refused = kind(&mut subscriber, "gateway.config_refused").await;
    assert!(refused["data"]["detail"].as_str().expect("a sentence").contains("auth.tokens: "), "{refused}");
    assert_eq!(gateway.figure("vestibule_config_reloads_total{outcome=\"refused\"}").await, Some(3.0));

    say(&mut source, "the same connection").await;
    gateway.reload(&good);
    kind(&mut subscriber, "gateway.config_reloaded").await;
    assert_eq!(gateway.figure("vestibule_config_fault").await, Some(0.0));
    say(&mut source, "the same connection").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_refused_and_the_one_before_delivers_on() {
    let broker = Mosquitto::start();
    let mut subscriber = events(&broker).await;
    let (here, there) = (free_port(), free_port());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address");
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("plugins")).expect("is made");
    std::fs::write(dir.path().join("plugins/cut.wasm"), "no plugin").expect("is written");
    let forward = format!("forward.port = {}\n", broker.port());
    let (stays, none) = (terminal("atm-1", here), "rules.bundled = []\n");
    let mut gateway = Process::start_with(dir, &format!("{none}{forward}{stays}"), &[]).await;
    let mut source = Source::connect(here).await;
    let secured = |address: SocketAddr| {
        let tls = "tls = { certificate = '/nowhere/c.pem', key = '/nowhere/k.pem', client = 'none' }";
        terminal("atm-2", address).replace(" }]", &format!(", {tls} }}]"))
    };
    let shared = format!(
        "[[listener]]\nname = 's'\nprotocol = 'jsonl'\nlisten = '{there}'\n\
         tls = {{ certificate = '/nowhere/c.pem', key = '/nowhere/k.pem', client = 'none' }}\n"
    );
    let cases = [
        (format!("{none}{forward}forward.tls.ca = '/nowhere/ca.pem'\n{stays}"), vec!["forward.tls"]),
        (
            format!("{none}{forward}forward.username = 'x'\nforward.password_file = '/nowhere/p'\n{stays}"),
            vec!["forward.password_file"],
        ),
        (format!("{none}rules.dir = '/nowhere'\n{forward}{stays}"), vec!["rules.dir"]),
        (format!("{none}rules.dir = '{{dir}}/plugins'\n{forward}{stays}"), vec!["rules.dir: cut.wasm"]),
        (format!("{none}{forward}{stays}{}", secured(there)), vec!["terminal[1].link[0].tls"]),
        (format!("{none}{forward}{stays}{shared}"), vec!["listener[0].tls"]),
        (format!("{none}{forward}{stays}{}", terminal("atm-2", taken)), vec!["terminal[1].link[0].listen"]),
        (
            format!("{none}{forward}http.tls = {{ certificate = '/nowhere/c.pem', key = '/nowhere/k.pem' }}\n{stays}"),
            vec!["http.tls"],
        ),
        (
            format!(
                "{none}rules.dir = '/nowhere'\n{forward}forward.tls.ca = '/nowhere/ca.pem'\n{stays}{}",
                secured(taken)
            ),
            vec!["rules.dir", "forward.tls", "terminal[1].link[0].tls", "terminal[1].link[0].listen"],
        ),
    ];
    for (nth, (text, keys)) in cases.into_iter().enumerate() {
        gateway.reload(&text);
        let refused = kind(&mut subscriber, "gateway.config_refused").await;
        let faults = refused["data"]["attributes"]["faults"].to_string();
        for key in keys {
            assert!(faults.contains(key), "{key} not in {faults}");
        }
        let detail = format!("after {nth}");
        say(&mut source, &detail).await;
        until(&mut subscriber, |event| event["data"]["detail"] == detail.as_str()).await;
        assert_eq!(gateway.figure("vestibule_config_fault").await, Some(1.0));
    }
    assert_eq!(gateway.figure("vestibule_config_reloads_total{outcome=\"applied\"}").await, None);
    assert!(TcpStream::connect(there).await.is_err(), "nothing of it was applied");
    // A serial line that is not there may still be plugged in.
    let serial = "[[terminal]]\nname = 'atm-2'\nprofile = 'triton'\n\
                  link = [{ name = 'journal', protocol = 'triton', serial = '/dev/nowhere' }]\n";
    gateway.reload(&format!("{none}{forward}{stays}{serial}"));
    let reloaded = kind(&mut subscriber, "gateway.config_reloaded").await;
    assert_eq!(reloaded["data"]["attributes"]["links_kept"], 1, "{reloaded}");
    say(&mut source, "the same connection").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_broker_hears_of_no_stop() {
    let broker = Mosquitto::start();
    let mut health = Subscriber::to(broker.port(), "vestibule/v1/+/gateway/+/health").await;
    let settings =
        |window| format!("rules.bundled = []\nforward.port = {}\nforward.window = {window}\n", broker.port());
    let mut gateway = Process::start(&settings(16)).await;
    let before = until(&mut health, |health| health["status"] == "online").await;
    gateway.reload(&settings(32));
    let next = health.next().await.json;
    assert_eq!(next["status"], "online", "{next}");
    assert_ne!(next["session"], before["session"], "another connection");
    gateway.stop().await;
    assert_eq!(health.next().await.json["status"], "stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_a_reload_hears_what_became_of_it() {
    let settings = |headers| format!("auth.loopback = 'open'\nrules.bundled = []\nhttp.max_headers = {headers}\n");
    let gateway = Process::start(&settings(40)).await;
    let file = gateway.dir().join("vestibule.toml");
    let config = file.to_str().expect("is text").to_owned();
    let http = gateway.http.to_string();
    let verb = async |arguments: [&str; 2]| {
        let arguments = arguments.map(str::to_owned);
        let ran = tokio::task::spawn_blocking(move || {
            std::process::Command::new(env!("CARGO_BIN_EXE_vestibule")).arg("reload").args(arguments).output()
        });
        let output = ran.await.expect("no panic").expect("runs");
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("is text"));
        (output.status.code(), out, err)
    };
    let text = std::fs::read_to_string(&file).expect("reads");
    let write = |from: &str, to: &str| std::fs::write(&file, text.replace(from, to)).expect("is written");
    write("max_headers = 40", "max_headers = 41");
    let (code, out, err) = verb(["--config", &config]).await;
    assert!(code == Some(0) && out.contains("changed: http"), "{code:?} {out} {err}");
    // What is against it: seen by the verb itself where it has the file, by the gateway where it has not.
    write("max_headers = 40", "max_headers = 0");
    for way in [["--config", &config], ["--http", &http]] {
        let (code, out, err) = verb(way).await;
        assert!(code == Some(78) && out.is_empty() && err.contains("http.max_headers"), "{code:?} {out} {err}");
    }
    assert_eq!(gateway.figure("vestibule_config_reloads_total{outcome=\"refused\"}").await, Some(1.0));
    write("max_headers = 40", "max_headers = 41");
    let (code, out, err) = verb(["--http", &http]).await;
    assert!(code == Some(0) && out.contains("changed: nothing"), "{code:?} {out} {err}");
    gateway.stop().await;
    // One that runs without a file, as in a test, has nothing to read again.
    let bare = crate::gateway::Running::start("").await;
    let (code, _, err) = verb(["--http", &bare.http.to_string()]).await;
    assert!(code == Some(69) && err.contains("without a configuration file"), "{code:?} {err}");
    bare.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_come_in_and_which_rules_are_in_force_change_while_it_runs() {
    let port = free_port();
    let link = terminal("atm-1", port);
    let mut gateway = Process::start(&format!("auth.loopback = 'open'\nrules.bundled = []\n{link}")).await;
    let mut source = Source::connect(port).await;
    assert!(gateway.get("/api/v1/terminals").await.status == 200);
    gateway.reload(&format!("rules.bundled = ['cash-low']\nhttp.max_headers = 32\n{link}"));
    gateway.until_figure("vestibule_rule_loaded{plugin=\"cash-low\"}", |value| value == 1.0).await;
    gateway.until_figure("vestibule_config_reloads_total{outcome=\"applied\"}", |value| value == 1.0).await;
    assert!(gateway.get("/api/v1/terminals").await.status == 401);
    source.say(b"{\"kind\":\"supply.low\",\"device\":\"cash_handler\",\"component\":\"cassette_2\"}\n").await;
    assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    gateway
        .until_figure("vestibule_events_appended_total{family=\"alert\",severity=\"warning\"}", |value| value == 1.0)
        .await;
    gateway.reload(&format!("auth.loopback = 'open'\nrules.bundled = []\n{link}"));
    gateway.until_figure("vestibule_config_reloads_total{outcome=\"applied\"}", |value| value == 2.0).await;
    assert!(gateway.get("/api/v1/terminals").await.status == 200);
    tokio::time::timeout(Duration::from_secs(5), gateway.stop()).await.expect("in time");
}
