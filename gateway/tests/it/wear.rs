//! What an event costs the card: syncs, counted from outside.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use crate::gateway::{DEADLINE, Source, free_port};
use crate::mosquitto::Mosquitto;
use crate::process::Process;
use crate::subscriber::Subscriber;

/// Events, each long after the one before: what rides along would have been written by itself in between.
const EVENTS: usize = 5;
const BETWEEN: Duration = Duration::from_millis(1500);

/// `strace` on a process, with the system calls that sync.
struct Trace {
    child: Child,
    file: std::path::PathBuf,
}

impl Trace {
    async fn of(process: &Process, dir: &std::path::Path) -> Trace {
        let file = dir.join("syncs");
        let child = Command::new("strace")
            .args([
                "-f",
                "-e",
                "trace=fsync,fdatasync,sync,syncfs,sync_file_range,msync",
                "-p",
                &process.id().to_string(),
                "-o",
            ])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed (apt install strace)");
        let trace = Trace { child, file };
        let begun = Instant::now();
        // It has stopped each thread once before it says so in the kernel's list of the process's tracers.
        loop {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", process.id())).expect("it runs");
            let traced = |task: std::fs::DirEntry| {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                !status.contains("TracerPid:\t0\n")
            };
            if tasks.map(|task| task.expect("is read")).all(traced) {
                return trace;
            }
            assert!(begun.elapsed() < DEADLINE, "strace does not attach (it needs to be allowed to)");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it, and answers the calls.
    fn end(mut self) -> Vec<String> {
        let id = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(id, Signal::SIGINT).expect("it runs");
        self.child.wait().expect("it ends");
        let text = std::fs::read_to_string(&self.file).expect("it has written");
        text.lines()
            .filter(|line| line.contains("sync(") || line.contains("sync_file_range("))
            .map(str::to_owned)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_on_an_idle_gateway_costs_one_sync() {
    let (broker, dir) = (Mosquitto::start(), tempfile::tempdir().expect("temp dir"));
    let mut subscriber = Subscriber::to(broker.port(), "vestibule/v1/+/+/event/supply/#").await;
    let lines = free_port();
    let config = format!(
        "auth.loopback = \"open\"\nforward.port = {}\n[[listener]]\nname = \"json\"\nprotocol = \"jsonl\"\nlisten = \"{lines}\"\nunknown = \"accept\"\n",
        broker.port()
    );
    let mut process = Process::start_at(dir.path(), &dir.path().join("data"), &config).await;
    let mut source = Source::connect(lines).await;
    source.say(b"{\"hello\":\"a\"}\n").await;
    // The first event finds rules that still load, and more.
    let mut event = async || {
        source.say(b"{\"kind\":\"supply.low\",\"device\":\"cash_handler\",\"component\":\"cassette_2\"}\n").await;
        let answer = source.answer().await.expect("answers");
        assert!(answer["seq"].is_u64(), "{answer}");
        subscriber.next().await;
    };
    event().await;
    let rules = "vestibule_rule_loaded{plugin=\"cash-low\"}";
    process.until_figure(rules, |value| value == 1.0).await;
    event().await;
    sleep(BETWEEN * 2).await;
    let commits = process.count("vestibule_log_commits_total").await;
    let trace = Trace::of(&process, dir.path()).await;
    for _ in 0..EVENTS {
        event().await;
        sleep(BETWEEN).await;
    }
    let calls = trace.end();
    assert_eq!(calls.len(), EVENTS, "{calls:#?}");
    // Positions were written all the same.
    let more = process.count("vestibule_log_commits_total").await - commits;
    assert!(more > u64::try_from(EVENTS).expect("small"), "{more}");
    assert!(process.count("vestibule_log_written_bytes_total").await > 0);
    assert!(process.count("vestibule_log_written_bytes_per_event").await > 0);
    process.terminate().await;
}
