//! Stopping: everything that was answered is in the log, and nobody who hangs holds it up.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use vestibule::log::{self, Log};
use vestibule::metrics::Metrics;
use vestibule::terminals::TerminalFold;

use crate::gateway::{DEADLINE, Source, free_port};
use crate::mosquitto::Mosquitto;
use crate::process::Process;
use crate::subscriber::Subscriber;

fn terminals(ports: &[std::net::SocketAddr]) -> String {
    let one = |(nth, port)| {
        format!(
            "[[terminal]]\nname = 'atm-{nth}'\nprofile = 'json-lines'\n\
             link = [{{ name = 'json', protocol = 'jsonl', listen = '{port}' }}]\n"
        )
    };
    ports.iter().enumerate().map(one).collect()
}

/// Says one thing after the other until the gateway hangs up; gives the places of those that were answered.
async fn talk(port: std::net::SocketAddr, name: String) -> Vec<(u64, String)> {
    let (mut source, mut answered) = (Source::connect(port).await, Vec::new());
    for count in 0.. {
        let detail = format!("{name}-{count}");
        let line = format!("{{\"kind\":\"journal.block\",\"id\":\"{count}\",\"detail\":\"{detail}\"}}\n");
        if source.try_say(line.as_bytes()).await.is_err() {
            break;
        }
        let Some(answer) = source.answer().await else { break };
        answered.push((answer["seq"].as_u64().unwrap_or_else(|| panic!("{answer}")), detail));
    }
    answered
}

/// Everything in the store of a gateway that has ended.
fn kept(dir: &std::path::Path) -> Vec<(u64, String)> {
    let config = log::Config { dir: dir.join("data"), ..log::Config::default() };
    let metrics = std::sync::Arc::new(Metrics::new().expect("metrics"));
    let fold = Box::new(TerminalFold::new(std::sync::Arc::default(), metrics.clone()));
    let log = Log::open(&config, "vestibule", fold, metrics).expect("opens").log;
    let mut all = Vec::new();
    while let Some(last) = {
        let page = log.read_after(all.last().map_or(0, |(seq, _)| *seq), 1000).expect("reads");
        all.extend(page.iter().map(|stored| (stored.seq, stored.event.detail.clone())));
        page.last().cloned()
    } {
        assert!(last.seq > 0);
    }
    log.close();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_keeps_everything_that_was_answered() {
    let broker = Mosquitto::start();
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let settings = format!("forward.port = {}\n{}", broker.port(), terminals(&ports));
    let mut gateway = Process::start(&settings).await;
    let talks: Vec<_> =
        ports.iter().enumerate().map(|(nth, port)| tokio::spawn(talk(*port, format!("atm-{nth}")))).collect();
    gateway.until_figure("vestibule_log_appended_events", |value| value > 500.0).await;
    gateway.until_figure("vestibule_forward_forwarded_events", |value| value > 100.0).await;
    gateway.signal(Signal::SIGTERM);
    let status = gateway.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    let mut answered = Vec::new();
    for talk in talks {
        answered.extend(talk.await.expect("no panic"));
    }
    let kept = kept(gateway.dir());
    let all: BTreeSet<_> = kept.iter().cloned().collect();
    assert!(answered.len() > 400 && answered.iter().all(|answer| all.contains(answer)), "{} answered", answered.len());
    assert_eq!(kept.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=kept.len() as u64).collect::<Vec<_>>());
    let stopped = kept.iter().position(|(_, detail)| detail == "the gateway was stopped").expect("says so");
    assert_eq!(stopped + 1, kept.len(), "nothing was read behind it");
    let mut late = Subscriber::to(broker.port(), "vestibule/v1/+/gateway/+/health").await;
    assert_eq!(late.next().await.json["status"], "stopped");
}

/// Broker and terminals that take nothing any more: a broker that accepts and says nothing after its CONNACK, and a
/// terminal that reads none of its answers.
async fn hanging() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // CONNACK of MQTT 5, success, no properties.
            let _ = stream.write_all(&[0x20, 3, 0, 0, 0]).await;
            open.push(stream);
        }
    });
    (port, task)
}

