//! What comes to the subscriber beside ordinary events: corrected copies, what is no event, and less than everything. None of
//! it costs an event.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::gateways::{self, Gateway};
use crate::process::until;
use crate::reader::Reader;
use crate::recipes::READER;
use crate::{ALONE, host, recipes};

const WITHIN: Duration = Duration::from_secs(60);
/// Gateways that may be needed for one to die between the broker's acknowledgement and its own note of it, which it makes
/// within a second.
const TRIES: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_time_was_corrected_takes_the_place_of_its_first_copy() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = recipes::mosquitto(dir.path(), TRIES, None).await;
    let mut reader = Reader::start(dir.path(), vec![broker.mqtt], "5").await;
    let mut again = 0;
    for n in 0..TRIES {
        let before = reader.count();
        let branch = Branch::new(dir.path(), n, broker.mqtt);
        let mut gateway = branch.start();
        gateway.ready().await;
        branch.says(3).await;
        reader.reaches(before + gateway.books().await.appended).await;
        gateway.kill();
        std::fs::write(branch.dir.join("daemon/set"), "").unwrap();
        let mut gateway = branch.start();
        gateway.ready().await;
        branch.says(5).await;
        let settled = async || {
            let books = gateway.books().await;
            (books.pending == 0 && reader.count() == before + books.appended).then_some(())
        };
        until(WITHIN, || format!("{} events: {}", reader.count(), reader.tail()), settled).await;
        gateways::stop(vec![gateway]).await;
        let corrected = "times > 1 AND data ->> '$.time_corrected'";
        again = reader.figure(&format!("SELECT count(*) FROM events WHERE {corrected}"));
        // What stands beside it is the corrected copy's, too.
        let odd = format!("{corrected} AND time <> coalesce(data ->> '$.occurred_at', data ->> '$.received_at')");
        assert_eq!(reader.figure(&format!("SELECT count(*) FROM events WHERE {odd}")), 0);
        if again > 0 {
            break;
        }
    }
    assert!(again > 0, "no event came a second time with another time: nothing was tried");
    assert_eq!(strange(&reader), Vec::<String>::new());
    // The end of a gateway's last run need not have come when it was stopped: only the middle is looked at.
    assert_eq!(reader.gaps(), json!([]));
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_costs_no_other_and_missing_numbers_are_said_from_the_first_on() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let broker = recipes::mosquitto(dir.path(), 1, None).await;
    let mut reader = Reader::start(dir.path(), vec![broker.mqtt], "5").await;
    let password = dir.path().join("reader.password");
    let login = ["--late", "--username", READER, "--password-file", password.to_str().unwrap()];
    let mut late = Reader::start_as(dir.path(), "reader-late", vec![broker.mqtt], "5", &login).await;
    let send = |what: &[u8]| {
        let file = dir.path().join("message");
        std::fs::write(&file, what).unwrap();
        let topic = format!("vestibule/v1/{}/gateway/gw-000/events", recipes::site(0));
        let branch = recipes::branch(broker.mqtt, "5", 0);
        assert_eq!(branch.publish(&topic, &["-f", file.to_str().unwrap()]), "");
    };

    // Others in the same batch, another word under a known id, numbers that no table holds.
    let mut other = event("aa", 4);
    other["data"]["detail"] = json!("another");
    let mut endless = event("aa", 6);
    endless["terminalsequence"] = json!("9".repeat(30));
    let batch = json!([event("aa", 4), {"a": 1}, 7, other, endless, event("aa", 5), event("aa", 8)]);
    send(batch.to_string().as_bytes());
    // Little that unpacks to much, and what is packed as it ought to be.
    send(&zstd::bulk::compress(&vec![b' '; 64 << 20], 19).unwrap());
    send(&zstd::bulk::compress(json!([event("aa", 9)]).to_string().as_bytes(), 3).unwrap());
    // A store that was restored goes on from what the backup had.
    send(json!([event("bb", 6), event("bb", 8)]).to_string().as_bytes());
    for reader in [&mut reader, &mut late] {
        reader.reaches(6).await;
        let why = strange(reader);
        assert_eq!(why.len(), 5, "{why:#?}");
        assert!(why.iter().any(|why| why.contains("more than 1048576 bytes")), "{why:#?}");
        assert!(why.iter().any(|why| why.contains("something else before")), "{why:#?}");
    }
    let gap = |epoch: &str, first: u64, last: u64| json!({ "epoch": format!("gw-000-{epoch}"), "terminal": "atm-01", "first": first, "last": last });
    assert_eq!(reader.gaps(), json!([gap("aa", 1, 3), gap("aa", 6, 7), gap("bb", 7, 7)]));
    // Who came later misses nothing of what was before.
    assert_eq!(late.gaps(), json!([gap("aa", 6, 7), gap("bb", 7, 7)]));
    send(json!([event("aa", 6), event("aa", 3), event("aa", 7)]).to_string().as_bytes());
    for reader in [&mut reader, &mut late] {
        reader.reaches(9).await;
    }
    assert_eq!(reader.gaps(), json!([gap("aa", 1, 2), gap("bb", 7, 7)]));
    assert_eq!(late.gaps(), json!([gap("bb", 7, 7)]));
    reader.stop().await;
    late.stop().await;
}

