//! Simulated terminals of every protocol against a real gateway: what their script says must come of them comes of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vestibule::event::{Kind, State};
use vestibule::log::Stored;
use vestibule::profile::Profile;
use vestibule::protocol::Protocol;
use vestibule::simulate::figures::Figures;
use vestibule::simulate::fleet::{Fleet, Name, Place};
use vestibule::simulate::script::{CARDS, DAY, Script};
use vestibule::simulate::{Clock, Tempo, expected};

use crate::gateway::{Running, free_port};
use crate::terminals::ask;

/// How long a day may take.
const DAY_IS_OVER: Duration = Duration::from_secs(10);

fn fleet(profile: &Profile) -> Fleet {
    Fleet {
        protocol: profile.protocol,
        profile: profile.clone(),
        script: Script { opening: DAY.opening, round: &[] },
        seed: 11,
        tempo: Tempo::rate(200.0).expect("a rate"),
        clock: Clock::Real(TimeZone::UTC),
        source: "day".to_owned(),
        figures: Arc::new(Figures::default()),
    }
}

/// A terminal's configuration, with a link of its own.
fn terminal(protocol: Protocol, link: &str) -> String {
    let (name, profile) = (protocol.name(), protocol.usual_profile());
    format!(
        "[[terminal]]\nname = \"atm\"\nprofile = \"{profile}\"\n\
         link = [{{ name = \"link\", protocol = \"{name}\", {link} }}]\n"
    )
}

/// What an event says, briefly.
fn brief(stored: &Stored) -> String {
    stored.event.to_string()
}

/// What terminals said, without what the gateway says of its links.
fn said(gateway: &Running, terminal: &str) -> Vec<String> {
    let events = gateway.log.read_after(0, 10_000).expect("reads");
    // No day has a word about connections: all of those are the gateway's.
    let own = |stored: &&Arc<Stored>| stored.event.terminal == terminal && stored.event.kind.family() != "comms";
    events.iter().filter(own).map(|stored| brief(stored)).collect()
}

/// Plays the day, and compares.
async fn play(protocol: Protocol, place: Place, configuration: &str, terminal: &str) {
    play_model(protocol.usual_profile(), place, configuration, terminal).await;
}

