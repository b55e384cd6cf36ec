//! What becomes of a backlog: its order, what overtakes it, what is set aside and replayed, what goes in batches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use vestibule::event::{Event, Kind, Severity};
use vestibule::forward::{Batching, Config, Order, Version};
use vestibule::log::{DeadLetter, NewEvent};

use crate::fake_broker::{Answer, FakeBroker, Taken};
use crate::forwarding::{DEADLINE, Gateway, HEALTH, eventually, sequence, to};
use crate::mosquitto::Mosquitto;
use crate::subscriber::Subscriber;

fn critical(terminal: &str) -> NewEvent {
    let mut event = Event::new(Kind::SupplyLow).detail("at once");
    event.severity = Severity::Critical;
    event.terminal = terminal.to_owned();
    event.into()
}

fn large(terminal: &str) -> NewEvent {
    let mut event = Event::new(Kind::SupplyLow).detail("x".repeat(30_000));
    event.terminal = terminal.to_owned();
    event.into()
}

/// What was set aside, once it is written: that waits for company for a second.
async fn letters(gateway: &Gateway, count: usize) -> Vec<DeadLetter> {
    eventually(|| gateway.log.dead_letters(0, 9).expect("reads").len() == count).await;
    gateway.log.dead_letters(0, 9).expect("reads")
}

