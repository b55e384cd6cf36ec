//! Two thousand terminals at once on one listener: all are served, and what each costs is bounded.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::gateway::{DEADLINE, Source, free_port};

const TERMINALS: usize = 2_000;
/// Events that the log keeps in memory (`log.tail_events`), and some.
const TAIL: usize = 5_000;
/// What an idle terminal may cost, in KiB of resident memory.
const KIB_EACH: usize = 16;

/// A gateway as a process of its own, so that its memory is its own.
struct Gateway(Child);

impl Gateway {
    /// Its resident memory in KiB.
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("has one");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a figure")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn two_thousand_terminals_are_served_at_a_bounded_cost_each() {
    let dir = tempfile::tempdir().expect("temp dir");
    let address = free_port();
    let text = format!(
        r#"
        log.dir = {:?}
        http.listen = "127.0.0.1:0"
        [[listener]]
        name = "json"
        protocol = "jsonl"
        listen = "{address}"
        unknown = "accept"
        "#,
        dir.path()
    );
    let file = dir.path().join("vestibule.toml");
    std::fs::write(&file, text).expect("writes");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.arg("run").arg("--config").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let gateway = Gateway(command.spawn().expect("runs"));

    // One terminal has spoken before, until the log's memory of the newest events is full: that is no terminal's own.
    let mut first = Source::connect(address).await;
    for _ in 0..TAIL {
        speak(&mut first, 0).await;
    }
    let before = gateway.resident();

    let mut terminals = Vec::with_capacity(TERMINALS);
    for number in 1..=TERMINALS {
        let mut terminal = Source::connect(address).await;
        speak(&mut terminal, number).await;
        terminals.push(terminal);
    }
    let each = gateway.resident().saturating_sub(before).div_ceil(TERMINALS);
    assert!(each <= KIB_EACH, "{each} KiB for a terminal");

    // All are still there, and none is forgotten.
    let begun = Instant::now();
    for (number, terminal) in terminals.iter_mut().enumerate() {
        speak(terminal, number + 1).await;
        assert!(begun.elapsed() < 3 * DEADLINE, "terminal {number} waits");
    }
}

/// Says one thing and waits until it is kept.
async fn speak(terminal: &mut Source, number: usize) {
    terminal.say(format!("{{\"terminal\":\"t{number}\",\"kind\":\"txn.started\"}}\n").as_bytes()).await;
    let answer = terminal.answer().await.expect("an answer");
    assert!(answer["seq"].is_u64(), "{answer}");
}
