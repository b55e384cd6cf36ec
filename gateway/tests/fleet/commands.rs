//! Commands by way of each broker, set up by its recipe with TLS: whoever has a certificate is who it says, commands reach the
//! terminal and their results the commander, a relay is switched, and nobody else gives a command or reads one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vestibule::simulate::script::LOBBY;
use vestibule::simulate::{Pace, Retry, ndc};

use crate::certificates::Authority;
use crate::client::{Client, files};
use crate::gateways::{self, Gateway};
use crate::process::until;
use crate::python::docs;
use crate::reader::Reader;
use crate::recipes::{COMMANDER, READER, site};
use crate::{ALONE, host, recipes};

const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_carries_commands_to_whom_the_certificates_name() {
    let _alone = ALONE.lock().await;
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let broker = recipes::mosquitto(dir.path(), 2, Some(&authority)).await;
    carried(dir.path(), &authority, "5", &[broker.mqtt]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_carries_commands_to_whom_the_certificates_name() {
    let _alone = ALONE.lock().await;
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let cluster = recipes::nats(dir.path(), 2, Some(&authority)).await;
    carried(dir.path(), &authority, "3.1.1", &cluster.addresses(0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_carries_commands_to_whom_the_certificates_name() {
    let _alone = ALONE.lock().await;
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    // One node does: what several of them do is the survival test's.
    let cluster = recipes::rabbitmq(dir.path(), 2, 1, Some(&authority)).await;
    carried(dir.path(), &authority, "3.1.1", &cluster.addresses(0)).await;
}

async fn carried(dir: &Path, authority: &Authority, version: &'static str, brokers: &[SocketAddr]) {
    let [ca, certificate, key] = files(authority, dir, "subscriber", READER).map(|file| file.display().to_string());
    let login = ["--ca", &ca, "--cert", &certificate, "--key", &key];
    let mut subscriber = Reader::start_as(dir, "reader-table", brokers.to_vec(), version, &login).await;
    let lobby = SocketAddr::from((host(10), 4900));
    let mut gateway = start(dir, authority, version, brokers, lobby);
    gateway.ready().await;
    gateway.shows("vestibule_commands_connected 1").await;
    let stop = CancellationToken::new();
    let terminal = ndc::Terminal {
        address: lobby,
        luno: "002".to_owned(),
        script: LOBBY,
        seed: 3,
        tempo: Pace::percent(400).into(),
        retry: Retry { first: Duration::from_millis(20), most: Duration::from_millis(200) },
    };
    let terminal = tokio::spawn(terminal.run(stop.clone()));

    // The last of the brokers: in a cluster it is not the gateway's own.
    let at = *brokers.last().unwrap();
    let client = |user: &str| Client::by_certificate(at, version, user, authority, dir);
    let (own, other, relay) = (client(&site(0)), client(&site(1)), client(&format!("{}-relay", site(0))));
    let (commander, reader) = (client(COMMANDER), client(READER));
    let results = "vestibule/v1/+/+/command/+/result";
    let (to_commander, to_reader) = (commander.listen(dir, results).await, reader.listen(dir, results).await);
    let to_relay = relay.listen(dir, &format!("relay/{}/#", site(0))).await;
    let commands = format!("vestibule/v1/{}/+/command/+", site(0));
    let mut curious = Vec::new();
    for (client, topic) in [
        (&reader, commands.as_str()),
        (&reader, "vestibule/v1/#"),
        (&other, &commands),
        (&relay, &commands),
        (&relay, "vestibule/v1/#"),
        (&commander, &commands),
    ] {
        curious.push(client.listen(dir, topic).await);
    }

    let topic = |id: &str| format!("vestibule/v1/{}/lobby/command/{id}", site(0));
    let counters = r#"{"verb":"counters","args":{"set":"basic"},"ttl_s":77}"#;
    for (who, client) in [("reader", &reader), ("own", &own), ("other", &other), ("relay", &relay)] {
        client.publish(&topic(&format!("stolen-by-{who}")), &["-m", counters]);
    }
    assert_eq!(commander.publish(&topic("one"), &["-m", counters]), "");
    to_commander.hears(&["/lobby/command/one/result", "\"done\""]).await;
    to_reader.hears(&["/lobby/command/one/result", "\"done\""]).await;
    assert_eq!(commander.publish(&topic("two"), &["-m", r#"{"verb":"restart"}"#]), "");
    to_relay.hears(&["relay/", "/lobby/set OFF"]).await;
    to_relay.hears(&["relay/", "/lobby/set ON"]).await;
    to_commander.hears(&["/lobby/command/two/result", "\"done\""]).await;

    assert!(!to_commander.text().contains("stolen"), "somebody else gave a command:\n{}", to_commander.text());
    for curious in &curious {
        assert!(!curious.text().contains("ttl_s"), "a command was read:\n{}", curious.text());
    }
    stop.cancel();
    terminal.await.unwrap();
    let settled = async || (gateway.books().await.pending == 0).then_some(());
    until(WITHIN, || "the gateway does not get rid of its events".into(), settled).await;
    subscriber.reaches(gateway.books().await.appended).await;
    assert!(subscriber.figure("SELECT count(*) FROM events WHERE kind LIKE 'command.%'") > 0);
    assert_eq!(subscriber.gaps(), serde_json::json!([]));
    gateways::stop(vec![gateway]).await;
    subscriber.stop().await;
}

/// `docs/fleet/branch-tls.toml` with this machine's names, and a terminal that is commanded.
fn start(dir: &Path, authority: &Authority, version: &str, brokers: &[SocketAddr], lobby: SocketAddr) -> Gateway {
    let dir = dir.join("gateway");
    std::fs::create_dir(&dir).unwrap();
    let [ca, certificate, key] = files(authority, &dir, "gateway", &site(0)).map(|file| file.display().to_string());
    let brokers: Vec<String> = brokers.iter().map(|broker| format!("\"mqtts://{broker}\"")).collect();
    let mut text = std::fs::read_to_string(docs("fleet/branch-tls.toml")).unwrap();
    for (recipe, here) in [
        ("gw-001", "gw-000".to_owned()),
        ("branch-001", site(0)),
        (r#"["mqtts://broker-1", "mqtts://broker-2", "mqtts://broker-3"]"#, format!("[{}]", brokers.join(", "))),
        (r#"version = "3.1.1""#, format!("version = \"{version}\"")),
        ("/etc/vestibule/brokers-ca.pem", ca),
        ("/etc/vestibule/gateway.pem", certificate),
        ("/etc/vestibule/gateway.key", key),
    ] {
        assert!(text.contains(recipe), "branch-tls.toml has no {recipe}");
        text = text.replace(recipe, &here);
    }
    let http = SocketAddr::from((host(10), 8080));
    text.push_str(&format!(
        "[log]\ndir = {data:?}\n[http]\nlisten = \"{http}\"\n[rules]\nbundled = []\n\
         [[terminal]]\nname = \"lobby\"\nprofile = \"ncr-selfserv-ndc\"\nluno = \"002\"\n\
         restart = {{ mqtt_topic = \"relay/{site}/lobby/set\", off_s = 1 }}\n\
         link = [{{ name = \"ndc\", protocol = \"ndc\", listen = \"{lobby}\", commands = true }}]\n",
        data = dir.join("data"),
        site = site(0),
    ));
    Gateway::run(&dir, &text, lobby, http)
}
