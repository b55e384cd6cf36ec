//! Events over HTTP: pages, and the stream that misses nothing and doubles nothing.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vestibule::event::{Event, Kind, Severity};
use vestibule::log::{Log, NewEvent, Submission};

use crate::client::{Answer, get, talk};
use crate::desk::Desk;
use crate::gateway::{DEADLINE, Running};

fn event(terminal: &str, kind: Kind, number: u64) -> NewEvent {
    let mut event = Event::new(kind).detail(format!("number {number}")).attribute("number", number);
    event.terminal = terminal.to_owned();
    event.received_at =
        Some(jiff::Timestamp::from_second(1_795_000_000 + i64::try_from(number).expect("small")).expect("an instant"));
    event.into()
}

async fn append(log: &Log, events: Vec<NewEvent>) {
    log.submit(Submission { events, ..Submission::default() }).await.expect("appends");
}

async fn ask(http: SocketAddr, path: &str, token: Option<&str>) -> Answer {
    talk(TcpStream::connect(http).await.expect("connects"), &get(path, token, "")).await
}

/// The numbers of a page's events.
fn numbers(page: &Value) -> Vec<u64> {
    let events = page["events"].as_array().unwrap_or_else(|| panic!("a page: {page}"));
    events.iter().filter_map(|event| event["attributes"]["number"].as_u64()).collect()
}

/// Somebody who listens to the stream.
struct Listener {
    lines: BufReader<TcpStream>,
    /// The last place that was said.
    id: String,
}

/// What a listener hears.
#[derive(Debug, PartialEq)]
enum Word {
    Event(Value),
    Gap(Value),
    End,
}

impl Listener {
    async fn at(http: SocketAddr, query: &str, id: Option<&str>, token: Option<&str>) -> Listener {
        let mut stream = TcpStream::connect(http).await.expect("connects");
        let mut request = format!("GET /api/v1/events/stream?{query} HTTP/1.0\r\nHost: localhost\r\n");
        for (header, value) in [("Last-Event-ID: ", id), ("Authorization: Bearer ", token)] {
            if let Some(value) = value {
                request.push_str(&format!("{header}{value}\r\n"));
            }
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).await.expect("asks");
        let mut listener = Listener { lines: BufReader::new(stream), id: String::new() };
        let status = listener.line().await.expect("a status");
        assert!(status.starts_with("HTTP/1.0 200") || status.starts_with("HTTP/1.1 200"), "{status}");
        while !listener.line().await.expect("headers").is_empty() {}
        // The first word is where it begins.
        while !listener.line().await.expect("a position").is_empty() {}
        listener
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(DEADLINE, self.lines.read_line(&mut line)).await.expect("a word in time").unwrap_or(0);
        if read == 0 || !line.ends_with('\n') {
            return None;
        }
        let line = line.trim_end().to_owned();
        if let Some(id) = line.strip_prefix("id: ") {
            self.id = id.to_owned();
        }
        Some(line)
    }

