//! A gateway as a process, with a broker, a subscriber to everything, and a link for every protocol.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vestibule::simulate::xfs4iot::{Service, Terminal};

use crate::mosquitto::Mosquitto;
use crate::planted;
use crate::said;
use crate::secret::Secret;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// Nothing new for so long is rest.
const REST: Duration = Duration::from_secs(2);

/// The protocols that terminals connect by, with the profile of each.
const LINKS: [(&str, &str, &str); 7] = [
    ("ndc", "ndc", "ncr-selfserv-ndc"),
    ("iso8583", "iso8583", "iso8583-1987"),
    ("journal", "journal", "ncr-journal"),
    ("procash", "journal", "wincor-procash"),
    ("moniplus", "journal", "hyosung-moniplus"),
    ("triton", "triton", "triton"),
    ("jsonl", "jsonl", "json-lines"),
];

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct World {
    gateway: Process,
    _subscriber: Process,
    _broker: Mosquitto,
    dir: TempDir,
    ports: BTreeMap<&'static str, SocketAddr>,
    xfs4iot: std::sync::Arc<Terminal>,
}

fn free_port() -> SocketAddr {
    StdListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address")
}

impl World {
    pub(crate) async fn start() -> World {
        let dir = tempfile::tempdir().expect("temp dir");
        let broker = Mosquitto::start();
        let port = broker.port();
        let heard = File::create(dir.path().join("mqtt.txt")).expect("a file");
        let subscriber = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "#", "-v", "-q", "1"])
            .stdout(heard)
            .spawn()
            .expect("mosquitto_sub is installed");

        let service = Service { name: "CardReader", status: serde_json::json!({}), storage: None, reset: None };
        let xfs4iot = std::sync::Arc::new(Terminal::new(vec![service]));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let publisher = listener.local_addr().expect("an address");
        let serving = std::sync::Arc::clone(&xfs4iot);
        tokio::spawn(async move { serving.serve(listener, None).await });

        let mut ports: BTreeMap<&'static str, SocketAddr> =
            LINKS.iter().map(|(name, ..)| (*name, free_port())).collect();
        ports.insert("http", free_port());
        ports.insert("upload", free_port());
        let rules = dir.path().join("rules");
        put_rules(&rules);
        let text = config(&dir.path().join("data"), &rules, port, &ports, publisher);
        let file = dir.path().join("vestibule.toml");
        std::fs::write(&file, text).expect("writes");
        let log = File::create(dir.path().join("gateway.log")).expect("a file");
        let gateway = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["run", "--config"])
            .arg(&file)
            .env("VESTIBULE_LOG", "vestibule=trace,debug")
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("runs");
        let world =
            World { gateway: Process(gateway), _subscriber: Process(subscriber), _broker: broker, dir, ports, xfs4iot };
        let begun = Instant::now();
        while world.get("/readyz").await.is_none() {
            assert!(begun.elapsed() < DEADLINE, "no gateway: {}", world.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        world
    }

    pub(crate) fn gateway_id(&self) -> u32 {
        self.gateway.0.id()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("gateway.log")).unwrap_or_default()
    }

    /// Every capture of every model, by the link of its protocol.
    pub(crate) async fn captures(&self) {
        let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices");
        let mut said: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        let mut services = Vec::new();
        for file in captures(&devices) {
            let capture: Value = serde_json::from_slice(&std::fs::read(&file).expect("reads")).expect("JSON");
            let text = |key: &str| capture[key].as_str().unwrap_or_default().to_owned();
            let bytes = crate::secret::packed(&text("hex"));
            let framing = text("framing");
            let model = file.components().rev().nth(2).map(|part| part.as_os_str().to_string_lossy().into_owned());
            let framed = |frame: &[u8]| {
                let length = u16::try_from(frame.len()).expect("short").to_be_bytes();
                [&length, frame].concat()
            };
            let payload = match framing.as_str() {
                "len4ascii" => framed(&bytes[4..]),
                "payload_only" | "none" => framed(&bytes),
                _ => bytes,
            };
            let link = match (text("protocol").as_str(), model.as_deref()) {
                ("iso8583", _) => "iso8583",
                ("triton", _) => "triton",
                ("upload", _) => "upload",
                ("ej_text", Some("wincor-procash")) => "procash",
                ("ej_text", _) => "journal",
                ("hyosung_wince_journal", _) => "moniplus",
                ("xfs4iot", _) => {
                    services.push(String::from_utf8(payload).expect("text"));
                    continue;
                }
                _ => "ndc",
            };
            said.entry(link).or_default().extend(payload);
        }
        assert_eq!(said.len(), 7, "captures of every protocol");
        for (link, bytes) in said {
            self.say(link, &bytes).await;
        }
        self.publish(services).await;
    }

    /// Each card in every protocol.
    pub(crate) async fn cards(&self, secrets: &[Secret]) {
        let all = |say: &dyn Fn(&Secret, usize) -> Vec<u8>| -> Vec<u8> {
            secrets.iter().enumerate().flat_map(|(place, secret)| say(secret, place)).collect()
        };
        self.say("ndc", &all(&said::ndc)).await;
        self.say("iso8583", &all(&said::iso8583)).await;
        for journal in ["journal", "procash", "moniplus"] {
            self.say(journal, &all(&said::journal)).await;
        }
        self.say("jsonl", &all(&said::jsonl)).await;
        self.say("triton", &all(&|secret, place| said::triton_frame(&said::triton(secret, place)))).await;
        for (place, secret) in secrets.iter().enumerate() {
            self.say("upload", &said::upload(secret, place)).await;
        }
        self.publish(secrets.iter().flat_map(said::xfs4iot).collect()).await;
        // What a service answers to a command goes to whoever gave it, so that none of this comes in earnest.
        self.pad().await;
        for link in ["ndc", "iso8583", "journal", "jsonl", "triton", "upload"] {
            self.say(link, &said::noise(&secrets[0])).await;
        }
    }

    /// Some cards in every place of every protocol, and in what is asked by HTTP.
    pub(crate) async fn planted(&self, secrets: &[Secret]) {
        for secret in secrets {
            self.say("ndc", &planted::ndc(secret)).await;
            self.say("iso8583", &planted::iso8583(secret)).await;
            for journal in ["journal", "procash", "moniplus"] {
                self.say(journal, &planted::journal(secret)).await;
            }
            // Each line on a connection of its own: a bad name ends one.
            for line in planted::jsonl(secret).split_inclusive(|byte| *byte == b'\n') {
                self.say("jsonl", line).await;
            }
            self.say("upload", &planted::upload(secret)).await;
            for body in planted::triton(secret) {
                self.say("triton", &said::triton_frame(&body)).await;
            }
            self.publish(planted::xfs4iot(secret)).await;
            for path in planted::paths(secret) {
                let answer = self.ask(&path).await.expect("an answer");
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(self.dir.path().join("http.txt"))
                    .and_then(|mut file| std::io::Write::write_all(&mut file, answer.as_bytes()))
                    .expect("writes");
            }
        }
        self.pad().await;
    }

    /// The library's buffer of an XFS4IoT connection holds the last message until the next one overwrites it: here is the
    /// next one.
    async fn pad(&self) {
        let padding = "x".repeat(64 * 1024);
        let message =
            format!("{{\"header\":{{\"name\":\"Common.Padding\",\"type\":\"event\"}},\"payload\":\"{padding}\"}}");
        self.publish(vec![message]).await;
    }

    /// Says something on a connection of its own, and reads answers until the gateway has had time for all of it.
    async fn say(&self, link: &str, bytes: &[u8]) {
        let stream = TcpStream::connect(self.ports[link]).await.expect("the link listens");
        let (mut read, mut write) = stream.into_split();
        let answers = tokio::spawn(async move {
            let mut answers = Vec::new();
            let _ = read.read_to_end(&mut answers).await;
        });
        // A gateway that hangs up on nonsense is right to do so.
        let _ = write.write_all(bytes).await;
        let _ = write.shutdown().await;
        drop(write);
        tokio::time::timeout(DEADLINE, answers).await.expect("answers end").expect("no panic");
    }

    /// Has the service say these.
    async fn publish(&self, messages: Vec<String>) {
        for message in messages {
            self.xfs4iot.say_text("CardReader", message);
            // Its queue is short, and what a service says once is not said again.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Waits until everything is committed and forwarded, and nothing happens any more.
    pub(crate) async fn at_rest(&self) {
        let begun = Instant::now();
        let (mut last, mut since) = (String::new(), Instant::now());
        loop {
            let metrics = self.get("/metrics").await.unwrap_or_default();
            let figure =
                |name: &str| metrics.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
            let now = figure("vestibule_log_appended_events ");
            let pending = figure("vestibule_forward_pending_events ");
            if now != last || !pending.ends_with(" 0") {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > REST {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "no rest: {last}, {pending}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Everything that the gateway wrote, published or answers, by its place.
    pub(crate) async fn left_behind(&self) -> Vec<(String, Vec<u8>)> {
        let mut left = Vec::new();
        for path in ["/metrics", "/readyz", "/api/v1/terminals", "/api/v1/terminals/jsonl", "/api/v1/terminals/journal"]
        {
            left.push((format!("HTTP {path}"), self.get(path).await.unwrap_or_default().into_bytes()));
        }
        for terminal in ["journal", "ndc", "procash", "atm-12"] {
            let path = format!("/api/v1/journal?terminal={terminal}&limit=1000");
            left.push((format!("HTTP {path}"), self.get(&path).await.unwrap_or_default().into_bytes()));
        }
        for file in files(self.dir.path()) {
            let bytes = std::fs::read(&file).expect("reads");
            left.push((file.display().to_string(), bytes));
        }
        assert!(left.iter().filter(|(_, bytes)| bytes.len() > 1_000).count() > 4, "there is something to search");
        left
    }

    /// Makes sure that the cards were really said: the log has their masked numbers.
    pub(crate) fn heard_of_all(&self, cards: usize) {
        let mqtt = std::fs::read_to_string(self.dir.path().join("mqtt.txt")).expect("what was heard");
        let log = self.log();
        let handed = log.lines().filter(|line| line.contains("handed ")).count();
        assert!(
            handed > 10 && mqtt.contains("\"rule\":\"fixture-plugin\""),
            "a rule said {handed} times what it was handed"
        );
        for link in ["ndc", "iso8583", "triton", "jsonl"] {
            let masked = mqtt.lines().filter(|line| line.contains(&format!("\"protocol\":\"{link}\"")));
            let masked = masked.filter(|line| line.contains("******")).count();
            assert!(masked >= cards / 2, "{link}: only {masked} events show a masked card");
        }
    }

    async fn get(&self, path: &str) -> Option<String> {
        let answer = self.ask(path).await?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// The whole answer, whatever it is.
    async fn ask(&self, path: &str) -> Option<String> {
        let address = self.ports["http"];
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }
}

fn config(
    data: &Path,
    rules: &Path,
    broker: u16,
    ports: &BTreeMap<&'static str, SocketAddr>,
    publisher: SocketAddr,
) -> String {
    let mut text = format!(
        "[gateway]\nid = \"g\"\n[log]\ndir = {data:?}\n[rules]\ndir = {rules:?}\n[http]\nlisten = \"{}\"\n[auth]\nloopback = \"open\"\n\
         [forward]\nhost = \"127.0.0.1\"\nport = {broker}\n\
         [[listener]]\nname = \"files\"\nprotocol = \"upload\"\nlisten = \"{}\"\nmax_frame_bytes = 65536\n",
        ports["http"], ports["upload"]
    );
    for (name, protocol, profile) in LINKS {
        let tap = if protocol == "triton" { ", listen_only = true" } else { "" };
        text.push_str(&format!(
            "[[terminal]]\nname = \"{name}\"\nprofile = \"{profile}\"\n\
             link = [{{ name = \"l\", protocol = \"{protocol}\", listen = \"{}\"{tap} }}]\n",
            ports[name]
        ));
    }
    text.push_str(&format!(
        "[[terminal]]\nname = \"xfs\"\nprofile = \"xfs4iot\"\n\
         link = [{{ name = \"l\", protocol = \"xfs4iot\", dial = \"ws://{publisher}\" }}]\n"
    ));
    text
}

fn captures(devices: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        files(devices).into_iter().filter(|file| file.extension().is_some_and(|end| end == "json")).collect();
    found.sort();
    assert!(found.len() >= 110, "{} captures", found.len());
    found
}

/// The rules that come with the project, and one that says again what it is handed: what a rule gets stands in its own
/// memory, which is a part of the process's, in its alerts, and in the log.
fn put_rules(folder: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(folder).expect("a folder");
    for rule in
        ["../plugins/dist/cash-low.wasm", "../plugins/dist/dispenser-guard.wasm", "tests/fixtures/fixture-plugin.wasm"]
    {
        let file = root.join(rule);
        std::fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("copies");
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
