//! Forwarding, from the log to a subscriber.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;
use vestibule::event::{Event, Kind};
use vestibule::forward::Config;

use crate::fake_broker::{Answer, FakeBroker};
use crate::forwarding::{DEADLINE, Gateway, HEALTH, eventually, sequence, to};
use crate::mosquitto::Mosquitto;
use crate::proxy::Proxy;
use crate::subscriber::{Heard, Subscriber};

/// Takes events until each place up to `last` was heard; answers how often each was.
pub(crate) async fn hear_all(subscriber: &mut Subscriber, last: u64) -> BTreeMap<u64, usize> {
    let mut heard = BTreeMap::new();
    let mut ids = BTreeSet::new();
    while u64::try_from(heard.len()).expect("small") < last {
        let Heard { json, .. } = subscriber.next().await;
        *heard.entry(sequence(&json)).or_default() += 1;
        ids.insert(json["id"].to_string());
    }
    assert_eq!(ids.len(), heard.len(), "one id for each event, whenever it is sent");
    assert_eq!(heard.keys().next_back(), Some(&last));
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_once_and_in_order_with_topic_and_envelope() {
    let broker = Mosquitto::start();
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/+/+/event/#").await;
    let mut gateway = Gateway::new();
    gateway.append("atm 1/ä", 600).await;
    let forwarder = gateway.forward(to(broker.port()));
    eventually(|| gateway.metrics.forward_connected.get() == 1).await;
    for _ in 0..40 {
        gateway.append("atm-2", 10).await;
    }
    let rows = gateway.log.read_after(0, 1000).expect("the log is read");
    for row in &rows {
        let heard = subscriber.next().await;
        let terminal = if row.seq <= 600 { "atm%201%2Fä" } else { "atm-2" };
        assert_eq!(heard.topic, format!("vestibule/v1/br001/{terminal}/event/supply/low"));
        assert_eq!(heard.content_type.as_deref(), Some("application/cloudevents+json"));
        assert!(!heard.retained);
        assert!(heard.text.ends_with(&format!(r#","data":{}}}"#, row.json)), "the stored bytes as they are");
        assert_eq!(heard.json["id"], json!(format!("{}-{}", gateway.log.id_prefix(), row.seq)));
        assert_eq!(heard.json["id"], heard.json["data"]["id"]);
        assert_eq!(heard.json["subject"], json!(row.event.terminal));
        assert_eq!(heard.json["sequence"], json!(row.seq.to_string()));
        assert_eq!(heard.json["terminalsequence"], json!(row.terminal_seq.to_string()));
        assert_eq!(heard.json["replayed"], json!(row.seq <= 600), "older than the connection or not");
    }
    gateway.eventually([1000, 0, 0, 0]).await;
    forwarder.stop(DEADLINE).await;

    // After a restart nothing is sent twice, and what was appended at stop is sent.
    gateway.restart();
    gateway.append("atm-2", 1).await;
    let forwarder = gateway.forward(to(broker.port()));
    assert_eq!(sequence(&subscriber.next().await.json), 1001);
    gateway.eventually([1001, 0, 0, 0]).await;
    gateway.append("atm-2", 100).await;
    forwarder.stop(DEADLINE).await;
    assert_eq!(gateway.counts(), [1101, 0, 0, 0], "a short rest is sent before the end");
    for seq in 1002..=1101 {
        assert_eq!(sequence(&subscriber.next().await.json), seq);
    }
    assert!(subscriber.rest().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_online_offline_and_stopped() {
    let broker = Mosquitto::start();
    let proxy = Proxy::start(broker.port()).await;
    let mut subscriber = Subscriber::to(broker.port(), HEALTH).await;
    let gateway = Gateway::new();
    let forwarder = gateway.forward(to(proxy.port()));
    let online = subscriber.next().await;
    assert_eq!(online.json["status"], json!("online"));
    assert_eq!(online.json["epoch"], json!(gateway.log.id_prefix()));
    assert_eq!(online.json["version"], json!(env!("CARGO_PKG_VERSION")));
    proxy.cut();
    let (mut offline, mut again) = (subscriber.next().await, subscriber.next().await);
    if again.json["status"] == json!("offline") {
        // The new connection may be faster than the broker's notice of the old one's end.
        std::mem::swap(&mut offline, &mut again);
    }
    assert_eq!((&offline.json["status"], &again.json["status"]), (&json!("offline"), &json!("online")));
    assert_eq!(offline.json["session"], online.json["session"], "the will names the session that broke");
    assert_ne!(again.json["session"], online.json["session"]);
    forwarder.stop(DEADLINE).await;
    let stopped = subscriber.next().await;
    assert_eq!(stopped.json["status"], json!("stopped"));
    assert_eq!(stopped.json["session"], again.json["session"]);
    let kept = Subscriber::to(broker.port(), HEALTH).await.next().await;
    assert!(kept.retained);
    assert_eq!(kept.json, stopped.json, "no will after a farewell");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_again_and_again_loses_nothing() {
    const EVENTS: usize = 20_000;
    let broker = Mosquitto::start();
    let proxy = Proxy::start(broker.port()).await;
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/br001/+/event/#").await;
    let mut gateway = Gateway::new();
    let mut forwarder = gateway.forward(to(proxy.port()));
    let mut heard: BTreeMap<u64, usize> = BTreeMap::new();
    for round in 0..10 {
        gateway.append("atm-1", EVENTS / 10).await;
        // Cut in the middle of the stream, at another place each time.
        for _ in 0..(100 + 150 * round) {
            *heard.entry(sequence(&subscriber.next().await.json)).or_default() += 1;
        }
        proxy.cut();
        if round % 4 == 3 {
            // The process dies without a word: what was not saved is sent again.
            drop(forwarder);
            gateway.restart();
            forwarder = gateway.forward(to(proxy.port()));
        }
    }
    while heard.len() < EVENTS {
        *heard.entry(sequence(&subscriber.next().await.json)).or_default() += 1;
    }
    gateway.eventually([i64::try_from(EVENTS).expect("small"), 0, 0, 0]).await;
    assert_eq!(heard.keys().copied().collect::<Vec<_>>(), (1..=20_000).collect::<Vec<_>>());
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_drains_by_itself_after_an_outage() {
    let broker = Mosquitto::start();
    let proxy = Proxy::start(broker.port()).await;
    proxy.refuse(true);
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/br001/+/event/#").await;
    let gateway = Gateway::new();
    let forwarder = gateway.forward(to(proxy.port()));
    for _ in 0..10 {
        gateway.append("atm-1", 1000).await;
    }
    gateway.eventually([0, 10_000, 0, 0]).await;
    proxy.refuse(false);
    let heard = hear_all(&mut subscriber, 10_000).await;
    assert!(heard.values().all(|times| *times == 1));
    gateway.eventually([10_000, 0, 0, 0]).await;
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_a_right_one_is_picked_up() {
    let users = "allow_anonymous false\npassword_file {dir}/users\n";
    // `right`, as mosquitto_passwd wrote it.
    let broker = Mosquitto::with(users, &[("users", &password_line("gateway", "right")), ("secret", "wrong\n")]);
    let gateway = Gateway::new();
    gateway.append("atm-1", 10).await;
    let config = Config {
        username: Some("gateway".to_owned()),
        password_file: Some(broker.file("secret")),
        ..to(broker.port())
    };
    let forwarder = gateway.forward(config);
    eventually(|| gateway.metrics.forward_connections.with_label_values(&["refused"]).get() > 1).await;
    gateway.eventually([0, 10, 0, 0]).await;
    std::fs::write(broker.file("secret"), "right\n").expect("the password is written");
    gateway.eventually([10, 0, 0, 0]).await;
    forwarder.stop(DEADLINE).await;
}

/// A line of mosquitto's password file.
fn password_line(name: &str, password: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("users");
    let made =
        std::process::Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&path).args([name, password]).output();
    assert!(made.expect("mosquitto_passwd is installed").status.success());
    std::fs::read_to_string(path).expect("the password file is read")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_never_takes_is_set_aside_and_what_it_forbids_waits() {
    let acl = "topic readwrite #\n";
    let denied = "topic deny vestibule/v1/br001/vault/#\n";
    let config = "allow_anonymous true\nmax_packet_size 3000\nacl_file {dir}/acl\n";
    let broker = Mosquitto::with(config, &[("acl", &format!("{denied}{acl}"))]);
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/br001/atm-1/event/#").await;
    let gateway = Gateway::new();
    let forwarder = gateway.forward(to(broker.port()));
    gateway.append("atm-1", 3).await;
    gateway.append("vault", 2).await;
    let mut large = Event::new(Kind::SupplyLow).detail("x".repeat(4000));
    large.terminal = "atm-1".to_owned();
    gateway.append_all(vec![large.into()]).await;
    gateway.append("atm-1", 4).await;
    for seq in [1, 2, 3, 7, 8, 9, 10] {
        assert_eq!(sequence(&subscriber.next().await.json), seq);
    }
    gateway.eventually([7, 2, 1, 0]).await;
    // What an access list forbids waits until somebody mends the list.
    std::fs::write(broker.file("acl"), acl).expect("writes");
    broker.reload();
    gateway.eventually([9, 0, 1, 0]).await;
    assert_eq!(gateway.metrics.forward_connections.with_label_values(&["connected"]).get(), 1, "no reconnection");
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_answers_backwards_and_hangs_up_gets_everything() {
    for receive_max in [None, Some(1), Some(7)] {
        let mut broker = FakeBroker::start(receive_max, |taken| match (taken.connection, taken.place) {
            (connection, place) if connection < 4 && place == 37 * connection => Answer::HangUp,
            _ => Answer::Ack(if taken.place % 2 == 0 { 0x00 } else { 0x10 }),
        })
        .await;
        let gateway = Gateway::new();
        gateway.append("atm-1", 3000).await;
        let forwarder = gateway.forward(to(broker.port));
        gateway.eventually([3000, 0, 0, 0]).await;
        forwarder.stop(DEADLINE).await;
        let (mut seen, mut states) = (BTreeSet::new(), Vec::new());
        while let Ok(taken) = broker.accepted.try_recv() {
            if taken.topic.contains("/event/") {
                seen.insert(sequence(&taken.json));
            } else if taken.topic != HEALTH {
                states.push(taken.topic);
            }
        }
        assert!(states.iter().all(|topic| topic == "vestibule/v1/br001/atm-1/state"), "{states:?}");
        assert!((1..=8).contains(&states.len()), "one a connection, again where it was not answered: {}", states.len());
        assert_eq!(seen.len(), 3000, "nothing counts that the broker had not read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_acknowledgement_ends_the_connection_and_the_event_is_sent_again() {
    let broker = FakeBroker::start(None, |taken| match (taken.connection, taken.place) {
        (0, 50) => Answer::Silence,
        _ => Answer::Ack(0),
    })
    .await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 500).await;
    let forwarder = gateway.forward(Config { ack_timeout_s: 1, ..to(broker.port) });
    gateway.eventually([500, 0, 0, 0]).await;
    assert_eq!(gateway.metrics.forward_connections.with_label_values(&["connected"]).get(), 2);
    assert_eq!(gateway.metrics.forward_published.get(), 500, "only the one without an answer is sent again");
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_puts_off_is_sent_again_on_the_same_connection() {
    // Quota exceeded for every tenth event, the first time it comes.
    let seen = std::sync::Mutex::new(BTreeSet::new());
    let mut broker = FakeBroker::start(Some(20), move |taken| match taken.json["sequence"].as_str() {
        Some(seq) if seq.ends_with('0') && seen.lock().expect("not poisoned").insert(seq.to_owned()) => {
            Answer::Ack(0x97)
        }
        _ => Answer::Ack(0),
    })
    .await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 100).await;
    let forwarder = gateway.forward(to(broker.port));
    gateway.eventually([100, 0, 0, 0]).await;
    assert_eq!(gateway.metrics.forward_connections.with_label_values(&["connected"]).get(), 1);
    forwarder.stop(DEADLINE).await;
    let again: Vec<_> = std::iter::from_fn(|| broker.accepted.try_recv().ok())
        .filter(|taken| taken.json["sequence"].as_str().is_some_and(|seq| seq.ends_with('0')))
        .collect();
    assert_eq!(again.len(), 10);
    assert!(again.iter().all(|taken| taken.json["replayed"] == json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_allows_fewer_is_never_given_more() {
    // The broker itself looks that no connection has more in flight than it allowed.
    let allows = |connection| [Some(40), Some(3), None].get(connection).copied().unwrap_or(Some(7));
    let broker = FakeBroker::allowing(allows, |taken| match (taken.connection, taken.place) {
        (0..3, 90) => Answer::HangUp,
        // The next connection begins with all of these.
        (0..3, 60..) => Answer::Silence,
        _ => Answer::Ack(0),
    })
    .await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 2000).await;
    let forwarder = gateway.forward(Config { ack_timeout_s: 1, ..to(broker.port) });
    gateway.eventually([2000, 0, 0, 0]).await;
    assert_eq!(gateway.metrics.forward_connections.with_label_values(&["connected"]).get(), 4);
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_up_at_once_is_not_hammered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gateway = Gateway::new();
    let forwarder = gateway.forward(to(listener.local_addr().expect("bound").port()));
    drop(listener.accept().await.expect("a connection"));
    let begun = Instant::now();
    for _ in 0..4 {
        drop(listener.accept().await.expect("a connection"));
    }
    // Pauses of 200, 400, 800 and 1,600 ms, of which chance takes half at most.
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_never_answers_our_greeting_is_given_up_in_the_time_that_was_set() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gateway = Gateway::new();
    let port = listener.local_addr().expect("bound").port();
    let forwarder = gateway.forward(Config { connect_timeout_s: 1, ..to(port) });
    let (_silent, _) = listener.accept().await.expect("a connection");
    eventually(|| gateway.metrics.forward_connections.with_label_values(&["timeout"]).get() == 1).await;
    let _another = listener.accept().await.expect("it tries again");
    assert_eq!(gateway.metrics.forward_connected.get(), 0);
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_cost_no_commit_each() {
    let broker = FakeBroker::start(Some(1), |_| Answer::Ack(0)).await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 3000).await;
    let (commits, begun) = (gateway.metrics.log_commits.get(), Instant::now());
    let forwarder = gateway.forward(to(broker.port));
    gateway.eventually([3000, 0, 0, 0]).await;
    forwarder.stop(DEADLINE).await;
    // One a second, and one at the end: each of 3,000 came alone.
    let most = begun.elapsed().as_secs() + 2;
    let commits = gateway.metrics.log_commits.get() - commits;
    assert!(commits <= most, "{commits} commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_without_a_broker_takes_no_time() {
    let gateway = Gateway::new();
    gateway.append("atm-1", 5).await;
    let forwarder = gateway.forward(to(crate::mosquitto::free_port()));
    eventually(|| gateway.metrics.forward_connections.with_label_values(&["unreachable"]).get() > 0).await;
    tokio::time::timeout(Duration::from_secs(5), forwarder.stop(DEADLINE)).await.expect("it stops at once");
    assert_eq!(gateway.counts(), [0, 5, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_stops_ends_the_forwarder() {
    let broker = Mosquitto::start();
    let gateway = Gateway::new();
    let mut forwarder = gateway.forward(to(broker.port()));
    eventually(|| gateway.metrics.forward_connected.get() == 1).await;
    gateway.log.close();
    tokio::time::timeout(DEADLINE, forwarder.ended()).await.expect("it ends");
}