/// A terminal that says much and reads nothing; the gateway is stuck in an answer when it takes no more of its lines.
async fn deaf(gateway: &Process, port: std::net::SocketAddr) -> Source {
    let mut stream = Source::connect(port).await;
    // Each is answered with as many words, and nobody waits for a commit of it.
    let line = format!("{{\"kind\":\"{}\"}}\n", "no such kind ".repeat(600));
    let faults = "vestibule_link_faults_total{link=\"json\",terminal=\"atm-0\"}";
    loop {
        while tokio::time::timeout(Duration::from_secs(1), stream.try_say(line.as_bytes())).await.is_ok() {}
        let before = gateway.figure(faults).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if gateway.figure(faults).await == before {
            return stream;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_a_terminal_and_a_rule_that_hang_do_not_hold_a_stop_up() {
    let (broker, _task) = hanging().await;
    let ports = [free_port(), free_port()];
    let settings = format!(
        "gateway.drain_s = 4\nforward.port = {broker}\nrules = {{ dir = '{{dir}}/plugins', bundled = [], deadline_ms = 1000 }}\n{}",
        terminals(&ports)
    );
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(dir.path().join("plugins")).expect("is made");
    let plugin = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fixture-plugin.wasm");
    std::fs::copy(plugin, dir.path().join("plugins/endless.wasm")).expect("is copied");
    let mut gateway = Process::start_with(dir, &settings, &[]).await;
    gateway.until_figure("vestibule_rule_loaded{plugin=\"endless\"}", |value| value == 1.0).await;
    let _stuck = deaf(&gateway, ports[0]).await;
    let mut source = Source::connect(ports[1]).await;
    source.say(b"{\"kind\":\"journal.block\",\"detail\":\"kept\"}\n").await;
    assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    for _ in 0..3 {
        source.say(b"{\"kind\":\"source.report\",\"attributes\":{\"do\":\"loop\"}}\n").await;
        assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    }
    let begun = Instant::now();
    gateway.signal(Signal::SIGTERM);
    let status = gateway.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    assert!(begun.elapsed() < Duration::from_secs(4 + 5), "{:?}", begun.elapsed());
    assert!(gateway.output().contains("A link did not end within"), "{}", gateway.output());
    let kept = kept(gateway.dir());
    assert!(kept.iter().any(|(_, detail)| detail == "kept"));
    assert_eq!(kept.last().map(|(_, detail)| detail.as_str()), Some("the gateway was stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_with_a_code_of_its_own() {
    let (broker, _task) = hanging().await;
    let port = free_port();
    let settings = format!("gateway.drain_s = 600\nforward.port = {broker}\n{}", terminals(&[port]));
    let mut gateway = Process::start(&settings).await;
    let _stuck = deaf(&gateway, port).await;
    gateway.signal(Signal::SIGTERM);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    gateway.signal(Signal::SIGINT);
    let status = gateway.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(75), "{}", gateway.output());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_it_is_ready_lives_reloads_and_stops() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("notify");
    let heard = UnixDatagram::bind(&path).expect("binds");
    heard.set_read_timeout(Some(DEADLINE)).expect("is set");
    let environment = [("NOTIFY_SOCKET", path.display().to_string()), ("WATCHDOG_USEC", "200000".to_owned())];
    let mut gateway = Process::start_with(dir, "", &environment).await;
    let until = |words: &str| {
        let mut buffer = [0; 256];
        loop {
            let length = heard.recv(&mut buffer).unwrap_or_else(|error| panic!("no `{words}`: {error}"));
            let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if said.starts_with(words) {
                return said;
            }
            assert!(said == "WATCHDOG=1" || words == "WATCHDOG=1", "`{said}` comes before `{words}`");
        }
    };
    until("READY=1");
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    gateway.reload("gateway.drain_s = 9\n");
    assert!(until("RELOADING=1").contains("\nMONOTONIC_USEC="));
    until("READY=1");
    gateway.signal(Signal::SIGTERM);
    until("STOPPING=1");
    assert!(gateway.ended(DEADLINE).await.success());
}
