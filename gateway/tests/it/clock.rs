//! A machine without a clock of its own: it wakes in 1970, its time arrives late, and jumps.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::authority::Authority as Bank;
use crate::certificates::Authority;
use crate::fake_clock::FakeClock;
use crate::gateway::{Source, free_port};
use crate::mosquitto::Mosquitto;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::subscriber::Subscriber;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

/// How far a time that was worked out may be from the true one: what a busy machine takes between two lines of a test.
const NEAR: SignedDuration = SignedDuration::from_secs(20);

/// A subscriber that knows each event by its id, as the documentation says.
struct Listener {
    subscriber: Subscriber,
    events: BTreeMap<u64, Value>,
}

impl Listener {
    /// The next event that is so; what comes before it is kept too.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.subscriber.next().await.json;
            let sequence = event["sequence"].as_str().expect("digits").parse().expect("a number");
            self.events.entry(sequence).or_insert_with(|| event.clone());
            if wanted(&event) {
                return event;
            }
        }
    }

    async fn kind(&mut self, kind: &str) -> Value {
        self.until(|event| event["type"] == format!("vestibule.{kind}")).await
    }

    async fn detail(&mut self, detail: &str) -> Value {
        self.until(|event| event["data"]["detail"] == detail).await
    }
}

/// Says something, and gives the true time at which it was answered.
async fn say(source: &mut Source, detail: &str) -> Timestamp {
    source
        .say(format!("{{\"kind\":\"supply.low\",\"component\":\"cassette_1\",\"detail\":\"{detail}\"}}\n").as_bytes())
        .await;
    assert!(source.answer().await.expect("an answer")["seq"].is_u64());
    Timestamp::now()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no time"))
}

fn assert_near(found: Timestamp, expected: Timestamp) {
    assert!(found.duration_since(expected).abs() < NEAR, "{found} is not {expected}");
}

