//! What a broker takes: events of the size that `docs/fleet.md` plans with, QoS 1, from as many branches as there are logins, each
//! with a window of its own, while a subscriber with a persistent session hears all of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::until;
use crate::recipes::{READER, READERS_PASSWORD, branch_password, site};
use crate::{ALONE, figure, recipes, say};

const WITHIN: Duration = Duration::from_secs(60);
const BRANCHES: usize = 20;
/// What a branch has under way, by the page's advice for a large fleet.
const WINDOW: usize = 32;
/// Bytes of an event on the line, by the page's row of MQTT 3.1.1.
const EVENT: usize = 690;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_takes() {
    let _alone = ALONE.lock().await;
    let time = Duration::from_secs(figure("VESTIBULE_FLEET_CAPACITY_SECONDS", 2).try_into().unwrap());
    {
        let dir = tempfile::tempdir().unwrap();
        let broker = recipes::mosquitto(dir.path(), BRANCHES, None).await;
        takes("one mosquitto", &[broker.mqtt], time).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let cluster = recipes::nats(dir.path(), BRANCHES, None).await;
    takes("three NATS servers, three copies", &cluster.addresses(0), time).await;
}

async fn takes(name: &str, brokers: &[SocketAddr], time: Duration) {
    let heard = Arc::new(AtomicU64::new(0));
    let reader = subscribe(brokers[0], Arc::clone(&heard)).await;
    let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut branches = JoinSet::new();
    for n in 0..BRANCHES {
        let stream = connect(brokers[n % brokers.len()], n).await;
        branches.spawn(publish(stream, n, Arc::clone(&stop), Arc::clone(&taken)));
    }
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = branches.join_next().await {
        ended.unwrap();
    }
    let (taken, published) = (taken.load(Ordering::Relaxed), begun.elapsed());
    let all = async || (heard.load(Ordering::Relaxed) >= taken).then_some(());
    until(WITHIN, || format!("{name}: {} of {taken} events are heard", heard.load(Ordering::Relaxed)), all).await;
    let delivered = begun.elapsed();
    let rate = |time: Duration| Duration::from_secs(taken).div_duration_f64(time);
    say(&format!(
        "{name}: {taken} events of {EVENT} bytes from {BRANCHES} branches: {:.0} a second acknowledged, {:.0} a second until the subscriber had them all",
        rate(published),
        rate(delivered),
    ));
    reader.abort();
}

/// A session that keeps what was not acknowledged; counts what comes.
async fn subscribe(broker: SocketAddr, heard: Arc<AtomicU64>) -> tokio::task::JoinHandle<()> {
    let mut options = MqttOptions::new("reader-capacity", broker.ip().to_string(), broker.port());
    options.set_credentials(READER, READERS_PASSWORD).set_clean_session(false).set_keep_alive(Duration::from_secs(60));
    let (client, mut line) = AsyncClient::new(options, 16);
    // A cluster that has just been started hangs up until its nodes have found one another.
    let begun = Instant::now();
    loop {
        match line.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                client.try_subscribe("vestibule/v1/+/+/event/#", QoS::AtLeastOnce).unwrap();
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => break,
            Ok(_) => {}
            Err(why) => {
                assert!(begun.elapsed() < WITHIN, "{broker} takes no subscription: {why}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    tokio::spawn(async move {
        let _client = client;
        while let Ok(event) = line.poll().await {
            if let Event::Incoming(Packet::Publish(_)) = event {
                heard.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}

/// Branch `n`'s connection, by MQTT 3.1.1.
async fn connect(broker: SocketAddr, n: usize) -> TcpStream {
    let mut stream = TcpStream::connect(broker).await.unwrap();
    stream.set_nodelay(true).unwrap();
    // Clean session, password and user name; no keep-alive.
    let mut rest = b"\x00\x04MQTT\x04\xc2\x00\x00".to_vec();
    for text in [&format!("capacity-{n}"), &site(n), &branch_password(n)] {
        rest.extend(string(text));
    }
    stream.write_all(&packet(0x10, &rest)).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0], "{broker} refuses branch {n}");
    stream
}

/// Keeps the window full until it is to stop, and then waits for what is under way.
async fn publish(mut stream: TcpStream, n: usize, stop: Arc<AtomicBool>, taken: Arc<AtomicU64>) {
    let mut last = 0_u16;
    let mut next = || {
        last = last.checked_add(1).unwrap_or(1);
        let mut rest = string(&format!("vestibule/v1/{}/atm-01/event/txn/started", site(n)));
        rest.extend(last.to_be_bytes());
        // The packet's own front is three bytes.
        rest.resize(EVENT - 3, b'x');
        packet(0x32, &rest)
    };
    let full: Vec<u8> = (0..WINDOW).flat_map(|_| next()).collect();
    stream.write_all(&full).await.unwrap();
    let (mut under_way, mut bytes, mut kept) = (WINDOW, [0; 4 * WINDOW], 0);
    while under_way > 0 {
        let read = stream.read(&mut bytes[kept..]).await.unwrap();
        assert!(read > 0, "the broker hung up on branch {n}");
        // An acknowledgement is four bytes, and nothing else comes.
        let acknowledged = (kept + read) / 4;
        assert!(bytes[..acknowledged * 4].chunks(4).all(|ack| ack[..2] == [0x40, 2]));
        bytes.copy_within(acknowledged * 4..kept + read, 0);
        kept = (kept + read) % 4;
        taken.fetch_add(u64::try_from(acknowledged).unwrap(), Ordering::Relaxed);
        under_way -= acknowledged;
        if !stop.load(Ordering::Relaxed) {
            let more: Vec<u8> = (0..acknowledged).flat_map(|_| next()).collect();
            stream.write_all(&more).await.unwrap();
            under_way += acknowledged;
        }
    }
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    length.into_iter().chain(text.bytes()).collect()
}

fn packet(kind: u8, rest: &[u8]) -> Vec<u8> {
    let (low, high) = (rest.len() % 128, rest.len() / 128);
    let mut packet = vec![kind];
    if high > 0 {
        packet.push(u8::try_from(low).unwrap() | 0x80);
        packet.push(u8::try_from(high).unwrap());
    } else {
        packet.push(u8::try_from(low).unwrap());
    }
    packet.extend(rest);
    packet
}
