//! A journal over TCP, kept and found again: by HTTP while the gateway runs, and on the command line beside it.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use vestibule::event::Kind;

use crate::gateway::{Running, Source, free_port};
use crate::http::get;

const JOURNAL: &[u8] = b"\x1b[020t*511*01/15/2030*23:58*\r     *TRANSACTION START*\r\x1b[020t CARD INSERTED\r\
    \x20 PAN 4123456789010018\r 23:59:39 PIN ENTERED\r   EXAMPLE BANK\r 00:00:12 TRANSACTION END\r";

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

async fn texts(address: SocketAddr, query: &str) -> Vec<String> {
    let page = body(&get(address, &format!("/api/v1/journal?{query}")).await);
    let lines = page["lines"].as_array().unwrap_or_else(|| panic!("{query}: {page}"));
    lines.iter().filter_map(|line| line["text"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_a_terminal_printed_is_kept_masked_and_found_by_its_day() {
    let address = free_port();
    let gateway = Running::start(&format!(
        r#"
        [[terminal]]
        name = "atm-01"
        profile = "ncr-journal"
        time_zone = "Europe/Berlin"
        link = [{{ name = "journal", protocol = "journal", listen = "{address}" }}]
        "#
    ))
    .await;
    let mut source = Source::connect(address).await;
    source.say(JOURNAL).await;
    gateway.kind(Kind::TxnEnded).await;

    let first = [
        "*511*01/15/2030*23:58*",
        "*TRANSACTION START*",
        "CARD INSERTED",
        "PAN 412345******0018",
        "23:59:39 PIN ENTERED",
        "EXAMPLE BANK",
    ];
    assert_eq!(texts(gateway.http, "terminal=atm-01&date=2030-01-15").await, first);
    assert_eq!(texts(gateway.http, "terminal=atm-01&date=2030-01-16").await, ["00:00:12 TRANSACTION END"]);
    assert_eq!(texts(gateway.http, "terminal=atm-01&from=2030-01-01&grep=PIN%7CEND").await.len(), 2);
    assert!(texts(gateway.http, "terminal=atm-02&date=2030-01-15").await.is_empty());

    let page = body(&get(gateway.http, "/api/v1/journal?terminal=atm-01&limit=4").await);
    assert_eq!(page["lines"][2]["printed_at"], "2030-01-15T23:58:00");
    let next = page["next"].as_str().expect("there is more");
    assert_eq!(texts(gateway.http, &format!("terminal=atm-01&cursor={next}")).await.len(), 3);

    for wrong in [
        "",
        "terminal=a&date=yesterday",
        "terminal=a&grep=(",
        "terminal=a&limit=0",
        "terminal=a&date=2030-01-15&to=2030-01-15",
    ] {
        let answer = get(gateway.http, &format!("/api/v1/journal?{wrong}")).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(r#""code":"bad_request""#), "{wrong}: {answer}");
    }

    // Beside the running gateway, which holds the store open.
    let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["journal", "--terminal", "atm-01", "--date", "2030-01-15", "--grep", "PIN", "--dir"])
        .arg(gateway.dir())
        .output()
        .expect("runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, "2030-01-15T23:59:39   journal  23:59:39 PIN ENTERED\n", "{output:?}");
    gateway.stop().await;
}
