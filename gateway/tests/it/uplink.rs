//! The ways to a broker: versions of MQTT, TLS, files that change, several brokers.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vestibule::forward::{Config, Reconnect, Tls, Version};

use crate::certificates::Authority;
use crate::forwarding::{DEADLINE, Gateway, eventually, sequence, to};
use crate::mosquitto::{Mosquitto, free_port};
use crate::proxy::Proxy;
use crate::subscriber::Subscriber;

const VALID: (i32, i32) = (2025, 2090);

/// A mosquitto that speaks TLS alone, with a certificate for `name`, valid in these years.
fn tls_broker(authority: &Authority, name: &str, years: (i32, i32), more: &str) -> Mosquitto {
    let signed = authority.sign(name, years);
    let lines = "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n\
                 cafile {dir}/ca\ncertfile {dir}/cert\nkeyfile {dir}/key\n";
    let files = [("ca", authority.pem.as_str()), ("cert", &signed.certificate), ("key", &signed.key)];
    Mosquitto::with(&format!("{lines}{more}"), &files)
}

/// Our own files: the authority, and a certificate of ours.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(authority: &Authority) -> Files {
        let files = Files { dir: tempfile::tempdir().expect("temp dir") };
        files.write("ca", &authority.pem);
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("writes");
        path
    }

    fn certificate(&self, authority: &Authority) {
        let ours = authority.sign("gw-1", VALID);
        self.write("cert", &ours.certificate);
        self.write("key", &ours.key);
    }

    fn tls(&self, own: bool) -> Tls {
        let path = |name: &str| self.dir.path().join(name);
        let own = |name: &str| own.then(|| path(name));
        Tls { ca: path("ca"), certificate: own("cert"), key: own("key"), server_name: None }
    }
}