async fn ask(gateway: &Process, method: &str, path: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(gateway.http).await.expect("connects");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answers");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_wakes_in_1970_loses_and_misdates_nothing_however_its_clock_jumps() {
    let broker = Mosquitto::start();
    let line = Proxy::start(broker.port()).await;
    let subscriber = Subscriber::to(broker.port(), "vestibule/v1/+/+/event/#").await;
    let mut listener = Listener { subscriber, events: BTreeMap::new() };
    let (json, ndc) = (free_port(), free_port());
    let dir = tempfile::tempdir().expect("a folder");
    let clock = FakeClock::in_1970(dir.path());
    let settings = format!(
        "{}rules.bundled = []\nauth.loopback = 'open'\nforward.port = {}\n\
         [[terminal]]\nname = 'atm-1'\nprofile = 'json-lines'\n\
         link = [{{ name = 'json', protocol = 'jsonl', listen = '{json}' }}]\n\
         [[terminal]]\nname = 'atm-2'\nprofile = 'ncr-selfserv-ndc'\nluno = '002'\n\
         link = [{{ name = 'ndc', protocol = 'ndc', listen = '{ndc}', commands = true }}]\n",
        FakeClock::SETTINGS,
        line.port()
    );
    let gateway = Process::start_with(dir, &settings, &clock.environment()).await;
    gateway.until_figure("vestibule_clock_state{state=\"wrong\"}", |value| value == 1.0).await;

    // In 1970: what is heard says that the time is wrong, and how to work it out.
    let mut source = Source::connect(json).await;
    let live_at = say(&mut source, "live in 1970").await;
    let live = listener.detail("live in 1970").await;
    assert!(live["time"].as_str().expect("a time").starts_with("1970-"), "{live}");
    assert_eq!((&live["timesynced"], live.get("timecorrected")), (&json!(false), None));
    let (boot, boot_ms) = (live["data"]["boot"].clone(), live["data"]["boot_ms"].as_u64().expect("a number"));
    // While the broker is away, more comes.
    line.refuse(true);
    let kept_at = say(&mut source, "kept in 1970").await;

    // The time arrives.
    clock.set(0);
    clock.confirm();
    gateway.until_figure("vestibule_clock_state{state=\"right\"}", |value| value == 1.0).await;
    line.refuse(false);
    let set = listener.kind("gateway.clock_set").await;
    let attributes = &set["data"]["attributes"];
    assert_eq!((&attributes["boot"], &set["timesynced"]), (&boot, &json!(true)));
    assert!(attributes["from"].as_str().expect("a time").starts_with("1970-"), "{set}");
    assert_near(time(&attributes["boot_at"]) + Duration::from_millis(boot_ms), live_at);
    let kept = listener.events.values().find(|event| event["data"]["detail"] == "kept in 1970").expect("came before");
    assert_near(time(&kept["time"]), kept_at);
    assert_near(time(&kept["data"]["received_at"]), kept_at);
    assert_eq!((&kept["timesynced"], &kept["timecorrected"]), (&json!(false), &json!(true)));
    let terminals = ask(&gateway, "GET", "/api/v1/terminals/atm-1", "").await;
    assert_near(time(&terminals["conditions"][0]["since"]), live_at);
    assert_near(time(&terminals["last_seen"]), kept_at);
    say(&mut source, "right").await;
    assert_eq!(listener.detail("right").await["timesynced"], true);

    // A command that waits for its terminal, and half an hour more.
    let command = r#"{"id":"c1","terminal":"atm-2","verb":"out_of_service","ttl_s":1800}"#;
    let asked = ask(&gateway, "POST", "/api/v1/commands", command).await;
    assert_eq!(asked["state"], "requested", "{asked}");

    // Somebody sets it back an hour by hand, and the daemon mends that.
    for (offset, direction) in [(-HOUR, "back"), (YEAR, "forward")] {
        clock.set(offset);
        let moved = listener.kind("gateway.clock_moved").await;
        let by = moved["data"]["attributes"]["moved_ms"].as_i64().expect("a number");
        assert!((by - offset * 1000).abs() < 5000, "{moved}");
        gateway
            .until_figure(&format!("vestibule_clock_moves_total{{direction=\"{direction}\"}}"), |value| value >= 1.0)
            .await;
        let told = format!("moved {direction}");
        say(&mut source, &told).await;
        let event = listener.detail(&told).await;
        assert_eq!(event["timesynced"], false, "nobody has confirmed it: {event}");
        let waits = ask(&gateway, "GET", "/api/v1/commands/c1", "").await;
        assert_eq!(waits["state"], "requested", "half an hour has not passed: {waits}");
        clock.set(0);
        clock.confirm();
        listener.kind("gateway.clock_set").await;
    }
    say(&mut source, "the last").await;
    let last = listener.detail("the last").await;
    assert_eq!(last["timesynced"], true);

    // Nothing is missing and nothing stands in another place.
    let count = last["sequence"].as_str().expect("digits").parse().expect("a number");
    assert_eq!(listener.events.keys().copied().collect::<Vec<u64>>(), (1..=count).collect::<Vec<u64>>());
    let said: Vec<_> = listener.events.values().filter(|event| event["subject"] == "atm-1").collect();
    let said: Vec<_> = said.iter().filter(|event| event["data"].get("component").is_some()).collect();
    let said: Vec<&str> = said.iter().filter_map(|event| event["data"]["detail"].as_str()).collect();
    assert_eq!(said, ["live in 1970", "kept in 1970", "right", "moved back", "moved forward", "the last"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_clock_that_nobody_confirms_two_years_ahead_throws_nothing_away() {
    let json = free_port();
    let dir = tempfile::tempdir().expect("a folder");
    let clock = FakeClock::new(dir.path(), 0);
    let settings = format!(
        "clock.marks = ['{{dir}}/nobody/set']\nrules.bundled = []\nauth.loopback = 'open'\nlog.keep_days = 90\n\
         [[terminal]]\nname = 'atm-1'\nprofile = 'json-lines'\n\
         link = [{{ name = 'json', protocol = 'jsonl', listen = '{json}' }}]\n"
    );
    let gateway = Process::start_with(dir, &settings, &clock.environment()).await;
    let mut source = Source::connect(json).await;
    for number in 0..25 {
        say(&mut source, &format!("number {number}")).await;
    }
    let dir = gateway.stop().await;
    clock.set(2 * YEAR);
    let gateway = Process::start_with(dir, &settings, &clock.environment()).await;
    // It has looked at what is old, and waits.
    gateway.until_figure("vestibule_log_waits_for_clock", |value| value == 1.0).await;
    assert!(gateway.output().contains("nothing confirms it"), "{}", gateway.output());
    let page = ask(&gateway, "GET", "/api/v1/events?after=0&limit=100", "").await;
    let events = page["events"].as_array().expect("events");
    assert_eq!(events[0]["seq"], 1);
    let said = events.iter().filter(|event| event["detail"].as_str().is_some_and(|text| text.starts_with("number ")));
    assert_eq!(said.count(), 25);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_before_is_not_sent_until_it_is_known_how_old_it_is() {
    let ndc = free_port();
    let settings = format!(
        "{}rules.bundled = []\nauth.loopback = 'open'\n\
         [[terminal]]\nname = 'atm-1'\nprofile = 'ncr-selfserv-ndc'\nluno = '001'\n\
         link = [{{ name = 'ndc', protocol = 'ndc', listen = '{ndc}', commands = true }}]\n",
        FakeClock::SETTINGS
    );
    let dir = tempfile::tempdir().expect("a folder");
    let clock = FakeClock::new(dir.path(), 0);
    clock.confirm();
    let gateway = Process::start_with(dir, &settings, &clock.environment()).await;
    for (id, seconds) in [("short", 1800), ("long", 7200)] {
        let command = format!(r#"{{"id":"{id}","terminal":"atm-1","verb":"out_of_service","ttl_s":{seconds}}}"#);
        assert_eq!(ask(&gateway, "POST", "/api/v1/commands", &command).await["state"], "requested");
    }
    let at = jiff::Timestamp::now();
    let late = format!(r#"{{"id":"at","terminal":"atm-1","verb":"out_of_service","expires_at":"{at}"}}"#);
    let dir = gateway.stop().await;

    // The power was away for an hour, which nobody knows yet.
    let clock = FakeClock::in_1970(dir.path());
    let gateway = Process::start_with(dir, &settings, &clock.environment()).await;
    let mut terminal = TcpStream::connect(ndc).await.expect("connects");
    gateway.until_figure("vestibule_link_up{link=\"ndc\",terminal=\"atm-1\"}", |value| value == 1.0).await;
    let refused = ask(&gateway, "POST", "/api/v1/commands", &late).await;
    assert_eq!(refused["code"], "clock_not_synced", "{refused}");
    let nothing = tokio::time::timeout(Duration::from_secs(3), terminal.read_u8()).await;
    assert!(nothing.is_err(), "something was sent");
    clock.set(HOUR);
    clock.confirm();
    // Delivery looks at its clock at the latest half a minute later; a terminal that comes makes it look.
    gateway.until_figure("vestibule_clock_state{state=\"right\"}", |value| value == 1.0).await;
    drop(terminal);
    let mut terminal = TcpStream::connect(ndc).await.expect("connects");
    let sent = tokio::time::timeout(Duration::from_secs(20), terminal.read_u8()).await;
    sent.expect("something is sent").expect("is read");
    for (id, state) in [("short", "expired"), ("long", "sent")] {
        let found = ask(&gateway, "GET", &format!("/api/v1/commands/{id}"), "").await;
        assert_eq!(found["state"], state, "{found}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tls_refuses_because_the_clock_is_not_set_is_said_so() {
    let authority = Authority::new();
    let signed = authority.sign("127.0.0.1", (2025, 2090));
    let files = [("ca", authority.pem.as_str()), ("cert", &signed.certificate), ("key", &signed.key)];
    let lines = "allow_anonymous true\ncafile {dir}/ca\ncertfile {dir}/cert\nkeyfile {dir}/key\n";
    let broker = Mosquitto::with(lines, &files);
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("ca"), &authority.pem).expect("is written");
    let clock = FakeClock::in_1970(dir.path());
    let settings = format!(
        "{}rules.bundled = []\nforward.port = {}\nforward.tls = {{ ca = '{{dir}}/ca' }}\n",
        FakeClock::SETTINGS,
        broker.port()
    );
    // A terminal and a client of HTTP show certificates that are good.
    let bank = Bank::new();
    let (ours, theirs) = (bank.issue_as("ours", "localhost", 2099), bank.issue_as("theirs", "localhost", 2099));
    let port = free_port();
    let tls =
        format!("{{ certificate = {:?}, key = {:?}, ca = {:?} }}", ours.certificate_file, ours.key_file, bank.file());
    let settings = format!(
        "{settings}http.tls = {tls}\n[[terminal]]\nname = 'atm-1'\nprofile = 'json-lines'\n\
         link = [{{ name = 'json', protocol = 'jsonl', listen = '{port}', tls = {tls} }}]\n"
    );
    let gateway = Process::start_with(dir, &settings, &clock.environment()).await;
    let connect = async |port: SocketAddr| {
        let stream = TcpStream::connect(port).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = bank.connector(Some(&theirs)).connect(name, stream).await?;
        // In TLS 1.3 a client learns when it reads that it is refused.
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
        stream.read_u8().await
    };
    let clock_says = "this gateway's clock says 1970-01-01";
    gateway
        .until_said(&format!("the broker's certificate is not valid before 2025-01-01T00:00:00Z; {clock_says}"))
        .await;
    assert!(connect(port).await.is_err() && connect(gateway.http).await.is_err());
    gateway
        .until_said(&format!("the other side's certificate is not valid before 2020-01-01T00:00:00Z; {clock_says}"))
        .await;
    gateway.until_said(&format!("its certificate is not valid before 2020-01-01T00:00:00Z; {clock_says}")).await;
    assert_eq!(
        gateway.output().matches("and it is not set: it waits for network time").count(),
        3,
        "{}",
        gateway.output()
    );
    clock.set(0);
    clock.confirm();
    gateway.until_said("connected to the broker").await;
    gateway.until_said("The clock is right now.").await;
    connect(gateway.http).await.expect("is let in");
    connect(port).await.expect("is let in, and answered");
    // Whoever sets it a century ahead by hand makes no certificate fail: until it is confirmed, time passes as before.
    clock.set(100 * YEAR);
    gateway.until_said("The clock was moved.").await;
    connect(port).await.expect("is let in all the same");
    gateway.stop().await;
}