    async fn hear(&mut self) -> Word {
        let (mut gap, mut data) = (false, None);
        loop {
            let before = self.id.clone();
            let Some(line) = self.line().await else {
                self.id = before;
                return Word::End;
            };
            gap |= line == "event: gap";
            if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).expect("is JSON"));
            }
            match data.take() {
                Some(json) if line.is_empty() => return if gap { Word::Gap(json) } else { Word::Event(json) },
                waiting => data = waiting,
            }
        }
    }

    async fn number(&mut self) -> u64 {
        match self.hear().await {
            Word::Event(event) => event["attributes"]["number"].as_u64().unwrap_or_else(|| panic!("a number: {event}")),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn pages_have_what_is_asked_for_and_go_on_where_they_end() {
    let gateway = Running::start("").await;
    let kinds = [Kind::SupplyLow, Kind::SupplyOut, Kind::CardInserted];
    let all = (1..=300).map(|number| {
        let mut new = event(
            if number % 2 == 0 { "even" } else { "odd" },
            kinds[usize::try_from(number % 3).expect("small")],
            number,
        );
        if number == 120 {
            new.event.severity = Severity::Critical;
        }
        new
    });
    append(&gateway.log, all.collect()).await;
    let page = |query: &str| {
        let path = format!("/api/v1/events?{query}");
        async move { ask(gateway.http, &path, None).await }
    };
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let answer = page(&format!("terminal=even&kind=supply.*&limit=7&after={after}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        found.extend(numbers(&answer.body));
        after = answer.body["upto"].as_u64().expect("a place");
        if answer.body["more"] == false {
            break;
        }
    }
    assert_eq!(found, (1..=300).filter(|number| number % 2 == 0 && number % 3 != 2).collect::<Vec<_>>());
    assert_eq!(numbers(&page("severity=critical&kind=supply.low,card.*").await.body), [120]);
    assert_eq!(numbers(&page("newest=true&limit=2&kind=card.inserted").await.body), [296, 299]);
    let since = jiff::Timestamp::from_second(1_795_000_298).expect("an instant");
    assert_eq!(numbers(&page(&format!("since={since}&terminal=odd")).await.body), [299]);
    assert_eq!(numbers(&page(&format!("until={since}&after=297&terminal=odd")).await.body), [297]);
    for wrong in
        ["kind=suply.*", "limit=0", "limit=1001", "after=x", "newest=true&after=3", "severity=bad", "x=1", "since=now"]
    {
        let answer = page(wrong).await;
        assert_eq!((answer.status, answer.code()), (400, "bad_request"), "{wrong}: {answer:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_for_some_terminals_sees_and_hears_those_alone_and_no_longer_than_it_lasts() {
    let desk = Desk::new();
    let some = desk.token(&["add", "--name", "s", "--role", "viewer", "--terminals", "lobby-*"]);
    let teller = desk.add("teller");
    let gateway = Running::closed(&desk.setting()).await;
    append(&gateway.log, vec![event("lobby-1", Kind::SupplyLow, 1), event("vault", Kind::SupplyLow, 2)]).await;
    let seen = ask(gateway.http, "/api/v1/events", Some(&some)).await;
    assert_eq!((numbers(&seen.body), seen.body["events"].as_array().map(Vec::len)), (vec![1], Some(1)), "{seen:?}");
    assert!(numbers(&ask(gateway.http, "/api/v1/events?terminal=vault", Some(&some)).await.body).is_empty());
    assert_eq!(numbers(&ask(gateway.http, "/api/v1/events", Some(&teller)).await.body), [1, 2]);
    for path in ["/api/v1/events", "/api/v1/events/stream", "/api/v1/outbox", "/api/v1/outbox/dead-letters"] {
        assert_eq!(ask(gateway.http, path, None).await.status, 401, "{path}");
    }
    for path in ["/api/v1/outbox/dead-letters/replay", "/api/v1/outbox/salvage"] {
        let request = get(path, Some(&teller), "Content-Length: 0\r\n").replacen("GET", "POST", 1);
        let answer = talk(TcpStream::connect(gateway.http).await.expect("connects"), &request).await;
        assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{path}: {answer:?}");
    }

    assert_eq!(ask(gateway.http, "/api/v1/outbox", Some(&some)).await.code(), "forbidden", "it is of every terminal");
    assert_eq!(ask(gateway.http, "/api/v1/outbox", Some(&teller)).await.body["forwarded"], 0);

    let mut listener = Listener::at(gateway.http, "after=0", None, Some(&some)).await;
    assert_eq!(listener.number().await, 1);
    append(&gateway.log, vec![event("vault", Kind::SupplyLow, 3), event("lobby-2", Kind::SupplyLow, 4)]).await;
    assert_eq!(listener.number().await, 4);
    desk.token(&["revoke", some.split('_').nth(1).expect("an id")]);
    gateway.kind(Kind::GatewayTokenRevoked).await;
    append(&gateway.log, vec![event("lobby-1", Kind::SupplyLow, 5)]).await;
    assert_eq!(listener.hear().await, Word::End);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_slow_and_cut_off_again_and_again_hears_everything_once_and_delays_nobody() {
    const EVENTS: u64 = 6000;
    // Memory holds a few only: whoever lags is read to from disk.
    let gateway = Running::start("log.tail_events = 64").await;
    let mut idle = Listener::at(gateway.http, "", None, None).await;
    let log = gateway.log.clone();
    let writing = tokio::spawn(async move {
        for first in (1..=EVENTS).step_by(10) {
            append(&log, (first..first + 10).map(|number| event("a", Kind::SupplyLow, number)).collect()).await;
        }
    });
    let mut heard = Vec::new();
    let mut id = None::<String>;
    let mut cut = 0_u64;
    while heard.len() < usize::try_from(EVENTS).expect("small") {
        let query = if id.is_none() { "terminal=a&after=0" } else { "terminal=a" };
        let mut listener = Listener::at(gateway.http, query, id.as_deref(), None).await;
        cut += 1;
        // Longer and longer, so that it ends; the line is cut at any byte of what is under way.
        for _ in 0..cut * cut {
            heard.push(listener.number().await);
            id = Some(listener.id.clone());
            if heard.len() == usize::try_from(EVENTS).expect("small") {
                break;
            }
        }
    }
    timeout(DEADLINE, writing).await.expect("nobody was delayed").expect("no panic");
    assert_eq!(heard, (1..=EVENTS).collect::<Vec<_>>());
    // One that has not read a byte all the while lost nothing either.
    for number in 1..=EVENTS {
        assert_eq!(idle.number().await, number);
    }
    let stop = tokio::spawn(gateway.stop());
    assert_eq!(idle.hear().await, Word::End, "a stop ends it");
    stop.await.expect("stops");
}

#[tokio::test]
async fn who_comes_back_too_late_is_told_what_is_gone() {
    let gateway = Running::start("log.tail_events = 8").await;
    append(&gateway.log, (1..=100).map(|number| event("a", Kind::SupplyLow, number)).collect()).await;
    let head = *gateway.log.head().borrow();
    let store = rusqlite::Connection::open(gateway.dir().join("events.db")).expect("opens");
    store.busy_timeout(Duration::from_secs(5)).expect("is set");
    store.execute("DELETE FROM event WHERE seq <= 50", []).expect("prunes");
    let mut listener = Listener::at(gateway.http, "after=20", None, None).await;
    assert_eq!(listener.hear().await, Word::Gap(serde_json::json!({ "first": 21, "last": 50 })));
    let Word::Event(next) = listener.hear().await else { panic!("an event") };
    assert_eq!(next["seq"], 51);
    let page = ask(gateway.http, "/api/v1/events?after=20&limit=1", None).await.body;
    assert_eq!((&page["pruned"], &page["upto"]), (&serde_json::json!([21, 50]), &51.into()), "{page}");
    // A place that this store has never given is one of another: nothing of this one was seen.
    let mut listener = Listener::at(gateway.http, "", Some(&format!("00000000-{head}")), None).await;
    assert_eq!(listener.hear().await, Word::Gap(serde_json::json!({ "first": 1, "last": 50 })));
    let answer = ask(gateway.http, "/api/v1/events/stream?after=nowhere", None).await;
    assert_eq!((answer.status, answer.code()), (400, "bad_request"), "{answer:?}");
    gateway.stop().await;
}
