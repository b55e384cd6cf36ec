//! Who may come in by HTTP, how often, how big and how slowly.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use vestibule::config::Config;
use vestibule::event::Kind;
use vestibule::gateway::{Gateway, StartError};

use crate::client::{Answer, get, talk};
use crate::desk::Desk;
use crate::gateway::{DEADLINE, Running};

async fn ask(address: SocketAddr, path: &str, token: Option<&str>) -> Answer {
    talk(TcpStream::connect(address).await.expect("connects"), &get(path, token, "")).await
}

/// Asks until the answer has this status: files are looked at once a second.
async fn until(status: u16, address: SocketAddr, path: &str, token: Option<&str>) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = ask(address, path, token).await;
        if answer.status == status {
            return answer;
        }
        assert!(begun.elapsed() < DEADLINE, "{status} expected: {answer:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn id(token: &str) -> &str {
    token.split('_').nth(1).expect("an id")
}

#[tokio::test]
async fn a_token_for_some_terminals_sees_no_others() {
    let desk = Desk::new();
    let all = desk.add("viewer");
    let some = desk.token(&["add", "--name", "s", "--role", "viewer", "--terminals", "atm-*"]);
    let terminals: String = ["atm-01", "kiosk-1"]
        .map(|name| format!("[[terminal]]\nname = \"{name}\"\nprofile = \"json-lines\"\n"))
        .concat();
    let setting = desk.setting() + "auth.public_metrics = false\n" + &terminals;
    let gateway = Running::closed(&setting).await;
    let names = |answer: Answer| -> Vec<String> {
        let rows = answer.body["terminals"].as_array().expect("a list");
        rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(ask(gateway.http, "/api/v1/terminals", Some(&all)).await), ["atm-01", "kiosk-1"]);
    assert_eq!(names(ask(gateway.http, "/api/v1/terminals", Some(&some)).await), ["atm-01"]);
    for (path, status) in [
        ("/api/v1/terminals/atm-01", 200),
        ("/api/v1/terminals/kiosk-1", 404),
        ("/api/v1/journal?terminal=atm-01", 200),
        ("/api/v1/journal?terminal=kiosk-1", 404),
        ("/metrics", 403),
    ] {
        let answer = ask(gateway.http, path, Some(&some)).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(ask(gateway.http, path, Some(&all)).await.status, 200, "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_is_who_its_file_says_until_it_is_rotated_expires_or_is_revoked() {
    let desk = Desk::new();
    let viewer = desk.add("viewer");
    let teller = desk.token(&["add", "--name", "t", "--role", "teller", "--terminals", "atm-0?", "k-*"]);
    let short = desk.token(&["add", "--name", "s", "--role", "viewer", "--expires", "1s"]);
    let gateway = Running::closed(&desk.setting()).await;
    let who = ask(gateway.http, "/api/v1/whoami", Some(&teller)).await;
    assert_eq!(
        (who.status, &who.body["role"], &who.body["means"]),
        (200, &"teller".into(), &"token".into()),
        "{who:?}"
    );
    assert_eq!(who.body["terminals"], serde_json::json!(["atm-0?", "k-*"]));
    assert!(who.head.contains("cache-control: no-store"), "{who:?}");

    // Nothing, nonsense, another secret, the secret alone.
    let forged = format!("vst_{}_{}", id(&viewer), "0".repeat(64));
    let secret = viewer.rsplit('_').next().expect("a secret");
    for (shown, code) in [
        (None, "unauthorised"),
        (Some("x"), "token_invalid"),
        (Some(secret), "token_invalid"),
        (Some(&forged), "token_invalid"),
    ] {
        let answer = ask(gateway.http, "/api/v1/whoami", shown).await;
        assert_eq!((answer.status, answer.code()), (401, code), "{answer:?}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
    }
    let refused = gateway.kind(Kind::GatewayAuthRefused).await;
    assert_eq!(refused.event.attributes["address"], "127.0.0.1");

    // What a viewer may not do, and an admin who has just been made may.
    let answer = ask(gateway.http, "/api/v1/tokens", Some(&viewer)).await;
    assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{answer:?}");
    let admin = desk.add("admin");
    let added = gateway.kind(Kind::GatewayTokenAdded).await;
    assert_eq!(
        (&added.event.attributes["token"], &added.event.attributes["role"]),
        (&id(&admin).into(), &"admin".into())
    );
    let answer = ask(gateway.http, "/api/v1/tokens", Some(&admin)).await;
    assert_eq!(answer.body["tokens"].as_array().map(Vec::len), Some(4), "{answer:?}");
    assert!(!answer.body.to_string().contains("blake3"), "{answer:?}");
    let answer = until(401, gateway.http, "/api/v1/whoami", Some(&short)).await;
    assert_eq!(answer.code(), "token_expired");

    let renewed = desk.token(&["rotate", id(&viewer)]);
    assert_eq!(id(&renewed), id(&viewer));
    gateway.kind(Kind::GatewayTokenChanged).await;
    assert_eq!(ask(gateway.http, "/api/v1/whoami", Some(&renewed)).await.status, 200);
    assert_eq!(ask(gateway.http, "/api/v1/whoami", Some(&viewer)).await.code(), "token_invalid");

    desk.token(&["revoke", id(&admin)]);
    assert_eq!(until(401, gateway.http, "/api/v1/tokens", Some(&admin)).await.code(), "token_invalid");
    gateway.kind(Kind::GatewayTokenRevoked).await;
    let listed = desk.token(&["ls"]);
    assert!(listed.contains(id(&viewer)) && !listed.contains(id(&admin)) && listed.contains("ended"), "{listed}");

    // Nothing that was written down has a secret in it.
    let log: String =
        gateway.log.read_after(0, 1000).expect("reads").iter().map(|stored| stored.json.to_string()).collect();
    for token in [&viewer, &teller, &short, &admin, &renewed] {
        assert!(!log.contains(token.rsplit('_').next().expect("a secret")), "{log}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn without_settings_loopback_gets_health_and_figures_alone() {
    let gateway = Running::closed("").await;
    for (path, status) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/api/v1/whoami", 401),
        ("/api/v1/tokens", 401),
        ("/x", 404),
    ] {
        assert_eq!(ask(gateway.http, path, None).await.status, status, "{path}");
    }
    let posted = talk(
        TcpStream::connect(gateway.http).await.expect("connects"),
        "POST /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!((posted.status, posted.code()), (405, "method_not_allowed"), "{posted:?}");
    gateway.stop().await;
    let gateway = Running::closed("auth.public_metrics = false\n").await;
    assert_eq!(ask(gateway.http, "/metrics", None).await.status, 401);
    gateway.stop().await;
}

#[tokio::test]
async fn an_open_loopback_is_open_to_this_machine_and_to_nobody_who_uses_it() {
    let gateway = Running::closed("auth.loopback = \"open\"\n").await;
    let who = ask(gateway.http, "/api/v1/whoami", None).await;
    assert_eq!(
        (who.status, &who.body["role"], &who.body["means"]),
        (200, &"admin".into(), &"loopback".into()),
        "{who:?}"
    );
    for headers in ["X-Forwarded-For: 192.0.2.1\r\n", "Origin: https://evil.example\r\n", "Via: 1.1 proxy\r\n"] {
        let stream = TcpStream::connect(gateway.http).await.expect("connects");
        assert_eq!(talk(stream, &get("/api/v1/whoami", None, headers)).await.status, 401, "{headers}");
    }
    let rebound = get("/api/v1/whoami", None, "").replace("localhost", "evil.example");
    assert_eq!(talk(TcpStream::connect(gateway.http).await.expect("connects"), &rebound).await.status, 401);
    assert_eq!(
        ask(gateway.http, "/api/v1/whoami", Some("vst_bad")).await.status,
        401,
        "a bad token is never overlooked"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn requests_have_a_rate_and_failures_a_pause() {
    let desk = Desk::new();
    let [one, two] = ["viewer", "teller"].map(|role| desk.add(role));
    let rates =
        "http.token_rate = { per_second = 1, burst = 3 }\nhttp.address_rate = { per_second = 1000, burst = 1000 }\n";
    let gateway = Running::closed(&(desk.setting() + rates)).await;
    let mut limited = None;
    for _ in 0..10 {
        let answer = ask(gateway.http, "/api/v1/whoami", Some(&one)).await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("ten at once are too many");
    assert_eq!(limited.code(), "rate_limited");
    assert!(limited.head.contains("\r\nretry-after: 1"), "{limited:?}");
    assert_eq!(ask(gateway.http, "/api/v1/whoami", Some(&two)).await.status, 200, "others are not held up");

    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(ask(gateway.http, "/api/v1/whoami", Some("vst_guess")).await);
    }
    let paused = answers.iter().find(|answer| answer.status == 429).expect("a pause");
    assert_eq!(paused.code(), "too_many_failures");
    assert!(paused.head.contains("retry-after: "), "{paused:?}");
    assert_eq!(
        until(200, gateway.http, "/api/v1/whoami", Some(&two)).await.status,
        200,
        "a good token is always taken"
    );
    // The first of a burst is an event; the others are counted.
    gateway.kind(Kind::GatewayAuthRefused).await;
    let refused = gateway.kinds().into_iter().filter(|kind| kind.contains("gateway.auth_refused")).count();
    assert_eq!(refused, 1);
    gateway.stop().await;

    let few = "http.address_rate = { per_second = 1, burst = 2 }\n";
    let gateway = Running::closed(&(desk.setting() + few)).await;
    assert_eq!(ask(gateway.http, "/api/v1/whoami", None).await.status, 401);
    let flood = tokio::spawn({
        let http = gateway.http;
        async move {
            loop {
                let _ = ask(http, "/api/v1/whoami", None).await;
            }
        }
    });
    until(429, gateway.http, "/api/v1/whoami", None).await;
    for _ in 0..20 {
        let answer = ask(gateway.http, "/api/v1/whoami", Some(&two)).await;
        assert_eq!(answer.status, 200, "whoever shares an address with a flood has their own bucket: {answer:?}");
    }
    flood.abort();
    assert_eq!(ask(gateway.http, "/readyz", None).await.status, 200, "health is not limited");
    let figures = ask(gateway.http, "/metrics", None).await.text;
    assert!(figures.contains("vestibule_auth_refused_total{reason=\"rate\"}"), "{figures}");
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_too_big_or_too_slow_is_refused() {
    let limits = "http.max_header_bytes = 2048\nhttp.max_headers = 10\nhttp.max_body_bytes = 1024\nhttp.header_timeout_s = 1\nhttp.request_timeout_s = 1\n";
    let gateway = Running::closed(limits).await;
    let connect = || async { TcpStream::connect(gateway.http).await.expect("connects") };
    let many: String = (0..12).map(|n| format!("X-{n}: y\r\n")).collect();
    let sized = |n: usize| format!("X-Long: {}\r\n", "y".repeat(n));
    for (request, status, code) in [
        (get("/livez", None, &many), 431, "headers_too_large"),
        (get("/livez", None, &sized(2100)), 431, "headers_too_large"),
        (get("/livez", None, &sized(50_000)), 431, ""),
        (get(&format!("/livez?{}", "y".repeat(2100)), None, ""), 414, "path_too_long"),
        (get("/livez", None, "Content-Length: 1025\r\n"), 413, "body_too_large"),
        (
            get("/livez", None, "Transfer-Encoding: chunked\r\n") + "401\r\n" + &"y".repeat(0x401) + "\r\n0\r\n\r\n",
            413,
            "body_too_large",
        ),
        (get("/livez", None, "Content-Length: 9\r\n") + "slow", 408, "request_timeout"),
        (get("/livez", None, "Content-Length: 4\r\n") + "fast", 200, ""),
    ] {
        let answer = talk(connect().await, &request).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    }

    // Headers that come a byte at a time, and a connection that says nothing.
    for beginning in ["GET /livez HTTP/1.1\r\nX-Slow: ", ""] {
        let mut stream = connect().await;
        let begun = Instant::now();
        stream.write_all(beginning.as_bytes()).await.expect("is taken");
        let dripping = async {
            loop {
                sleep(Duration::from_millis(100)).await;
                if !beginning.is_empty() && stream.write_all(b"y").await.is_err() {
                    break;
                }
                if matches!(timeout(Duration::from_millis(1), stream.read(&mut [0; 64])).await, Ok(Ok(0) | Err(_))) {
                    break;
                }
            }
        };
        timeout(DEADLINE, dripping).await.expect("is given up");
        assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    }
    assert_eq!(talk(connect().await, &get("/livez", None, "")).await.status, 200, "others notice nothing");
    gateway.stop().await;
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_gives_them_back() {
    let gateway = Running::closed("http.max_connections_per_address = 3\n").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(gateway.http).await.expect("connects");
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("asks");
        stream.read_exact(&mut [0; 12]).await.expect("is answered, and kept");
        held.push(stream);
    }
    let mut one_more = TcpStream::connect(gateway.http).await.expect("connects");
    let read = timeout(DEADLINE, one_more.read(&mut [0; 1])).await.expect("is closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    drop(held);
    let begun = Instant::now();
    loop {
        let mut stream = TcpStream::connect(gateway.http).await.expect("connects");
        let asked = stream.write_all(get("/livez", None, "").as_bytes()).await;
        if asked.is_ok() && stream.read(&mut [0; 12]).await.is_ok_and(|read| read > 0) {
            break;
        }
        assert!(begun.elapsed() < DEADLINE);
        sleep(Duration::from_millis(20)).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused_without_a_lock() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("vestibule.toml");
    let base = format!("log.dir = {:?}\nhttp.listen = \"0.0.0.0:0\"\n", dir.path());
    let tokens = format!("auth.tokens = {:?}\n", dir.path().join("tokens.toml"));
    for (rest, code, words) in [
        ("", 78, "auth.tokens"),
        ("auth.loopback = \"open\"\n", 78, "auth.tokens"),
        (tokens.as_str(), 78, "http.plaintext"),
        (&format!("{tokens}http.plaintext = true\n"), 0, ""),
        (&format!("{tokens}auth.loopback = \"open\"\n"), 78, "127.0.0.1"),
    ] {
        std::fs::write(&file, format!("{base}{rest}")).expect("is written");
        let mut check = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        let output = check.args(["check", "--no-environment", "--config"]).arg(&file).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{rest}: {said}");
        assert!(said.contains(words) && (code == 0 || said.contains("http.listen: ")), "{said}");
    }
    // Nor where the configuration does not come from a file.
    let mut config = Config::default();
    config.log.dir = dir.path().to_owned();
    config.http.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(Gateway::start(config).await.err(), Some(StartError::Exposed(..))));
}
