//! Restarts by a switch: a relay that hears MQTT.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::atm::Atm;
use crate::commands::{ask, terminal, until};
use crate::gateway::{Running, free_port};
use crate::mosquitto::Mosquitto;
use crate::subscriber::Subscriber;

#[tokio::test]
async fn a_relay_switches_the_power_off_and_on() {
    let broker = Mosquitto::start();
    let address = free_port();
    let rest = format!(
        "forward.port = {}\n{}",
        broker.port(),
        terminal(
            address,
            "restart = { mqtt_topic = \"relay/3/set\", payload_off = \"0\", payload_on = \"1\", off_s = 1 }\n"
        )
    );
    let mut relay = Subscriber::to(broker.port(), "relay/#").await;
    let gateway = Running::start(&rest).await;
    ask(gateway.http, json!({"id": "r", "terminal": "atm-01", "verb": "restart"})).await;
    let begun = Instant::now();
    assert_eq!([relay.next().await.text, relay.next().await.text], ["0", "1"]);
    assert!(begun.elapsed() >= Duration::from_millis(900));
    until(gateway.http, "r", "done").await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_relay_that_the_broker_forbids_refuses_the_restart_and_blocks_nothing() {
    let acl = "topic readwrite vestibule/#\ntopic read relay/#\n";
    let broker = Mosquitto::with("allow_anonymous true\nacl_file {dir}/acl\n", &[("acl", acl)]);
    let address = free_port();
    let rest = format!(
        "forward.port = {}\n{}",
        broker.port(),
        terminal(address, "restart = { mqtt_topic = \"relay/3/set\", off_s = 1 }\n")
    );
    let gateway = Running::start(&rest).await;
    let mut atm = Atm::connect(address).await;
    ask(gateway.http, json!({"id": "r", "terminal": "atm-01", "verb": "restart"})).await;
    let refused = until(gateway.http, "r", "refused").await;
    assert!(refused["detail"].as_str().expect("a reason").contains("relay/3/set"), "{refused}");
    ask(gateway.http, json!({"id": "n", "terminal": "atm-01", "verb": "in_service"})).await;
    assert_eq!(atm.asked().await, "1");
    atm.say("22|001000001|||9").await;
    until(gateway.http, "n", "done").await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_restart_overtakes_what_a_hung_terminal_does_not_answer() {
    let broker = Mosquitto::start();
    let address = free_port();
    let rest = format!(
        "forward.port = {}\ncommands.max_waiting = 2\n{}",
        broker.port(),
        terminal(
            address,
            "restart = { mqtt_topic = \"relay/3/set\", payload_off = \"0\", payload_on = \"1\", off_s = 1 }\n"
        )
    );
    let mut relay = Subscriber::to(broker.port(), "relay/#").await;
    let gateway = Running::start(&rest).await;
    let mut atm = Atm::connect(address).await;
    for id in ["out", "waits"] {
        let body = json!({"id": id, "terminal": "atm-01", "verb": "in_service"});
        assert_eq!(ask(gateway.http, body).await.status, 202);
    }
    assert_eq!(atm.asked().await, "1");
    let full = ask(gateway.http, json!({"id": "more", "terminal": "atm-01", "verb": "in_service"})).await;
    assert_eq!(full.code(), "busy");
    assert_eq!(ask(gateway.http, json!({"id": "r", "terminal": "atm-01", "verb": "restart"})).await.status, 202);
    assert_eq!(relay.next().await.text, "0");
    assert_eq!(until(gateway.http, "out", "unknown").await["code"], "power_cut");
    assert_eq!(relay.next().await.text, "1");
    until(gateway.http, "r", "done").await;
    atm.hears_nothing().await;
    // The terminal comes back, and is told what waited.
    drop(atm);
    let mut atm = Atm::connect(address).await;
    assert_eq!(atm.asked().await, "1");
    atm.say("22|001000001|||9").await;
    until(gateway.http, "waits", "done").await;
    gateway.stop().await;
}