async fn play_model(profile: &str, place: Place, configuration: &str, terminal: &str) {
    let profile = Profile::builtin(profile).expect("built in");
    let protocol = profile.protocol;
    let begun = Instant::now();
    let gateway = Running::start(configuration).await;
    let (fleet, stop) = (fleet(&profile), CancellationToken::new());
    let text = if protocol == Protocol::Ndc { "001" } else { "SIM00001" };
    let mut playing = fleet.start(vec![(Name { number: 1, text: text.to_owned() }, place)], &stop);
    let wanted = expected::day(&profile).expect("is played");
    let (mut expected, mut heard) = (wanted.events.to_vec(), Vec::new());
    let ended = tokio::time::timeout(DAY_IS_OVER, playing.join_next()).await;
    ended.expect("the script ends").expect("one plays").expect("no panic").expect("its line holds");
    // What went out last may still be on its way.
    while begun.elapsed() < DAY_IS_OVER {
        heard = said(&gateway, terminal);
        if heard.len() >= expected.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if protocol == Protocol::Xfs4iot {
        expected.sort_unstable();
        heard.sort_unstable();
    }
    assert_eq!(heard, expected, "{protocol:?}");

    let (status, shown) = ask(gateway.http, &format!("/api/v1/terminals/{terminal}")).await;
    assert_eq!(status, 200, "{shown}");
    let open = shown["conditions"].as_array().expect("a list").iter();
    let open: Vec<String> = open
        .filter(|condition| !condition["key"].as_str().is_some_and(|key| key.starts_with("comms/")))
        .map(|condition| {
            format!("{} {}", condition["key"].as_str().expect("a key"), condition["kind"].as_str().expect("a kind"))
        })
        .collect();
    assert_eq!(open, wanted.conditions, "{protocol:?}");

    let tally = fleet.figures.tally();
    assert!(tally.sent > 0 && tally.refused == 0, "{protocol:?}: {tally:?}");
    let answered = matches!(protocol, Protocol::Jsonl | Protocol::Triton | Protocol::Upload);
    assert_eq!(tally.accepted, if answered { tally.sent } else { 0 }, "{protocol:?}");
    assert_eq!(fleet.figures.latency().is_some(), answered, "{protocol:?}");
    let everything = serde_json::to_string(
        &gateway.log.read_after(0, 10_000).expect("reads").iter().map(|stored| stored.json.clone()).collect::<Vec<_>>(),
    )
    .expect("JSON");
    assert!(CARDS.iter().all(|card| !everything.contains(card.pan)), "{protocol:?}: a whole card number");
    gateway.stop().await;
    assert!(begun.elapsed() < DAY_IS_OVER, "{protocol:?} took {:?}", begun.elapsed());
}

/// A terminal that connects to a link of its own.
async fn call(protocol: Protocol) {
    let address = free_port();
    play(protocol, Place::Call(address), &terminal(protocol, &format!("listen = \"{address}\"")), "atm").await;
}

/// A terminal on a line of its own.
async fn on_a_line(protocol: Protocol) {
    let (place, device) = Place::pty().expect("a pseudo-terminal");
    play(protocol, place, &terminal(protocol, &format!("serial = {device:?}")), "atm").await;
}

#[tokio::test]
async fn ndc_over_tcp() {
    call(Protocol::Ndc).await;
}

#[tokio::test]
async fn iso8583_over_tcp() {
    call(Protocol::Iso8583).await;
}

#[tokio::test]
async fn json_lines_over_tcp() {
    call(Protocol::Jsonl).await;
}

#[tokio::test]
async fn journal_over_tcp() {
    call(Protocol::Journal).await;
}

#[tokio::test]
async fn journal_on_a_serial_line() {
    on_a_line(Protocol::Journal).await;
}

#[tokio::test]
async fn journals_of_other_makers() {
    for profile in ["wincor-procash", "hyosung-moniplus"] {
        let (place, device) = Place::pty().expect("a pseudo-terminal");
        let configuration =
            terminal(Protocol::Journal, &format!("serial = {device:?}")).replace("ncr-journal", profile);
        play_model(profile, place, &configuration, "atm").await;
    }
}

#[tokio::test]
async fn triton_on_a_serial_line() {
    on_a_line(Protocol::Triton).await;
}

#[tokio::test]
async fn triton_over_tcp() {
    call(Protocol::Triton).await;
}

#[tokio::test]
async fn ndc_on_a_serial_line() {
    on_a_line(Protocol::Ndc).await;
}

#[tokio::test]
async fn uploads_over_tcp() {
    let address = free_port();
    play(Protocol::Upload, Place::Call(address), &crate::upload::listener(address), "atm-1").await;
}

#[tokio::test]
async fn xfs4iot_services_that_are_dialled() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let dial = format!("dial = \"ws://{}\"", listener.local_addr().expect("an address"));
    play(Protocol::Xfs4iot, Place::Listen(listener), &terminal(Protocol::Xfs4iot, &dial), "atm").await;
}

async fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.arg("simulate").args(arguments);
    let run = tokio::task::spawn_blocking(move || command.output());
    tokio::time::timeout(2 * DAY_IS_OVER, run).await.expect("in time").expect("ends").expect("runs")
}

