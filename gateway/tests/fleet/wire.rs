//! What an event costs on the line to the broker: the same store is forwarded in each of the ways that there are, through a
//! relay that counts. `docs/fleet.md` sizes a fleet by these figures.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use vestibule::profile::Profile;
use vestibule::protocol::Protocol;
use vestibule::simulate::fleet::{Fleet, Name, Place};
use vestibule::simulate::script::LOBBY;
use vestibule::simulate::{Clock, Tempo};

use crate::certificates::Authority;
use crate::gateways::{self, Gateway};
use crate::mosquitto::Mosquitto;
use crate::python::docs;
use crate::{ALONE, figure, host, say};

const WITHIN: Duration = Duration::from_secs(60);
const OPEN: &str = "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n";
/// What speaks in the branch, each on a link of its own.
const SPOKEN: [Protocol; 3] = [Protocol::Ndc, Protocol::Journal, Protocol::Jsonl];

/// A way to forward.
struct Way {
    name: &'static str,
    forward: &'static str,
    tls: bool,
}

const fn way(name: &'static str, forward: &'static str, tls: bool) -> Way {
    Way { name, forward, tls }
}

const WAYS: [Way; 8] = [
    way("each alone, MQTT 5", "", false),
    way("each alone, MQTT 3.1.1", "version = \"3.1.1\"", false),
    way("each alone, MQTT 5, TLS", "", true),
    way("10 in a batch, MQTT 3.1.1", "version = \"3.1.1\"\nbatch = { max_events = 10, max_age_ms = 5000 }", false),
    way("100 in a batch, MQTT 3.1.1", "version = \"3.1.1\"\nbatch = { max_events = 100, max_age_ms = 5000 }", false),
    way("10 in a batch, MQTT 5, zstd", "batch = { max_events = 10, max_age_ms = 5000 }", false),
    way("100 in a batch, MQTT 5, zstd", "batch = { max_events = 100, max_age_ms = 5000 }", false),
    way("100 in a batch, MQTT 5, zstd, TLS", "batch = { max_events = 100, max_age_ms = 5000 }", true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_event_costs_on_the_line() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let events = u64::try_from(figure("VESTIBULE_FLEET_WIRE_EVENTS", 1_000)).unwrap();
    fill(&dir.path().join("full"), events).await;
    let authority = Authority::new();
    let signed = authority.sign("broker.example", (2025, 2090));
    let clear = Mosquitto::with(OPEN, &[]);
    let files = [("ca", authority.pem.as_str()), ("cert", &signed.certificate), ("key", &signed.key)];
    let tls = format!("{OPEN}cafile {{dir}}/ca\ncertfile {{dir}}/cert\nkeyfile {{dir}}/key\n");
    let secret = Mosquitto::with(&tls, &files);
    std::fs::write(dir.path().join("ca.pem"), &authority.pem).unwrap();

    fill(&dir.path().join("empty"), 0).await;
    let mut connection = 0;
    for (name, broker, tls) in [("clear", &clear, false), ("TLS", &secret, true)] {
        let (up, down, few) = forward(dir.path(), "empty", &way(name, "", tls), broker.port()).await;
        say(&format!("bytes of a connection with {few} events, {name}: {up} up, {down} down"));
        connection = up + down;
    }
    say("bytes of TCP for each event, up and down:");
    let mut costs = Vec::new();
    for way in WAYS {
        let broker = if way.tls { &secret } else { &clear };
        let (up, down, events) = forward(dir.path(), "full", &way, broker.port()).await;
        say(&format!("  {:<32} {:>5} {:>4}   ({events} events)", way.name, up / events, down / events));
        costs.push((up + down) / events);
    }
    let page = std::fs::read_to_string(docs("fleet.md")).unwrap();
    for (way, cost) in WAYS.iter().zip(costs) {
        let planned = planned(&page, way.name);
        // The page's figures are means over 5,000 events: over fewer, what a connection costs by itself weighs more.
        let near = planned - planned / 10..=planned + planned / 10 + connection / events;
        assert!(near.contains(&cost), "{}: {cost} bytes, and docs/fleet.md plans with {planned}", way.name);
    }
}

/// Bytes up and down that the page says for an event sent this way.
fn planned(page: &str, way: &str) -> u64 {
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {way} |")));
    let cells = row.unwrap_or_else(|| panic!("docs/fleet.md has no row `{way}`")).split('|').map(str::trim);
    cells.filter_map(|cell| cell.parse::<u64>().ok()).sum()
}

fn link(protocol: Protocol) -> SocketAddr {
    let place = SPOKEN.iter().position(|other| *other == protocol).unwrap();
    SocketAddr::from((host(11), 4000 + u16::try_from(place).unwrap()))
}

fn config(dir: &Path, forward: &str) -> String {
    let mut text = format!(
        "[gateway]\nid = \"gw-0815\"\nsite = \"branch-0815\"\n[log]\ndir = {:?}\n[http]\nlisten = \"{}\"\n\
         [rules]\nbundled = []\n{forward}\n",
        dir.join("data"),
        SocketAddr::from((host(11), 8080)),
    );
    for protocol in SPOKEN {
        let (name, profile) = (protocol.name(), protocol.usual_profile());
        text.push_str(&format!(
            "[[terminal]]\nname = \"atm-{name}\"\nprofile = \"{profile}\"\n\
             link = [{{ name = \"{name}\", protocol = \"{name}\", listen = \"{}\" }}]\n",
            link(protocol)
        ));
    }
    text
}

fn start(dir: &Path, forward: &str) -> Gateway {
    Gateway::run(dir, &config(dir, forward), link(Protocol::Jsonl), SocketAddr::from((host(11), 8080)))
}

/// A store with so many events at least, of busy terminals that nobody forwards.
async fn fill(dir: &Path, events: u64) {
    std::fs::create_dir(dir).unwrap();
    let mut gateway = start(dir, "");
    gateway.ready().await;
    let stop = CancellationToken::new();
    let mut plays: Vec<_> = SPOKEN.map(|protocol| lobby(protocol, &stop)).into();
    let begun = std::time::Instant::now();
    while gateway.books().await.appended < events {
        assert!(begun.elapsed() < WITHIN, "the terminals say nothing:\n{}", gateway.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    for play in &mut plays {
        while play.join_next().await.is_some() {}
    }
    gateways::stop(vec![gateway]).await;
}

fn lobby(protocol: Protocol, stop: &CancellationToken) -> tokio::task::JoinSet<std::io::Result<()>> {
    let fleet = Fleet {
        protocol,
        profile: Profile::builtin(protocol.usual_profile()).unwrap(),
        script: LOBBY,
        seed: 5,
        tempo: Tempo::rate(300.0).unwrap(),
        clock: Clock::Real(TimeZone::UTC),
        source: "wire".to_owned(),
        figures: Arc::default(),
    };
    let text = if protocol == Protocol::Ndc { "001" } else { "atm-jsonl" };
    fleet.start(vec![(Name { number: 1, text: text.to_owned() }, Place::Call(link(protocol)))], stop)
}

/// Forwards a copy of this store; bytes up, bytes down, events.
async fn forward(dir: &Path, store: &str, way: &Way, broker: u16) -> (u64, u64, u64) {
    let copy = tempfile::tempdir_in(dir).unwrap();
    std::fs::create_dir(copy.path().join("data")).unwrap();
    for file in std::fs::read_dir(dir.join(store).join("data")).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), copy.path().join("data").join(file.file_name())).unwrap();
        }
    }
    let relay = Relay::start(broker).await;
    let tls = format!("tls = {{ ca = {:?}, server_name = \"broker.example\" }}\n", dir.join("ca.pem"));
    let tls = if way.tls { tls.as_str() } else { "" };
    let port = relay.port;
    let settings = format!("[forward]\nhost = \"127.0.0.1\"\nport = {port}\n{tls}{}", way.forward);
    let mut gateway = start(copy.path(), &settings);
    gateway.ready().await;
    let begun = std::time::Instant::now();
    let events = loop {
        let books = gateway.books().await;
        if books.pending == 0 && books.forwarded == books.appended {
            break books.appended;
        }
        assert!(begun.elapsed() < WITHIN, "{}: {books:?}\n{}", way.name, gateway.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let (up, down) = (relay.up.load(Ordering::Relaxed), relay.down.load(Ordering::Relaxed));
    gateways::stop(vec![gateway]).await;
    (up, down, events)
}

/// Stands between the gateway and its broker, and counts.
struct Relay {
    port: u16,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
}

impl Relay {
    async fn start(to: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (up, down) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let relay = Relay { port, up: Arc::clone(&up), down: Arc::clone(&down) };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (near, near_out) = near.into_split();
                let (far, far_out) = TcpStream::connect(("127.0.0.1", to)).await.unwrap().into_split();
                tokio::spawn(pass(near, far_out, Arc::clone(&up)));
                tokio::spawn(pass(far, near_out, Arc::clone(&down)));
            }
        });
        relay
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, count: Arc<AtomicU64>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        count.fetch_add(u64::try_from(read).unwrap(), Ordering::Relaxed);
        if to.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
}
