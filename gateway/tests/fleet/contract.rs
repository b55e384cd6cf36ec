//! Every message of a gateway with terminals of each protocol fits `docs/asyncapi.yaml` and its schemas, and every channel in
//! there is heard.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use jiff::tz::TimeZone;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vestibule::profile::Profile;
use vestibule::protocol::Protocol;
use vestibule::simulate::fleet::{Fleet, Name, Place};
use vestibule::simulate::script::{DAY, LOBBY, Script};
use vestibule::simulate::{Clock, Pace, Retry, Tempo, ndc};

use crate::broker::Node;
use crate::client::Client;
use crate::process::{Process, until};
use crate::python::{docs, python};
use crate::recipes::{COMMANDER, JUDGE, READERS_PASSWORD, branch_password, site};
use crate::{ALONE, host, recipes, say};

const WITHIN: Duration = Duration::from_secs(60);
/// Kinds that the simulated days have at least: what is checked is more than a few messages.
const KINDS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_fits_its_schema() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = recipes::mosquitto(dir.path(), 1, None).await;
    let mut judge = Judge::start(dir.path(), broker.mqtt).await;
    let services = TcpListener::bind((host(9), 0)).await.unwrap();
    let world = World { dir: dir.path().to_owned(), broker: broker.mqtt, services: services.local_addr().unwrap() };

    let gateway = world.gateway(Protocol::value_variants(), "");
    judge.hears("health online").await;
    let stop = CancellationToken::new();
    let lobby = tokio::spawn(world.lobby().run(stop.clone()));
    let mut services = Some(services);
    let mut days: Vec<_> = Vec::new();
    for protocol in Protocol::value_variants() {
        days.push(world.day(*protocol, &mut services, &stop));
    }
    for mut day in days {
        while let Some(ended) = tokio::time::timeout(WITHIN, day.join_next()).await.expect("a day ends") {
            ended.unwrap().unwrap();
        }
    }
    let commander = Client::new(broker.mqtt, "5", COMMANDER, READERS_PASSWORD);
    for (terminal, id, command, result) in [
        ("lobby", "1", r#"{"verb":"counters","args":{"set":"basic"}}"#, "done"),
        ("lobby", "2", r#"{"verb":"out_of_service","args":{"reason":"test"},"ttl_s":60}"#, "done"),
        ("jsonl", "3", r#"{"verb":"in_service"}"#, "unsupported"),
        ("nobody", "4", r#"{"verb":"restart","expires_at":"2099-01-01T00:00:00Z"}"#, "unknown_terminal"),
    ] {
        let topic = format!("vestibule/v1/{}/{terminal}/command/{id}", site(0));
        assert_eq!(commander.publish(&topic, &["-m", command]), "");
        judge.hears(&format!("result {result}")).await;
    }
    stop.cancel();
    lobby.await.unwrap();

    // The broker speaks for a gateway that was killed. It comes back with fewer terminals, and sends what it has in batches.
    let mut gateway = gateway;
    gateway.kill();
    judge.hears("health offline").await;
    let mut gateway = world.gateway(&[Protocol::Jsonl], "batch = { max_events = 10, max_age_ms = 100 }");
    judge.hears("state nothing").await;
    judge.hears("batch something").await;
    kill(Pid::from_raw(gateway.id()), Signal::SIGTERM).unwrap();
    judge.hears("health stopped").await;
    until(WITHIN, || "the gateway does not end".into(), async || gateway.ended()).await;

    judge.says(&broker).await;
}

/// Where things are.
struct World {
    dir: PathBuf,
    broker: SocketAddr,
    services: SocketAddr,
}

impl World {
    /// Where a terminal of this protocol is heard.
    fn address(protocol: Protocol) -> SocketAddr {
        let place = Protocol::value_variants().iter().position(|other| *other == protocol).unwrap();
        SocketAddr::from((host(10), 4000 + u16::try_from(place).unwrap()))
    }

    fn lobby(&self) -> ndc::Terminal {
        ndc::Terminal {
            address: SocketAddr::from((host(10), 4900)),
            luno: "002".to_owned(),
            script: LOBBY,
            seed: 3,
            tempo: Pace::percent(400).into(),
            retry: Retry { first: Duration::from_millis(20), most: Duration::from_millis(200) },
        }
    }

    /// A gateway with a terminal of each of these protocols, and another that takes commands.
    fn gateway(&self, protocols: &[Protocol], forward: &str) -> Process {
        let dir = self.dir.join("gateway");
        let password = self.dir.join("password");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(&password, branch_password(0)).unwrap();
        let mut text = format!(
            "[gateway]\nid = \"gw\"\nsite = \"{site}\"\n[log]\ndir = {data:?}\n[http]\nlisten = \"{http}\"\n\
             [forward]\nhost = \"{host}\"\nport = {port}\nusername = \"{site}\"\npassword_file = {password:?}\n{forward}\n\
             [commands]\nmqtt = true\nmqtt_trust = \"broker\"\n\
             [[listener]]\nname = \"files\"\nprotocol = \"upload\"\nlisten = \"{files}\"\n\
             [[terminal]]\nname = \"lobby\"\nprofile = \"ncr-selfserv-ndc\"\nluno = \"002\"\n\
             link = [{{ name = \"ndc\", protocol = \"ndc\", listen = \"{lobby}\", commands = true }}]\n",
            site = site(0),
            data = dir.join("data"),
            http = SocketAddr::from((host(10), 8080)),
            host = self.broker.ip(),
            port = self.broker.port(),
            files = World::address(Protocol::Upload),
            lobby = self.lobby().address,
        );
        for protocol in protocols.iter().filter(|protocol| **protocol != Protocol::Upload) {
            let place = match protocol {
                Protocol::Xfs4iot => format!("dial = \"ws://{}\"", self.services),
                _ => format!("listen = \"{}\"", World::address(*protocol)),
            };
            let (name, profile) = (protocol.name(), protocol.usual_profile());
            text.push_str(&format!(
                "[[terminal]]\nname = \"{name}\"\nprofile = \"{profile}\"\nreports_requests = true\n\
                 link = [{{ name = \"link\", protocol = \"{name}\", {place} }}]\n"
            ));
        }
        std::fs::write(dir.join("vestibule.toml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command.arg("run").arg("--config").arg(dir.join("vestibule.toml")).current_dir(&dir);
        Process::start("gateway", command, &dir)
    }

    /// Everything that can happen at a terminal of this protocol, once.
    fn day(
        &self,
        protocol: Protocol,
        services: &mut Option<TcpListener>,
        stop: &CancellationToken,
    ) -> tokio::task::JoinSet<std::io::Result<()>> {
        let fleet = Fleet {
            protocol,
            profile: Profile::builtin(protocol.usual_profile()).unwrap(),
            script: Script { opening: DAY.opening, round: &[] },
            seed: 5,
            tempo: Tempo::rate(50.0).unwrap(),
            clock: Clock::Real(TimeZone::UTC),
            source: "day".to_owned(),
            figures: Arc::default(),
        };
        let place = match protocol {
            Protocol::Xfs4iot => Place::Listen(services.take().unwrap()),
            _ => Place::Call(World::address(protocol)),
        };
        let text = if protocol == Protocol::Ndc { "001" } else { "SIM00001" };
        fleet.start(vec![(Name { number: 1, text: text.to_owned() }, place)], stop)
    }
}

/// `contract.py`, which hears and judges.
struct Judge {
    process: Process,
    heard: PathBuf,
}

impl Judge {
    async fn start(dir: &Path, broker: SocketAddr) -> Judge {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet/contract.py");
        let mut command = python();
        command.arg(script).args([&broker.ip().to_string(), &broker.port().to_string(), JUDGE, READERS_PASSWORD]);
        command.arg(docs(""));
        let mut judge = Judge { process: Process::start("judge", command, dir), heard: dir.join("judge.log") };
        judge.hears("subscribed").await;
        judge
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.heard).unwrap_or_default()
    }

    /// Waits until it has heard this.
    async fn hears(&mut self, what: &str) {
        let Judge { process, heard } = self;
        let text = || std::fs::read_to_string(&*heard).unwrap_or_default();
        until(
            WITHIN,
            || format!("not heard: {what}; but\n{}", text()),
            async || {
                process.assert_alive();
                text().lines().any(|line| line.trim_start_matches("heard ") == what).then_some(())
            },
        )
        .await;
    }

    /// Its judgement.
    async fn says(mut self, broker: &Node) {
        kill(Pid::from_raw(self.process.id()), Signal::SIGTERM).unwrap();
        until(WITHIN, || "the judge does not end".into(), async || self.process.ended()).await;
        let text = self.text();
        let report: Value = serde_json::from_str(text.lines().last().unwrap())
            .unwrap_or_else(|_| panic!("no report: {text}\n{}", broker.tail()));
        let faults = report["faults"].as_array().unwrap();
        assert!(
            faults.is_empty(),
            "{} faults, the first:\n{:#}",
            faults.len(),
            Value::from(&faults[..faults.len().min(8)])
        );
        let heard = report["heard"].as_object().unwrap();
        assert!(heard.values().all(|count| count.as_u64() > Some(0)), "a channel was never used: {heard:?}");
        assert_eq!(report["packed"], serde_json::json!(["batch"]), "what was packed");
        let count = |what: &str| report[what].as_array().unwrap().len();
        assert_eq!(count("protocols"), Protocol::value_variants().len(), "{}", report["protocols"]);
        assert!(count("kinds") >= KINDS, "{}", report["kinds"]);
        say(&format!("messages that fit: {}; {} kinds of events", report["heard"], count("kinds")));
    }
}
