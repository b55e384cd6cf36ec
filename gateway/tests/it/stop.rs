//! Stopping: everything that was answered is in the log, and nobody who hangs holds it up.

use std::collections::BTreeSet;
use std::os::unix::fs::OpenOptionsExt;
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

/// A source drops what is answered with an error: half a line at a stop is answered with nothing.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_line_at_a_stop_is_not_called_a_bad_one() {
    let port = free_port();
    let mut gateway = Process::start(&terminals(&[port])).await;
    let mut source = Source::connect(port).await;
    let line = b"{\"kind\":\"supply.low\"}\n";
    source.say(line).await;
    assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    let half = b"{\"kind\":\"supply.low\",\"detail\":\"this is the fir";
    source.say(half).await;
    let bytes = u32::try_from(line.len() + half.len()).expect("short");
    let series = "vestibule_link_received_bytes_total{link=\"json\",terminal=\"atm-0\"}";
    gateway.until_figure(series, |value| value >= f64::from(bytes)).await;
    gateway.signal(Signal::SIGTERM);
    assert_eq!(source.answer().await, None);
    assert!(gateway.ended(DEADLINE).await.success());
    let details = kept(gateway.dir());
    assert!(details.iter().all(|(_, detail)| !detail.contains("EOF")), "{details:?}");
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
        "gateway.drain_s = 2\nforward.port = {broker}\nforward.ack_timeout_s = 60\nrules = {{ dir = '{{dir}}/plugins', bundled = [], deadline_ms = 1000 }}\n{}",
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
    // One batch: the rule takes a second to fail at all of them, and another for each half that is tried behind that.
    source.say(&b"{\"kind\":\"source.report\",\"attributes\":{\"do\":\"loop\"}}\n".repeat(8)).await;
    for _ in 0..8 {
        assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    }
    let begun = Instant::now();
    gateway.signal(Signal::SIGTERM);
    let status = gateway.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    assert!(begun.elapsed() < Duration::from_secs(2 + 5), "{:?}", begun.elapsed());
    for late in [
        "A link did not end within 500ms",
        "A rule did not end within 500ms",
        "the broker did not acknowledge everything",
    ] {
        assert!(gateway.output().contains(late), "nothing of `{late}`: {}", gateway.output());
    }
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
    gateway.until_said("Told to stop.").await;
    assert_eq!(insisted(&mut gateway).await.code(), Some(75), "{}", gateway.output());
}

/// Tells it to stop until it has ended: what comes within a second of the first time is taken for the same.
async fn insisted(gateway: &mut Process) -> std::process::ExitStatus {
    let begun = Instant::now();
    loop {
        gateway.signal(Signal::SIGINT);
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Some(status) = gateway.has_ended() {
            return status;
        }
        assert!(begun.elapsed() < DEADLINE, "it still runs: {}", gateway.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_come_together_are_one() {
    let port = free_port();
    let mut gateway = Process::start(&format!("gateway.drain_s = 2\n{}", terminals(&[port]))).await;
    let _stuck = deaf(&gateway, port).await;
    // As whoever ends a process and its group does.
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGTERM] {
        gateway.signal(signal);
    }
    let status = gateway.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    assert!(gateway.output().contains("A link did not end within"), "it stopped in order: {}", gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_takes_long_can_be_stopped() {
    let dir = tempfile::tempdir().expect("a folder");
    let pipe = dir.path().join("certificate.pem");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("runs");
    assert!(made.success());
    let settings = "http.tls = { certificate = '{dir}/certificate.pem', key = '{dir}/key.pem' }\n";
    let mut gateway = Process::spawn(dir.path(), &dir.path().join("data"), settings, &[]);
    // Whoever writes to a pipe without waiting can open it once somebody reads it: the start waits for what we say.
    let begun = Instant::now();
    let _silent = loop {
        let mut open = std::fs::OpenOptions::new();
        if let Ok(open) = open.write(true).custom_flags(nix::libc::O_NONBLOCK).open(&pipe) {
            break open;
        }
        gateway.assert_alive();
        assert!(begun.elapsed() < DEADLINE, "it reads no certificate: {}", gateway.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    gateway.signal(Signal::SIGTERM);
    let status = gateway.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    assert!(gateway.output().contains("Told to stop before the start was over."), "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_reload() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("notify");
    let heard = UnixDatagram::bind(&path).expect("binds");
    heard.set_read_timeout(Some(DEADLINE)).expect("is set");
    let port = free_port();
    let environment = [("NOTIFY_SOCKET", path.display().to_string())];
    let settings = format!("gateway.drain_s = 8\n{}", terminals(&[port]));
    let mut gateway = Process::start_with(dir, &settings, &environment).await;
    let _stuck = deaf(&gateway, port).await;
    let next = || {
        let mut buffer = [0; 256];
        let length = heard.recv(&mut buffer).expect("is told");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(next(), "READY=1");
    // Its terminal is to go, and does not.
    gateway.reload("gateway.drain_s = 8\n");
    assert!(next().starts_with("RELOADING=1"));
    gateway.signal(Signal::SIGTERM);
    assert_eq!(next(), "STOPPING=1", "{}", gateway.output());
    let status = gateway.ended(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    assert_eq!(kept(gateway.dir()).last().map(|(_, detail)| detail.as_str()), Some("the gateway was stopped"));
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
