//! A disk that is full, and has room again; one that can only be read any more. A small file system of its own stands for it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::client::{Answer, talk};
use crate::gateway::{DEADLINE, Source, free_port};
use crate::process::Process;

const MIB: u64 = 1 << 20;

/// A small file system of its own, gone when dropped.
struct Disk {
    dir: TempDir,
    /// The file that stands for a card.
    _card: Option<NamedTempFile>,
}

impl Disk {
    /// One in memory, of so many megabytes.
    fn mount(megabytes: u64) -> Disk {
        let disk = Disk { dir: tempfile::tempdir().expect("a temporary folder"), _card: None };
        disk.run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "vestibule-test"]);
        disk
    }

    /// One as it is on a card, which can only be read after an error.
    fn card(megabytes: u64) -> Disk {
        let card = NamedTempFile::new().expect("a temporary file");
        card.as_file().set_len(megabytes * MIB).expect("it grows");
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(card.path()).status().expect("it is installed");
        assert!(made.success());
        let path = card.path().display().to_string();
        let disk = Disk { dir: tempfile::tempdir().expect("a temporary folder"), _card: Some(card) };
        disk.run("mount", &["-o", "loop,errors=remount-ro", &path]);
        disk
    }

    /// The kernel meets an error on the card.
    fn fail(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("is read");
        let place = format!(" {} ", self.dir.path().display());
        let line = mounts.lines().find(|line| line.contains(&place)).expect("it is mounted");
        let device = line.split(' ').next().and_then(|device| device.rsplit('/').next()).expect("a device");
        std::fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").expect("the kernel lets tests do this");
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).arg(self.dir.path()).output().expect("it is installed");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {arguments:?} (this test needs root): {words}");
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn free(&self) -> u64 {
        let disk = statvfs(self.dir.path()).expect("the system says");
        disk.blocks_available() * disk.fragment_size()
    }

    /// Somebody else fills the disk until so much is left, or to its end.
    fn fill(&self, left: u64) {
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("others")).expect("a file");
        let block = vec![0_u8; 4096];
        while self.free() > left {
            if file.write_all(&block).is_err() {
                return;
            }
        }
    }

    /// And takes it away.
    fn empty(&self) {
        std::fs::remove_file(self.dir.path().join("others")).expect("is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

/// Says lines without a pause until it is told to stop, each with a number; keeps which were acknowledged.
struct Ingest {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    task: JoinHandle<BTreeMap<u64, String>>,
}

impl Ingest {
    fn start(address: SocketAddr, name: &'static str, bytes: usize) -> Ingest {
        let (stop, accepted, refused) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let told = (Arc::clone(&stop), Arc::clone(&accepted), Arc::clone(&refused));
        let task = tokio::spawn(async move {
            let (stop, accepted, refused) = told;
            let mut source = Source::connect(address).await;
            source.say(format!("{{\"hello\":\"{name}\"}}\n").as_bytes()).await;
            let mut acknowledged = BTreeMap::new();
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let detail = format!("{name} {number} {}", "x".repeat(bytes));
                let line = json!({"kind": "supply.low", "device": "cash_handler", "detail": detail});
                source.say(format!("{line}\n").as_bytes()).await;
                let answer = source.answer().await.expect("it goes on answering");
                if let Some(seq) = answer["seq"].as_u64() {
                    acknowledged.insert(seq, detail);
                    accepted.fetch_add(1, Ordering::Relaxed);
                } else {
                    let why = answer["error"].as_str().unwrap_or_default();
                    assert!(why.starts_with("not accepted: ") && why.contains("full"), "{answer}");
                    refused.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(5)).await;
                }
            }
            acknowledged
        });
        Ingest { stop, accepted, refused, task }
    }

    async fn until(&self, what: &str, count: impl Fn(&Ingest) -> usize, more: usize) {
        let (before, begun) = (count(self), Instant::now());
        while count(self) < before + more {
            assert!(begun.elapsed() < Duration::from_secs(60), "no more is {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn accepts(&self, more: usize) {
        self.until("accepted", |ingest| ingest.accepted.load(Ordering::Relaxed), more).await;
    }

    async fn refuses(&self, more: usize) {
        self.until("refused", |ingest| ingest.refused.load(Ordering::Relaxed), more).await;
    }

    async fn end(self) -> BTreeMap<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

/// With a broker that is never there, so that every event is still needed.
fn config(lines: SocketAddr, ndc: SocketAddr, log: &str) -> String {
    format!(
        "{log}\nauth.loopback = \"open\"\nforward.port = {}\n[[terminal]]\nname = \"atm-01\"\nprofile = \"ncr-selfserv-ndc\"\nluno = \"001000001\"\n\
         link = [{{ name = \"ndc\", protocol = \"ndc\", listen = \"{ndc}\", commands = true }}]\n\
         [[listener]]\nname = \"json\"\nprotocol = \"jsonl\"\nlisten = \"{lines}\"\nunknown = \"accept\"\n",
        free_port().port()
    )
}

async fn command(process: &Process, id: &str) -> Answer {
    let body = json!({"id": id, "terminal": "atm-01", "verb": "in_service"}).to_string();
    let request = format!(
        "POST /api/v1/commands HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    talk(TcpStream::connect(process.http).await.expect("connects"), &request).await
}

/// What is in the store that was left: place, kind and detail.
fn stored(data: &std::path::Path) -> BTreeMap<u64, (String, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags(data.join("events.db"), flags).expect("opens");
    let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checks");
    assert_eq!(verdict, "ok");
    let mut select = connection.prepare("SELECT seq, json FROM event").expect("prepares");
    let rows = select.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).expect("reads");
    let text = |json: &Value, key: &str| json[key].as_str().unwrap_or_default().to_owned();
    rows.map(|row| {
        let (seq, json) = row.expect("reads");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let seq = u64::try_from(seq).expect("a place");
        (seq, (text(&json, "kind"), text(&json, "detail")))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_refuses_in_time_and_has_lost_nothing_when_there_is_room_again() {
    let (disk, dir) = (Disk::mount(64), tempfile::tempdir().expect("temp dir"));
    let (lines, ndc) = (free_port(), free_port());
    let config = config(lines, ndc, "log.reserve_mb = 16\nlog.max_mb = 0");
    let mut process = Process::start_at(dir.path(), &disk.data(), &config).await;
    let ingests = ["a", "b"].map(|name| Ingest::start(lines, name, 300));
    for ingest in &ingests {
        ingest.accepts(100).await;
    }
    assert_eq!(command(&process, "before").await.status, 202);

    for left in [6 * MIB, 0] {
        disk.fill(left);
        for ingest in &ingests {
            ingest.refuses(20).await;
        }
        let ready = process.get("/readyz").await;
        assert_eq!((ready.status, ready.code()), (503, "disk_full"), "{ready:?}");
        let refused = command(&process, "during").await;
        assert_eq!((refused.status, refused.code()), (507, "disk_full"), "{refused:?}");
        assert_eq!(process.count("vestibule_log_accepting").await, 0);
        assert!(process.count("vestibule_log_not_accepted_total").await > 40);
        disk.empty();
        for ingest in &ingests {
            ingest.accepts(100).await;
        }
        process.until_ready().await;
        process.assert_alive();
    }
    // It is still the same command.
    assert_eq!(command(&process, "before").await.body["state"], "requested");
    assert_eq!(command(&process, "after").await.status, 202);

    let mut acknowledged = BTreeMap::new();
    for ingest in ingests {
        acknowledged.extend(ingest.end().await);
    }
    process.terminate().await;
    let kept = stored(&disk.data());
    for (seq, detail) in acknowledged {
        assert_eq!(kept.get(&seq).map(|(_, detail)| detail), Some(&detail), "{seq}");
    }
    let count = |kind: &str| kept.values().filter(|(found, _)| found == kind).count();
    assert_eq!((count("gateway.disk_low"), count("gateway.disk_recovered")), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_a_reserve_is_full_in_the_middle_of_a_transaction_and_nothing_acknowledged_is_lost() {
    let (disk, dir) = (Disk::mount(64), tempfile::tempdir().expect("temp dir"));
    let (lines, ndc) = (free_port(), free_port());
    let config = config(lines, ndc, "log.reserve_mb = 0\nlog.max_mb = 0");
    let mut process = Process::start_at(dir.path(), &disk.data(), &config).await;
    // Long lines, so that the room that is allocated before is soon used up.
    let ingests = ["a", "b", "c"].map(|name| Ingest::start(lines, name, 12_000));
    ingests[0].accepts(20).await;
    let mut full = 0;
    for _ in 0..3 {
        disk.fill(0);
        for ingest in &ingests {
            ingest.refuses(3).await;
        }
        full += usize::from(process.output().contains("the gateway's disk is full"));
        process.assert_alive();
        disk.empty();
        for ingest in &ingests {
            ingest.accepts(20).await;
        }
        process.until_ready().await;
    }
    assert!(full > 0, "a transaction found no room: {}", process.output());
    let mut acknowledged = BTreeMap::new();
    for ingest in ingests {
        acknowledged.extend(ingest.end().await);
    }
    process.terminate().await;
    let kept = stored(&disk.data());
    for (seq, detail) in &acknowledged {
        assert_eq!(kept.get(seq).map(|(_, detail)| detail), Some(detail), "{seq}");
    }
    let lines = kept.values().filter(|(kind, _)| kind == "supply.low").count();
    assert_eq!(lines, acknowledged.len(), "what was refused is not kept");
    assert_eq!(kept.len(), usize::try_from(*kept.keys().max().expect("events")).expect("small"), "places have no gaps");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_can_only_be_read_any_more_ends_it_with_a_sentence_and_nothing_acknowledged_is_lost() {
    let (card, dir) = (Disk::card(64), tempfile::tempdir().expect("temp dir"));
    let (lines, ndc) = (free_port(), free_port());
    let config = config(lines, ndc, "log.reserve_mb = 0\nlog.max_mb = 0");
    let mut process = Process::start_at(dir.path(), &card.data(), &config).await;
    let mut source = Source::connect(lines).await;
    let line = b"{\"kind\":\"supply.low\",\"device\":\"cash_handler\"}\n";
    source.say(b"{\"hello\":\"a\"}\n").await;
    source.say(line).await;
    let acknowledged = source.answer().await.expect("answers")["seq"].as_u64().expect("a place");
    card.fail();
    source.say(line).await;
    assert_eq!(source.answer().await, None, "nobody is told what is not known");
    assert_eq!(process.ended(DEADLINE).await.code(), Some(74));
    assert!(process.output().contains("can only be read now"), "{}", process.output());
    // Another card reader, say.
    let Disk { _card: file, .. } = &card;
    let file = file.as_ref().expect("a card").path();
    let _ = Command::new("umount").arg(card.dir.path()).status();
    let _ = Command::new("e2fsck").args(["-p", "-f"]).arg(file).output().expect("it is installed");
    card.run("mount", &["-o", "loop", &file.display().to_string()]);
    let mut process = Process::start_at(dir.path(), &card.data(), &config).await;
    process.terminate().await;
    let kept = stored(&card.data());
    assert_eq!(kept[&acknowledged].0, "supply.low");
}