fn strange(reader: &Reader) -> Vec<String> {
    reader.rows("SELECT why FROM strange", |row| row.get(0))
}

/// An event of a terminal, in a store of this epoch.
fn event(epoch: &str, number: u64) -> Value {
    let (id, number) = (format!("gw-000-{epoch}-{number}"), number.to_string());
    json!({
        "id": id, "source": format!("/{}/gw-000", recipes::site(0)), "subject": "atm-01", "sequence": number,
        "terminalsequence": number, "severity": "info", "time": "2026-11-21T12:00:00Z", "data": { "kind": "supply.low" },
    })
}

/// A gateway whose clock is not known to be right until a file says so, and which sends batches.
struct Branch {
    dir: std::path::PathBuf,
    config: String,
    lines: SocketAddr,
    http: SocketAddr,
}

impl Branch {
    fn new(dir: &Path, n: usize, broker: SocketAddr) -> Branch {
        let site = recipes::site(n);
        let dir = dir.join(&site);
        std::fs::create_dir_all(dir.join("daemon")).unwrap();
        std::fs::write(dir.join("password"), recipes::branch_password(n)).unwrap();
        let at = host(u8::try_from(20 + n).unwrap());
        let (lines, http) = (SocketAddr::from((at, 4100)), SocketAddr::from((at, 8080)));
        let config = format!(
            "[gateway]\nid = \"gw-{n:03}\"\nsite = \"{site}\"\n[clock]\nmarks = [{mark:?}]\n[log]\ndir = {data:?}\n\
             [http]\nlisten = \"{http}\"\n[rules]\nbundled = []\n\
             [forward]\nbrokers = [\"mqtt://{broker}\"]\nusername = \"{site}\"\npassword_file = {password:?}\n\
             batch = {{ max_events = 50, max_age_ms = 100 }}\n\
             [[terminal]]\nname = \"atm-01\"\nprofile = \"json-lines\"\n\
             link = [{{ name = \"json\", protocol = \"jsonl\", listen = \"{lines}\" }}]\n",
            mark = dir.join("daemon/set"),
            data = dir.join("data"),
            password = dir.join("password"),
        );
        Branch { dir, config, lines, http }
    }

    fn start(&self) -> Gateway {
        Gateway::run(&self.dir, &self.config, self.lines, self.http)
    }

    /// Has the terminal say so many lines, each answered.
    async fn says(&self, lines: usize) {
        let connects = async || TcpStream::connect(self.lines).await.ok();
        let mut stream = BufReader::new(until(WITHIN, || "nobody hears the terminal".into(), connects).await);
        let (mut answered, mut answer) = (0, String::new());
        stream.write_all("{\"kind\":\"txn.started\"}\n".repeat(lines).as_bytes()).await.unwrap();
        while answered < lines {
            answer.clear();
            let read = tokio::time::timeout(WITHIN, stream.read_line(&mut answer)).await.expect("an answer").unwrap();
            assert!(read > 0, "the line ended");
            answered += usize::from(answer.contains("\"seq\""));
        }
    }
}