fn report(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[tokio::test]
async fn many_terminals_share_a_listener_and_a_rate() {
    let address = free_port();
    let listener =
        format!("[[listener]]\nname = \"all\"\nprotocol = \"jsonl\"\nlisten = \"{address}\"\nunknown = \"accept\"\n");
    let gateway = Running::start(&listener).await;
    let to = address.to_string();
    let arguments =
        ["--protocol", "jsonl", "--terminals", "50", "--rate", "200", "--seconds", "2", "--json", "--to", &to];
    let report = report(&simulate(&arguments).await);
    assert_eq!((&report["terminals"], &report["connections"]), (&50.into(), &50.into()), "{report}");
    assert_eq!(report["sent"], report["acknowledged"], "{report}");
    // Never faster; slower only where this machine has no time.
    let sent = report["sent"].as_u64().expect("a number");
    assert!((100..=460).contains(&sent), "{report}");
    assert!(report["latency_us"]["p50"].as_u64() <= report["latency_us"]["max"].as_u64(), "{report}");
    let heard = gateway.log.read_after(0, 10_000).expect("reads");
    let kept = heard.iter().filter(|stored| stored.event.terminal.starts_with("unknown-sim-")).count();
    assert!(u64::try_from(kept).expect("small") >= sent, "{kept} of {sent}");
    gateway.stop().await;
}

#[tokio::test]
async fn as_fast_as_answers_come() {
    let address = free_port();
    let gateway = Running::start(&terminal(Protocol::Jsonl, &format!("listen = \"{address}\""))).await;
    let to = address.to_string();
    let output = simulate(&["--protocol", "jsonl", "--rate", "max", "--seconds", "1", "--to", &to]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for word in ["1 × jsonl", "sent", "acknowledged", "messages/s", "p50", "p99", "max"] {
        assert!(text.contains(word), "no {word}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "a progress bar where nobody looks: {text}");
    gateway.stop().await;
}

/// Everything that one connection says.
async fn taken(listener: &TcpListener) -> Vec<u8> {
    let mut all = Vec::new();
    let (mut stream, _) = listener.accept().await.expect("somebody calls");
    stream.read_to_end(&mut all).await.expect("reads");
    all
}

#[tokio::test]
async fn the_same_seed_and_start_say_the_same_bytes() {
    for protocol in ["ndc", "iso8583", "journal"] {
        let mut runs = Vec::new();
        for seed in ["5", "5", "6"] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
            let to = listener.local_addr().expect("an address").to_string();
            let arguments = [
                "--protocol",
                protocol,
                "--once",
                "--rate",
                "max",
                "--seed",
                seed,
                "--to",
                &to,
                "--json",
                "--start",
                "2030-01-15T05:51:30Z",
            ];
            let sink = async {
                // A power cycle makes a second connection of those that hang up for it.
                let first = taken(&listener).await;
                if first.is_empty() { taken(&listener).await } else { first }
            };
            let (bytes, output) = tokio::join!(sink, simulate(&arguments));
            report(&output);
            assert!(!bytes.is_empty(), "{protocol}");
            runs.push(bytes);
        }
        assert_eq!(runs[0], runs[1], "{protocol}");
        assert_ne!(runs[0], runs[2], "{protocol}");
    }
}

#[tokio::test]
async fn what_cannot_be_played_is_said() {
    let nobody: SocketAddr = free_port();
    let to = nobody.to_string();
    for (arguments, code, reason) in [
        (vec!["--protocol", "ndc"], 64, "--to HOST:PORT"),
        (vec!["--protocol", "morse"], 64, "morse"),
        (vec!["--protocol", "ndc", "--to", &to, "--rate", "0"], 64, "rate"),
        (vec!["--protocol", "ndc", "--to", &to, "--name", "atm-#"], 64, "3 or 9 digits"),
        (
            vec!["--protocol", "jsonl", "--to", &to, "--name", "a", "--terminals", "2"],
            64,
            "all terminals have the same",
        ),
        (vec!["--protocol", "jsonl", "--pty"], 64, "serial lines"),
        (vec!["--protocol", "xfs4iot", "--to", &to], 64, "--listen"),
        (vec!["--protocol", "ndc", "--to", &to, "--profile", "json-lines"], 64, "speaks jsonl"),
        (vec!["--protocol", "journal", "--serial", "/nowhere/tty"], 69, "/nowhere/tty"),
        (vec!["--protocol", "ndc", "--to", &to, "--seconds", "1"], 69, "nobody could be spoken to"),
    ] {
        let output = simulate(&arguments).await;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(reason), "{arguments:?}: {text}");
    }
    let expected: Value =
        serde_json::from_slice(&simulate(&["--protocol", "triton", "--expect"]).await.stdout).expect("JSON");
    assert_eq!(expected["events"].as_array().map(Vec::len), Some(9));
    assert!(Path::new("/dev/pts").exists());
}

#[tokio::test]
async fn two_thousand_terminals_come_from_one_process() {
    let address = free_port();
    let listener =
        format!("[[listener]]\nname = \"all\"\nprotocol = \"ndc\"\nlisten = \"{address}\"\nunknown = \"accept\"\n");
    let gateway = Running::start(&listener).await;
    let to = address.to_string();
    // Each speaks once at least: the first steps of the script are a power cycle and a withdrawal.
    let arguments =
        ["--protocol", "ndc", "--terminals", "2000", "--rate", "1000", "--seconds", "6", "--json", "--to", &to];
    let report = report(&simulate(&arguments).await);
    assert!(report["connections"].as_u64() >= Some(2_000), "{report}");
    let sent = report["sent"].as_u64().expect("a number");
    assert!(sent >= 2_000, "{report}");
    let restarts = |gateway: &Running| {
        let events = gateway.log.read_after(0, 20_000).expect("reads");
        let restarts = events.iter().filter(|stored| stored.event.kind == Kind::PowerRestart);
        let mut names: Vec<_> = restarts.map(|stored| stored.event.terminal.clone()).collect();
        names.sort();
        names.dedup();
        names.len()
    };
    let begun = Instant::now();
    while restarts(&gateway) < 2_000 {
        assert!(begun.elapsed() < DAY_IS_OVER, "{} of 2000 were heard: {report}", restarts(&gateway));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let wrong = gateway.log.read_after(0, 20_000).expect("reads");
    let wrong = wrong
        .iter()
        .filter(|stored| stored.event.kind == Kind::ProtocolError && stored.event.state != Some(State::Cleared));
    assert_eq!(wrong.count(), 0);
    gateway.stop().await;
}