/// The lines of the log while a test runs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("not poisoned")).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the log says from now on, on this thread.
fn listen() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_with_tls_and_without_carry_everything() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let (plain, tls) = (Mosquitto::start(), tls_broker(&authority, "127.0.0.1", VALID, ""));
    for version in [Version::V5, Version::V311] {
        for (broker, by) in [(&plain, None), (&tls, Some(files.tls(false)))] {
            let gateway = Gateway::new();
            gateway.append("atm-1", 2000).await;
            let forwarder = gateway.forward(Config { version, tls: by, ..to(broker.port()) });
            gateway.append("atm-1", 100).await;
            gateway.eventually([2100, 0, 0, 0]).await;
            forwarder.stop(DEADLINE).await;
        }
        let mut subscriber = Subscriber::to(plain.port(), "vestibule/v1/+/gateway/#").await;
        assert_eq!(subscriber.next().await.json["status"], "stopped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_3_1_1_connection_that_breaks_loses_nothing() {
    let broker = Mosquitto::start();
    let proxy = Proxy::start(broker.port()).await;
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/br001/+/event/#").await;
    let gateway = Gateway::new();
    let forwarder = gateway.forward(Config { version: Version::V311, ..to(proxy.port()) });
    let mut heard = std::collections::BTreeSet::new();
    for round in 0..5 {
        gateway.append("atm-1", 1000).await;
        for _ in 0..(50 + 150 * round) {
            heard.insert(sequence(&subscriber.next().await.json));
        }
        proxy.cut();
    }
    while heard.len() < 5000 {
        heard.insert(sequence(&subscriber.next().await.json));
    }
    gateway.eventually([5000, 0, 0, 0]).await;
    forwarder.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_may_ask_for_our_certificate_and_a_new_one_is_taken_up_in_order() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    files.certificate(&Authority::new());
    let broker = tls_broker(&authority, "localhost", VALID, "require_certificate true\n");
    let gateway = Gateway::new();
    gateway.append("atm-1", 10).await;
    let tls = Tls { server_name: Some("localhost".to_owned()), ..files.tls(true) };
    let forwarder = gateway.forward(Config { tls: Some(tls), ..to(broker.port()) });
    let tried = |outcome: &str| gateway.metrics.forward_connections.with_label_values(&[outcome]).get();
    eventually(|| tried("tls") + tried("failed") > 0).await;
    assert_eq!(gateway.counts(), [0, 10, 0, 0], "a certificate of another authority");
    files.certificate(&authority);
    gateway.eventually([10, 0, 0, 0]).await;
    assert_eq!(tried("connected"), 1);
    let ends = |role: &str| gateway.metrics.forward_certificate_expiry.with_label_values(&[role]).get();
    assert_eq!([ends("own"), ends("peer")], [3_786_912_000; 2], "the beginning of 2090");

    // A half-written change is passed over; a whole one is taken up without losing or repeating anything.
    files.write("cert", "-----BEGIN CERTI");
    let changed = |outcome: &str| gateway.metrics.forward_file_changes.with_label_values(&[outcome]).get();
    eventually(|| changed("unusable") == 1).await;
    assert_eq!((tried("connected"), changed("taken")), (1, 0), "the connection stays");
    files.certificate(&authority);
    eventually(|| tried("connected") == 2).await;
    gateway.append("atm-1", 10).await;
    gateway.eventually([20, 0, 0, 0]).await;
    assert_eq!(gateway.metrics.forward_published.get(), 20);
    forwarder.stop(DEADLINE).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let authority = Authority::new();
    let files = Files::new(&authority);
    let (stranger, here) = (Authority::new(), "127.0.0.1");
    for (broker, words) in [
        (tls_broker(&stranger, here, VALID, ""), "signed by nobody in the file of `tls.ca`"),
        (tls_broker(&authority, here, (2020, 2021), ""), "certificate expired on 2021-01-01T00:00:00Z"),
        (tls_broker(&authority, here, (2080, 2090), ""), "not valid before 2080-01-01T00:00:00Z; this gateway's clock"),
        (tls_broker(&authority, "other.example", VALID, ""), "not for 127.0.0.1"),
        (Mosquitto::start(), "not connected to the broker"),
    ] {
        let (lines, _guard) = listen();
        let gateway = Gateway::new();
        let forwarder = gateway.forward(Config { tls: Some(files.tls(false)), ..to(broker.port()) });
        eventually(|| lines.text().contains("not connected to the broker")).await;
        assert!(lines.text().contains(words), "{}", lines.text());
        assert_eq!(gateway.metrics.forward_connected.get(), 0);
        forwarder.stop(DEADLINE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_broker_takes_over_and_the_first_is_preferred_again() {
    let (first, second) = (Mosquitto::start(), Mosquitto::start());
    let (to_first, to_second) = (Proxy::start(first.port()).await, Proxy::start(second.port()).await);
    to_first.refuse(true);
    let dead = free_port();
    let address = |port: u16| format!("mqtt://127.0.0.1:{port}");
    let brokers = vec![address(dead), address(to_first.port()), address(to_second.port())];
    let gateway = Gateway::new();
    gateway.append("atm-1", 300).await;
    let forwarder = gateway.forward(Config { brokers: brokers.clone(), ..Config::default() });
    let used = |at: usize| {
        let broker = brokers.get(at).expect("one of three").as_str();
        gateway.metrics.forward_broker.with_label_values(&[broker]).get()
    };
    gateway.eventually([300, 0, 0, 0]).await;
    assert_eq!((used(0), used(1), used(2)), (0, 0, 1));
    to_first.refuse(false);
    to_second.refuse(true);
    eventually(|| used(1) == 1).await;
    gateway.append("atm-1", 300).await;
    gateway.eventually([600, 0, 0, 0]).await;
    assert_eq!((used(0), used(1), used(2)), (0, 1, 0));
    forwarder.stop(DEADLINE).await;
}

#[tokio::test]
async fn who_is_thrown_out_again_and_again_hears_why_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut greeting = [0; 1024];
            let _ = stream.read(&mut greeting).await;
            // Welcome; and the reason of section 3.14.2.1 for a session that another client has taken over.
            let _ = stream.write_all(&[0x20, 3, 0, 0, 0, 0xe0, 2, 0x8e, 0]).await;
        }
    });
    let (lines, _guard) = listen();
    let gateway = Gateway::new();
    let forwarder = gateway.forward(Config { reconnect_ms: Reconnect { first: 1, most: 5 }, ..to(port) });
    eventually(|| gateway.metrics.forward_connections.with_label_values(&["connected"]).get() > 20).await;
    forwarder.stop(DEADLINE).await;
    let text = lines.text();
    let times = |what: &str| text.matches(what).count();
    assert_eq!(times("another client has our client id"), 1, "{text}");
    assert_eq!(times("it accepts us and ends the connection soon after"), 1, "{text}");
    assert!(times("vestibule-gw-1") >= 1 && times(" connected to the broker") <= 3, "{text}");
}

#[tokio::test]
async fn a_password_that_others_may_read_is_said_by_check_and_at_the_start() {
    let broker = Mosquitto::start();
    let dir = tempfile::tempdir().expect("temp dir");
    let (secret, file) = (dir.path().join("secret"), dir.path().join("vestibule.toml"));
    std::fs::write(&secret, "secret").expect("writes");
    let text = format!(
        "log.dir = {:?}\nhttp.listen = \"127.0.0.1:0\"\nforward.port = {}\nforward.username = \"gw\"\n\
         forward.password_file = {secret:?}\n",
        dir.path().join("log"),
        broker.port()
    );
    std::fs::write(&file, text).expect("writes");
    for (mode, open) in [(0o644, true), (0o600, false)] {
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).expect("is set");
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule")).args(["check", "--config"]).arg(&file).output();
        let output = output.expect("runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success() && said.ends_with(": good\n"), "a warning is no fault: {said}");
        assert_eq!(said.contains("warning: forward.password_file: others may read"), open, "{said}");
        let (lines, _guard) = listen();
        let gateway = Gateway::new();
        let login = (Some("gw".to_owned()), Some(secret.clone()));
        let forwarder = gateway.forward(Config { username: login.0, password_file: login.1, ..to(broker.port()) });
        assert_eq!(lines.text().contains("forward.password_file: others may read"), open, "{}", lines.text());
        forwarder.stop(DEADLINE).await;
    }
}
