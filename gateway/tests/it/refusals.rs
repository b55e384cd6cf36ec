//! What a broker does not take, does not answer, or hangs up at: one message must not hold up the others, and one broker not
//! what another would take.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vestibule::event::{Event, Kind};
use vestibule::forward::{Config, Reconnect, Version};

use crate::fake_broker::{Answer, FakeBroker, Taken};
use crate::forwarding::{DEADLINE, Gateway, eventually, to};
use crate::gateway::Running;
use crate::mosquitto::Mosquitto;
use crate::subscriber::Subscriber;

/// Short pauses: what is looked at is what happens on the connections.
const AT_ONCE: Reconnect = Reconnect { first: 1, most: 20 };

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_broker_finds_too_large_is_set_aside_and_those_behind_it_pass() {
    // It says so by 0x95, which the specification does not have for an acknowledgement; without a bound for what it queues,
    // it hangs up behind that.
    for (more, lasts) in [("", true), ("max_queued_messages 0\n", false)] {
        let broker = Mosquitto::with(&format!("allow_anonymous true\nmessage_size_limit 2000\n{more}"), &[]);
        let gateway = Gateway::new();
        gateway.append("atm-1", 3).await;
        gateway.append_all(vec![large()]).await;
        gateway.append("atm-1", 3).await;
        let forwarder = gateway.forward(to(broker.port()));
        gateway.eventually([6, 0, 1, 0]).await;
        let connections = gateway.metrics.forward_connections.with_label_values(&["connected"]).get();
        assert!(connections == 1 || !lasts, "{connections} connections");
        forwarder.stop(DEADLINE).await;
        eventually(|| !gateway.log.dead_letters(0, 9).expect("reads").is_empty()).await;
        let letter = gateway.log.dead_letters(0, 9).expect("reads").remove(0);
        assert_eq!((letter.seq, letter.reason.as_str()), (4, "packet too large"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_reason_a_broker_gives_the_connection_lasts() {
    // Each code for the event of that place, the first time it comes; then it is taken.
    let seen = Mutex::new(BTreeSet::new());
    let broker = FakeBroker::start(None, move |taken| {
        let seq = taken.json["sequence"].as_str().and_then(|seq| seq.parse::<u8>().ok());
        Answer::Ack(seq.filter(|seq| seen.lock().expect("not poisoned").insert(*seq)).unwrap_or(0))
    })
    .await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 255).await;
    let forwarder = gateway.forward(to(broker.port));
    // Those whose message is at fault are set aside, as `wire::v5` has them.
    gateway.eventually([249, 0, 6, 0]).await;
    assert_eq!(gateway.metrics.forward_connections.with_label_values(&["connected"]).get(), 1, "no reconnection");
    forwarder.stop(DEADLINE).await;
}

/// An event that is larger than a broker of 2,000 bytes takes.
fn large() -> vestibule::log::NewEvent {
    let mut event = Event::new(Kind::SupplyLow).detail("x".repeat(4000));
    event.terminal = "atm-1".to_owned();
    event.into()
}

/// Where a broker at this port is.
fn address(port: u16) -> String {
    format!("mqtt://127.0.0.1:{port}")
}

/// The event's place in the log; none where it is no event.
fn place(taken: &Taken) -> Option<u64> {
    taken.json["sequence"].as_str().filter(|_| taken.topic.contains("/event/"))?.parse().ok()
}

/// Appends events until it has happened, as a branch does.
async fn append_until(gateway: &Gateway, mut happened: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !happened() {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", gateway.counts());
        gateway.append("atm-1", 10).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until everything is dealt with, so many of it as dead letters; answers their places and reasons.
async fn rest(gateway: &Gateway, dead: usize) -> Vec<(u64, String)> {
    eventually(|| gateway.counts()[1] == 0).await;
    assert_eq!(gateway.counts()[2..], [i64::try_from(dead).expect("small"), 0]);
    eventually(|| gateway.log.dead_letters(0, 99).expect("reads").len() == dead).await;
    let letters = gateway.log.dead_letters(0, 99).expect("reads");
    letters.into_iter().map(|letter| (letter.seq, letter.reason)).collect()
}

/// A broker that accepts every connection, and then says nothing at all.
async fn mute() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                // What a client says first: it sends nothing more before it is answered.
                stream.read_exact(&mut bytes[..1]).await?;
                stream.write_all(&[0x20, 3, 0, 0, 0]).await?;
                while stream.read(&mut bytes).await? > 0 {}
                std::io::Result::Ok(())
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_accepts_and_never_answers_is_left_for_the_next() {
    let second = Mosquitto::start();
    let brokers = [address(mute().await), address(second.port())];
    let mut health = Subscriber::to(second.port(), "vestibule/v1/branch/gateway/#").await;
    // The usual times: an acknowledgement may take as long as a connection must last to be a good one.
    let gateway = Running::start(&format!(
        "forward.brokers = {brokers:?}\ncommands.mqtt = true\ncommands.mqtt_trust = \"broker\"\n\
         [[terminal]]\nname = \"atm-01\"\nprofile = \"ncr-selfserv-ndc\"\n"
    ))
    .await;
    assert_eq!(health.next().await.json["status"], "online");
    // The commands' connection has gone on, too: a command is answered.
    let mut results = Subscriber::to(second.port(), "vestibule/v1/branch/atm-01/command/+/result").await;
    let mut number = 0;
    let answered = loop {
        number += 1;
        let topic = format!("vestibule/v1/branch/atm-01/command/c-{number}");
        let sent = std::process::Command::new("mosquitto_pub")
            .args(["-q", "1", "-p", &second.port().to_string(), "-t", &topic, "-m", "{\"verb\":\"restart\"}"])
            .status();
        assert!(sent.expect("mosquitto_pub is installed").success());
        let answer = tokio::time::timeout(Duration::from_secs(1), results.next()).await;
        match answer {
            Ok(heard) => break heard,
            Err(_) => assert!(number < 60, "nobody hears commands"),
        }
    };
    assert!(answered.topic.ends_with("/result"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_puts_everything_off_is_left_for_the_next_after_a_while() {
    let full = FakeBroker::start(None, |taken| Answer::Ack(if place(taken).is_some() { 0x97 } else { 0 })).await;
    let mut second = FakeBroker::start(None, |_| Answer::Ack(0)).await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 100).await;
    let brokers = vec![address(full.port), address(second.port)];
    let config = Config { brokers, ack_timeout_s: 1, ..Config::default() };
    let forwarder = gateway.forward(config);
    gateway.eventually([100, 0, 0, 0]).await;
    forwarder.stop(DEADLINE).await;
    let mut taken = BTreeSet::new();
    while let Ok(one) = second.accepted.try_recv() {
        taken.extend(place(&one));
    }
    assert!(taken.into_iter().eq(1..=100));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_at_which_a_real_broker_hangs_up_is_found_and_set_aside() {
    let broker = Mosquitto::with("allow_anonymous true\nmax_packet_size 2000\nmax_queued_messages 0\n", &[]);
    for batch in [None, Some(vestibule::forward::Batching { max_events: 2, ..Default::default() })] {
        let gateway = Gateway::new();
        gateway.append("atm-1", 30).await;
        gateway.append_all(vec![large(), large()]).await;
        gateway.append("atm-1", 30).await;
        let config = Config { version: Version::V311, reconnect_ms: AT_ONCE, batch, ..to(broker.port()) };
        let forwarder = gateway.forward(config);
        append_until(&gateway, || gateway.counts()[2] == 2).await;
        let letters = rest(&gateway, 2).await;
        forwarder.stop(DEADLINE).await;
        assert_eq!(letters.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [31, 32]);
        assert!(letters.iter().all(|(_, reason)| reason.starts_with("broker_hangs_up")), "{letters:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_taken_at_last_was_only_held_back() {
    // It hangs up at one event until that one is held back and has come again twice.
    let times = Mutex::new(0);
    let broker = FakeBroker::start(None, move |taken| {
        let mut times = times.lock().expect("not poisoned");
        *times += u32::from(place(taken) == Some(20));
        if place(taken) == Some(20) && *times < 6 { Answer::HangUp } else { Answer::Ack(0) }
    })
    .await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 40).await;
    let forwarder = gateway.forward(Config { reconnect_ms: AT_ONCE, ..to(broker.port) });
    eventually(|| gateway.counts()[0] == 39).await;
    append_until(&gateway, || gateway.counts()[1] == 0).await;
    assert_eq!(rest(&gateway, 0).await, []);
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_at_every_ninth_message_condemns_nothing() {
    // The chance that suits a wrong verdict best.
    let dice = Mutex::new(crate::hostile_broker::Dice::new(9));
    let broker = FakeBroker::start(Some(4), move |_| {
        if dice.lock().expect("not poisoned").below(9) == 0 { Answer::HangUp } else { Answer::Ack(0) }
    })
    .await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 300).await;
    let forwarder = gateway.forward(Config { reconnect_ms: AT_ONCE, ack_timeout_s: 1, ..to(broker.port) });
    append_until(&gateway, || gateway.counts()[0] > 600).await;
    assert_eq!(rest(&gateway, 0).await, []);
    assert!(gateway.metrics.forward_connections.with_label_values(&["connected"]).get() > 20, "it did break");
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_up_at_every_event_costs_none() {
    let mended = Arc::new(AtomicBool::new(false));
    let takes = Arc::clone(&mended);
    let broker = FakeBroker::start(None, move |taken| {
        let hangs_up = place(taken).is_some() && !takes.load(Ordering::Relaxed);
        if hangs_up { Answer::HangUp } else { Answer::Ack(0) }
    })
    .await;
    let gateway = Gateway::new();
    gateway.append("atm-1", 12).await;
    let forwarder = gateway.forward(Config { reconnect_ms: AT_ONCE, ack_timeout_s: 1, ..to(broker.port) });
    // All are held back, and tried now and then.
    eventually(|| gateway.metrics.forward_connections.with_label_values(&["connected"]).get() > 40).await;
    assert_eq!(gateway.counts(), [0, 12, 0, 0]);
    mended.store(true, Ordering::Relaxed);
    gateway.eventually([12, 0, 0, 0]).await;
    forwarder.stop(DEADLINE).await;
}