/// The events that the broker acknowledged, in its order: place, and whether they were marked as replayed.
fn accepted(broker: &mut FakeBroker) -> Vec<(u64, bool)> {
    let taken = std::iter::from_fn(|| broker.accepted.try_recv().ok()).filter(|taken| taken.topic.contains("/event/"));
    taken.map(|taken| (sequence(&taken.json), taken.json["replayed"] == json!(true))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_replayed_below_the_floor_while_others_are_sent() {
    let broker = Mosquitto::start();
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/+/+/event/#").await;
    let mut gateway = Gateway::new();
    gateway.append("atm-1", 50).await;
    gateway.append_all(vec![large("atm-1"), large("atm-1")]).await;
    gateway.append("atm-1", 50).await;
    let small = Config { max_packet_bytes: 4096, ..to(broker.port()) };
    let forwarder = gateway.forward(small.clone());
    gateway.eventually([100, 0, 2, 0]).await;
    let letters = letters(&gateway, 2).await;
    assert_eq!(letters.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [51, 52]);
    assert!(letters[0].reason.starts_with("packet of ") && letters[0].reason.ends_with(" bytes, at most 4096"));

    // Too large still: they come back.
    assert_eq!(gateway.log.replay_dead_letters(1..=u64::MAX).await.expect("replays"), 2);
    gateway.append("atm-1", 100).await;
    gateway.eventually([200, 0, 2, 0]).await;
    forwarder.stop(DEADLINE).await;

    // Replayed while nobody forwards; then with room enough, and after a restart.
    assert_eq!(gateway.log.replay_dead_letters(51..=51).await.expect("replays"), 1);
    gateway.restart();
    let forwarder = gateway.forward(to(broker.port()));
    gateway.eventually([201, 0, 1, 0]).await;
    assert_eq!(gateway.log.replay_dead_letters(51..=52).await.expect("replays"), 1);
    gateway.append("atm-1", 10).await;
    gateway.eventually([212, 0, 0, 0]).await;
    forwarder.stop(DEADLINE).await;
    let mut heard: BTreeMap<u64, Value> = BTreeMap::new();
    while heard.len() < 212 {
        let json = subscriber.next().await.json;
        assert!(heard.insert(sequence(&json), json).is_none(), "each once");
    }
    assert_eq!(heard[&52]["replayed"], json!(true));
    assert!(gateway.log.dead_letters(0, 10).expect("reads").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_access_list_forbids_for_long_is_set_aside_and_holds_nobody_up() {
    let denied = "topic deny vestibule/v1/br001/vault/#\ntopic readwrite #\n";
    // Mosquitto 2.0.11 without a limit of its queue hangs up after each publish that it denies.
    let lines = "allow_anonymous true\nmax_queued_messages 10000\nacl_file {dir}/acl\n";
    let broker = Mosquitto::with(lines, &[("acl", denied)]);
    let gateway = Gateway::new();
    // More than a window, and more than are ever kept waiting.
    gateway.append("vault", 1100).await;
    gateway.append("atm-1", 500).await;
    let forwarder = gateway.forward(Config { window: 16, refused_after_s: 3, ..to(broker.port()) });
    eventually(|| gateway.metrics.forward_forwarded.get() == 500).await;
    assert!(gateway.metrics.forward_held.get() > 0, "{:?}", gateway.counts());
    gateway.append("atm-1", 10).await;
    let all = |counts: [i64; 4]| counts.iter().sum::<i64>() == 1610;
    eventually(|| gateway.counts()[2] > 100 && all(gateway.counts())).await;
    let letters = gateway.log.dead_letters(0, 2000).expect("reads");
    assert!(letters.iter().all(|letter| letter.reason.starts_with("not authorised") && letter.seq <= 1100));
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn critical_events_overtake_a_backlog_of_before_and_of_now() {
    let open = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&open);
    // It takes a few hundred, then nothing for a while.
    let mut broker = FakeBroker::start(Some(8), move |taken| {
        let health = taken.topic == HEALTH;
        if health || taken.place < 400 || gate.load(Ordering::Relaxed) { Answer::Ack(0) } else { Answer::Silence }
    })
    .await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 8000).await;
    gateway.append_all(vec![critical("atm-2")]).await;
    gateway.append("atm-1", 3000).await;
    open.store(false, Ordering::Relaxed);
    let forwarder = gateway.forward(Config { ack_timeout_s: 2, ..to(broker.port) });
    // Our health and the terminals' states are among them.
    eventually(|| gateway.metrics.forward_forwarded.get() >= 390).await;
    gateway.append_all(vec![critical("atm-2")]).await;
    open.store(true, Ordering::Relaxed);
    gateway.eventually([11_002, 0, 0, 0]).await;
    let order = accepted(&mut broker);
    let at = |seq: u64| order.iter().position(|(place, _)| *place == seq).expect("was sent");
    assert!(at(8001) < 400, "of before: {}", at(8001));
    assert!(at(11_002) < 2000, "of now: {}", at(11_002));
    let others: Vec<u64> = order.iter().map(|(seq, _)| *seq).filter(|seq| ![8001, 11_002].contains(seq)).collect();
    let distinct: BTreeSet<u64> = others.iter().copied().collect();
    assert_eq!(distinct.len(), 11_000);
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_first_sends_what_happens_now_while_the_backlog_drains() {
    // Slow enough that the backlog lasts: at most eight in flight, and each answer is a trip.
    let mut broker = FakeBroker::start(Some(8), |_: &Taken| Answer::Ack(0)).await;
    let mut gateway = Gateway::new();
    gateway.append("atm-1", 20_000).await;
    let config = Config { order: Order::LiveFirst, ..to(broker.port) };
    let forwarder = gateway.forward(config.clone());
    eventually(|| gateway.metrics.forward_forwarded.get() > 100).await;
    gateway.append("atm-2", 300).await;
    let mut order = Vec::new();
    eventually(|| {
        order.extend(accepted(&mut broker));
        order.iter().filter(|(seq, _)| *seq > 20_000).count() == 300
    })
    .await;
    let last_live = order.iter().rposition(|(seq, _)| *seq > 20_000).expect("was sent");
    assert!(last_live < 20_000, "the backlog does not go first");
    assert!(order[..last_live].iter().any(|(seq, _)| *seq <= 20_000), "the backlog has its share");
    for (seq, replayed) in order {
        assert_eq!(replayed, seq <= 20_000, "{seq}");
    }
    // A restart in the middle: nothing is lost, and the sums hold.
    drop(forwarder);
    gateway.restart();
    let forwarder = gateway.forward(config);
    gateway.append("atm-2", 100).await;
    gateway.eventually([20_400, 0, 0, 0]).await;
    forwarder.stop(DEADLINE).await;
}

/// The events of a batch, unpacked where it is packed.
fn batch(heard: &rumqttc::v5::mqttbytes::v5::Publish) -> (bool, Vec<Value>) {
    let properties = heard.properties.as_ref();
    let kind = properties.and_then(|properties| properties.content_type.as_deref());
    let packed = properties.is_some_and(|properties| {
        properties.user_properties.contains(&("content-encoding".to_owned(), "zstd".to_owned()))
    });
    assert!(kind.is_none_or(|kind| kind == "application/cloudevents-batch+json"));
    let text =
        if packed { zstd::bulk::decompress(&heard.payload, 1 << 20).expect("unpacks") } else { heard.payload.to_vec() };
    (packed, serde_json::from_slice(&text).expect("an array"))
}

/// Every batch that arrives from now on.
async fn hear_batches(port: u16) -> Arc<Mutex<Vec<(bool, Vec<Value>)>>> {
    use rumqttc::v5::mqttbytes::{QoS, v5::Packet};
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};
    let mut options = MqttOptions::new("batches", "127.0.0.1", port);
    options.set_max_packet_size(Some(1 << 20));
    let (client, mut events) = AsyncClient::new(options, 16);
    client.try_subscribe("vestibule/v1/br001/gateway/gw-1/events", QoS::AtLeastOnce).expect("room");
    while !matches!(events.poll().await.expect("answers"), Event::Incoming(Packet::SubAck(_))) {}
    let heard = Arc::<Mutex<Vec<_>>>::default();
    let into = Arc::clone(&heard);
    tokio::spawn(async move {
        let _client = client;
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(Packet::Publish(publish)) = event {
                into.lock().expect("not poisoned").push(batch(&publish));
            }
        }
    });
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_carry_everything_packed_or_not_and_critical_events_do_not_wait() {
    let broker = Mosquitto::start();
    for version in [Version::V5, Version::V311] {
        let heard = hear_batches(broker.port()).await;
        let gateway = Gateway::new();
        gateway.append("atm-1", 1000).await;
        gateway.append_all(vec![large("atm-1")]).await;
        let batching = Batching { max_events: 50, max_bytes: 20_000, max_age_ms: 60_000, zstd: true };
        let config = Config { batch: Some(batching), version, max_packet_bytes: 24_000, ..to(broker.port()) };
        let forwarder = gateway.forward(config);
        // The larger half of a batch waits for company; the large event can never go.
        eventually(|| gateway.counts()[0] >= 950 && gateway.counts()[2] == i64::from(version == Version::V311)).await;
        let before = heard.lock().expect("not poisoned").len();
        gateway.append_all(vec![critical("atm-2")]).await;
        eventually(|| heard.lock().expect("not poisoned").len() > before).await;
        forwarder.stop(DEADLINE).await;
        eventually(|| {
            heard.lock().expect("not poisoned").iter().map(|(_, events)| events.len()).sum::<usize>() >= 1001
        })
        .await;
        let heard = heard.lock().expect("not poisoned");
        let mut seqs = BTreeSet::new();
        for (packed, events) in heard.iter() {
            assert!(events.len() <= 50);
            assert!(*packed == (version == Version::V5), "{} events", events.len());
            for event in events {
                assert!(seqs.insert(sequence(event)), "once");
                assert_eq!(event["specversion"], json!("1.0"));
                assert_eq!(event["replayed"], json!(sequence(event) <= 1001));
            }
        }
        let critical = heard.iter().find(|(_, events)| events.iter().any(|event| sequence(event) == 1002));
        assert_eq!(critical.expect("was sent").1.len(), 1, "it goes alone");
        assert!(heard.len() < 60, "{} messages for a thousand events", heard.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_when_it_is_old_enough_and_one_bad_event_costs_no_other() {
    // It refuses every batch that has the seventh event in it.
    let mut broker = FakeBroker::start(None, |taken: &Taken| {
        let seventh = |event: &Value| event["sequence"] == json!("7");
        let bad = taken.json.as_array().is_some_and(|events| events.iter().any(seventh));
        Answer::Ack(if bad { 0x99 } else { 0 })
    })
    .await;
    let gateway = Gateway::new();
    let batching = Batching { max_age_ms: 100, zstd: false, ..Batching::default() };
    let forwarder = gateway.forward(Config { batch: Some(batching), ..to(broker.port) });
    eventually(|| gateway.metrics.forward_connected.get() == 1).await;
    gateway.append("atm-1", 20).await;
    gateway.eventually([19, 0, 1, 0]).await;
    let letters = letters(&gateway, 1).await;
    assert_eq!((letters.len(), letters[0].seq, letters[0].reason.as_str()), (1, 7, "payload format invalid"));
    let mut seqs = Vec::new();
    for taken in std::iter::from_fn(|| broker.accepted.try_recv().ok()) {
        seqs.extend(taken.json.as_array().into_iter().flatten().map(sequence));
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=20).filter(|seq| *seq != 7).collect::<Vec<_>>());
    forwarder.stop(DEADLINE).await;
}
