//! The ways of commands to a broker: versions of MQTT, TLS, files that change, several brokers.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::commands::{connected, publish};
use crate::gateway::{DEADLINE, Running};
use crate::mosquitto::{Mosquitto, free_port};
use crate::subscriber::Subscriber;

/// A terminal whose power nobody can switch: `restart` ends at once.
const TERMINAL: &str = "[[terminal]]\nname = \"atm-01\"\nprofile = \"ncr-selfserv-ndc\"\n";
const RESULTS: &str = "vestibule/v1/branch/+/command/+/result";

fn topic(id: &str) -> String {
    format!("vestibule/v1/branch/atm-01/command/{id}")
}

fn settings(more: &str) -> String {
    format!("commands.mqtt = true\ncommands.mqtt_trust = \"broker\"\n{more}{TERMINAL}")
}

async fn restart(port: u16, id: &str) {
    publish(port, &topic(id), &json!({"verb": "restart"})).await;
}

async fn told(results: &mut Subscriber) -> (String, Value) {
    let told = results.next().await;
    let id = told.json["id"].as_str().expect("an id").to_owned();
    (id, told.json["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_both_versions_by_tls_and_not_the_broker_keeps_them() {
    let authority = Authority::new();
    let signed = authority.sign("127.0.0.1", (2025, 2090));
    for version in ["5", "3.1.1"] {
        for by_tls in [false, true] {
            // Two listeners: the gateway's, by TLS or not, and ours.
            let plain = free_port();
            let own = if by_tls { "cafile {dir}/ca\ncertfile {dir}/cert\nkeyfile {dir}/key\n" } else { "" };
            let lines = format!("allow_anonymous true\n{own}listener {plain} 127.0.0.1\n");
            let files = [("ca", authority.pem.as_str()), ("cert", &signed.certificate), ("key", &signed.key)];
            let broker = Mosquitto::with(&lines, &files);
            let tls = if by_tls { format!("forward.tls.ca = {:?}\n", broker.file("ca")) } else { String::new() };
            let rest = settings(&format!("forward.port = {}\nforward.version = \"{version}\"\n{tls}", broker.port()));
            let mut results = Subscriber::to(plain, RESULTS).await;
            let gateway = Running::start(&rest).await;
            connected(gateway.http).await;
            restart(plain, "a").await;
            assert_eq!(told(&mut results).await, ("a".to_owned(), json!("unsupported")));
            let dir = gateway.stop_and_keep().await;
            restart(plain, "b").await;
            // What is no command, and far too large, stops none that comes behind it.
            publish(plain, &topic("c"), &json!("x".repeat(200_000))).await;
            publish(plain, &topic("d"), &json!(["no command"])).await;
            restart(plain, "e").await;
            let gateway = Running::start_in(dir, &rest).await;
            // With MQTT 5 the broker knows what is too large, and keeps it to itself.
            let all = [("b", "unsupported"), ("c", "bad_request"), ("d", "bad_request"), ("e", "unsupported")];
            let expected: BTreeSet<_> = all.into_iter().filter(|(id, _)| *id != "c" || version == "3.1.1").collect();
            let mut heard = BTreeSet::new();
            while heard.len() < expected.len() {
                let (id, code) = told(&mut results).await;
                // How the first ended may be told once more: nobody knows whether the broker has heard it.
                if id != "a" {
                    heard.insert((id, code.as_str().expect("a word").to_owned()));
                }
            }
            let heard: BTreeSet<_> = heard.iter().map(|(id, code)| (id.as_str(), code.as_str())).collect();
            assert_eq!(heard, expected, "{version} {by_tls}");
            gateway.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_is_taken_up_and_the_next_broker_takes_over() {
    let plain = free_port();
    let lines = format!(
        "per_listener_settings true\nallow_anonymous false\npassword_file {{dir}}/passwords\n\
         listener {plain} 127.0.0.1\nallow_anonymous true\n"
    );
    let broker = Mosquitto::with(&lines, &[("passwords", "")]);
    set_password(&broker, "one");
    let secret = broker.file("secret");
    std::fs::write(&secret, "one\n").expect("is written");
    let dead = free_port();
    let rest = settings(&format!(
        "forward.brokers = [\"mqtt://127.0.0.1:{dead}\", \"mqtt://127.0.0.1:{}\"]\nforward.username = \"gateway\"\n\
         forward.password_file = {secret:?}\n",
        broker.port()
    ));
    let mut results = Subscriber::to(plain, RESULTS).await;
    let gateway = Running::start(&rest).await;
    connected(gateway.http).await;
    restart(plain, "a").await;
    assert_eq!(told(&mut results).await.0, "a");
    // The broker knows another password now, and throws nobody out; the file then makes a new connection.
    set_password(&broker, "another");
    std::fs::write(&secret, "another\n").expect("is written");
    let again = async {
        while !crate::http::get(gateway.http, "/metrics")
            .await
            .contains("vestibule_commands_connections_total{outcome=\"connected\"} 2")
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, again).await.expect("a new connection");
    restart(plain, "b").await;
    assert_eq!(told(&mut results).await.0, "b");
    gateway.stop().await;
}

fn set_password(broker: &Mosquitto, password: &str) {
    let file = broker.file("passwords");
    let made = std::process::Command::new("mosquitto_passwd").arg("-b").arg(&file).args(["gateway", password]).output();
    assert!(made.expect("mosquitto_passwd is installed").status.success());
    broker.reload();
}
