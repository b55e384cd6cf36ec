//! What becomes no command: who hears of it, on which topic, and in which events.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use vestibule::event::Kind;
use vestibule::log::Stored;

use crate::client::{Answer, talk};
use crate::commands::{connected, publish, retain};
use crate::desk::Desk;
use crate::gateway::Running;
use crate::mosquitto::Mosquitto;
use crate::subscriber::Subscriber;

/// Terminals whose power nobody can switch: `restart` ends at once.
const TERMINALS: &str = "[[terminal]]\nname = \"atm-01\"\nprofile = \"ncr-selfserv-ndc\"\n\
                         [[terminal]]\nname = \"atm.02\"\nprofile = \"ncr-selfserv-ndc\"\n";
const FRONT: &str = "vestibule/v1/branch/";

fn refusal(code: &'static str, by: &'static str) -> impl Fn(&Stored) -> bool {
    move |stored| {
        stored.event.kind == Kind::CommandRefused
            && stored.event.attributes.get("code") == Some(&json!(code))
            && stored.event.attributes.get("by") == Some(&json!(by))
    }
}

fn restart() -> Value {
    json!({"verb": "restart"})
}

#[tokio::test]
async fn a_terminal_is_found_by_its_level_and_by_its_name_and_one_that_is_not_there_is_said_so() {
    let broker = Mosquitto::start();
    let rest = format!(
        "forward.port = {}\ncommands.mqtt = true\ncommands.mqtt_trust = \"broker\"\n{TERMINALS}",
        broker.port()
    );
    let mut results = Subscriber::to(broker.port(), &format!("{FRONT}+/command/+/result")).await;
    let gateway = Running::start(&rest).await;
    connected(gateway.http).await;
    // What may be a card number is said again nowhere, however it is written.
    for level in ["5105105105105100", "%35105105105105100"] {
        publish(broker.port(), &format!("{FRONT}{level}/command/0"), &restart()).await;
    }
    for (topic, told, code) in [
        ("atm%2E02/command/1", "atm%2E02/command/1/result", "unsupported"),
        ("atm.02/command/2", "atm%2E02/command/2/result", "unsupported"),
        ("atm%2E03/command/3", "atm%2E03/command/3/result", "unknown_terminal"),
        ("nowhere/command/4", "nowhere/command/4/result", "unknown_terminal"),
    ] {
        publish(broker.port(), &format!("{FRONT}{topic}"), &restart()).await;
        let heard = results.next().await;
        assert_eq!(heard.topic, format!("{FRONT}{told}"));
        assert_eq!((&heard.json["state"], &heard.json["code"]), (&json!("refused"), &json!(code)), "{heard:?}");
    }
    let refused = gateway.event("a refusal", refusal("unknown_terminal", "broker")).await;
    assert_eq!(refused.event.terminal, "gateway");
    let figures = crate::http::get(gateway.http, "/metrics").await;
    assert!(
        figures.contains("vestibule_commands_total{outcome=\"unknown_terminal\",source=\"mqtt\"} 4\n"),
        "{figures}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_retained_message_is_none_unless_it_is_one_that_is_known() {
    for version in ["5", "3.1.1"] {
        let broker = Mosquitto::start();
        let rest = format!(
            "forward.port = {}\nforward.version = \"{version}\"\ncommands.mqtt = true\ncommands.mqtt_trust = \"broker\"\n{TERMINALS}",
            broker.port()
        );
        let mut results = Subscriber::to(broker.port(), &format!("{FRONT}+/command/+/result")).await;
        let gateway = Running::start(&rest).await;
        connected(gateway.http).await;
        let topic = |id: &str| format!("{FRONT}atm-01/command/{id}");
        publish(broker.port(), &topic("known"), &restart()).await;
        assert_eq!(results.next().await.json["code"], "unsupported");
        retain(broker.port(), &topic("known"), &restart()).await;
        assert_eq!(results.next().await.json["code"], "unsupported", "it is the same command");
        retain(broker.port(), &topic("new"), &restart()).await;
        // Only MQTT 5 can say of what is published now that it is kept.
        let code = if version == "5" { "bad_request" } else { "unsupported" };
        assert_eq!(results.next().await.json["code"], code, "{version}");
        let dir = gateway.stop_and_keep().await;
        let gateway = Running::start_in(dir, &rest).await;
        connected(gateway.http).await;
        publish(broker.port(), &topic("last"), &restart()).await;
        loop {
            let heard = results.next().await;
            // What was said just before the stop may be brought and said again.
            let expected = if heard.json["id"] == "new" { code } else { "unsupported" };
            assert_eq!(heard.json["code"], expected, "{version} {heard:?}");
            if heard.json["id"] == "last" {
                break;
            }
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn the_topic_of_a_command_tells_of_that_command_alone() {
    let desk = Desk::new();
    let [operator, viewer] = ["operator", "viewer"].map(|role| desk.add(role));
    let broker = Mosquitto::start();
    let rest = format!("forward.port = {}\ncommands.mqtt = true\n{}{TERMINALS}", broker.port(), desk.setting());
    let mut results = Subscriber::to(broker.port(), &format!("{FRONT}+/command/+/result")).await;
    let gateway = Running::closed(&rest).await;
    connected(gateway.http).await;
    let topic = |id: &str| format!("{FRONT}atm-01/command/{id}");
    publish(broker.port(), &topic("m1"), &json!({"verb": "restart", "token": operator})).await;
    assert_eq!(results.next().await.json["code"], "unsupported");
    let another = json!({"verb": "reset", "token": operator});
    for payload in
        [json!({"verb": "restart", "token": viewer}), json!({"verb": "restart", "token": "vst_x"}), another.clone()]
    {
        publish(broker.port(), &topic("m1"), &payload).await;
    }
    publish(broker.port(), &topic("m2"), &json!({"verb": "restart", "token": operator})).await;
    let next = results.next().await;
    assert_eq!(next.json["id"], "m2", "what is not m1's is not told as m1's: {next:?}");
    // Each who tried has an event of their own.
    for code in ["forbidden", "unauthorised", "conflict"] {
        let refused = gateway
            .event(code, |stored| {
                stored.event.kind == Kind::CommandRefused && stored.event.attributes.get("code") == Some(&json!(code))
            })
            .await;
        assert_eq!(refused.event.terminal, "atm-01");
        assert_eq!(refused.event.attributes["command_id"], "m1");
    }
    // At another terminal the id is not m1's topic.
    publish(broker.port(), &format!("{FRONT}atm%2E02/command/m1"), &another).await;
    assert_eq!(results.next().await.json["code"], "conflict");
    gateway.stop().await;
}

#[tokio::test]
async fn guessing_is_slowed_and_a_good_token_passes() {
    let desk = Desk::new();
    let operator = desk.add("operator");
    let broker = Mosquitto::start();
    let rest = format!("forward.port = {}\ncommands.mqtt = true\n{}{TERMINALS}", broker.port(), desk.setting());
    let mut results = Subscriber::to(broker.port(), &format!("{FRONT}+/command/+/result")).await;
    let gateway = Running::closed(&rest).await;
    connected(gateway.http).await;
    let mut slowed = 0;
    for guess in 0..12 {
        let payload = json!({"verb": "restart", "token": format!("vst_guess_{guess}")});
        publish(broker.port(), &format!("{FRONT}atm-01/command/g{guess}"), &payload).await;
        let heard = results.next().await;
        assert_eq!(heard.json["code"], "unauthorised", "{heard:?}");
        slowed += usize::from(heard.json["detail"].as_str().expect("a reason").contains("too many bad tokens"));
    }
    assert!(slowed > 0);
    publish(broker.port(), &format!("{FRONT}atm-01/command/good"), &json!({"verb": "restart", "token": operator}))
        .await;
    assert_eq!(results.next().await.json["code"], "unsupported", "it is taken all the same");
    gateway.stop().await;
}

async fn post(gateway: &Running, token: &str, body: &str) -> Answer {
    let text = format!(
        "POST /api/v1/commands HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    talk(TcpStream::connect(gateway.http).await.expect("connects"), &text).await
}

#[tokio::test]
async fn by_http_each_who_is_refused_has_an_event_at_once_and_one_for_the_rest() {
    let desk = Desk::new();
    let tokens = [(); 4].map(|()| desk.add("operator"));
    let gateway = Running::closed(&format!("{}{TERMINALS}", desk.setting())).await;
    let one = |terminal: &str, verb: &str| json!({"terminal": terminal, "verb": verb, "id": "x"}).to_string();
    assert_eq!(post(&gateway, &tokens[0], &one("atm-01", "restart")).await.code(), "unsupported");
    let attempts =
        [one("nobody", "restart"), one("atm-01", "reset"), "{\"colour\":".to_owned(), one("atm-01", "dance")];
    let codes = ["unknown_terminal", "conflict", "bad_request", "bad_request"];
    for ((token, body), code) in tokens.iter().zip(&attempts).zip(codes) {
        for _ in 0..3 {
            assert_eq!(post(&gateway, token, body).await.code(), code, "{body}");
        }
    }
    let all = async || {
        let all = gateway.log.read_after(0, 10_000).expect("reads");
        let refused =
            all.into_iter().map(|stored| stored.event.clone()).filter(|event| event.kind == Kind::CommandRefused);
        refused.filter(|event| event.attributes.contains_key("count")).collect::<Vec<_>>()
    };
    let begun = std::time::Instant::now();
    let mut events = all().await;
    while events.len() < 4 {
        assert!(begun.elapsed() < crate::gateway::DEADLINE, "{events:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        events = all().await;
    }
    let told: Vec<_> = events.iter().map(|event| event.attributes["code"].as_str().expect("a word")).collect();
    assert_eq!(told, codes);
    assert!(events.iter().all(|event| event.attributes["address"] == "127.0.0.1"), "{events:?}");
    gateway.stop().await;
}
