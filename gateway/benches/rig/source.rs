//! Terminals that send JSON lines over sockets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::process::until;

/// Lines of a terminal from one low cassette, or its filling, to the next.
const CYCLE: usize = 100;

/// What customers do at a terminal, over and over.
const HAPPENINGS: [&str; 8] = [
    r#""kind":"card.inserted","device":"card_reader""#,
    r#""kind":"txn.requested","amount":{"value":"120.00","currency":"EUR"}"#,
    r#""kind":"cash.presented","device":"cash_handler","amount":{"value":"120.00","currency":"EUR"}"#,
    r#""kind":"cash.taken","device":"cash_handler""#,
    r#""kind":"card.taken","device":"card_reader""#,
    r#""kind":"txn.ended""#,
    r#""kind":"supply.low","device":"receipt_printer","component":"supply_1""#,
    r#""kind":"counters.reported","device":"cash_handler""#,
];

/// Line `n` of a terminal. Each hundredth is one that the cash-low rule answers: a cassette low, and full again.
fn line(n: usize) -> String {
    line_with(n, "")
}

/// The same with this text in it.
fn line_with(n: usize, note: &str) -> String {
    let said = match (n % CYCLE, n % (2 * CYCLE)) {
        (0, 0) => r#""kind":"supply.low","device":"cash_handler","component":"cassette_1""#,
        (0, _) => r#""kind":"supply.ok","device":"cash_handler","component":"cassette_1""#,
        (place, _) => HAPPENINGS[(place - 1) % HAPPENINGS.len()],
    };
    let note = if note.is_empty() { String::new() } else { format!(",\"note\":\"{note}\"") };
    format!("{{\"id\":\"{n}\",{said},\"attributes\":{{\"mark\":\"{n}\"{note}}}}}\n")
}

/// How many of these lines `cash-low` answers.
pub(crate) fn hits(lines: std::ops::Range<usize>) -> usize {
    lines.filter(|n| n % CYCLE == 0).count()
}

/// A connected terminal.
pub(crate) struct Source {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
}

impl Source {
    pub(crate) async fn connect(address: SocketAddr) -> Source {
        let connect = async || TcpStream::connect(address).await.ok();
        let stream = until("a link", Duration::from_millis(10), connect).await;
        stream.set_nodelay(true).unwrap();
        let (read, write) = stream.into_split();
        Source { read, write }
    }

    /// Sends these lines as fast as they are taken, and waits until each is answered.
    pub(crate) async fn flood(&mut self, lines: std::ops::Range<usize>) {
        self.flood_with(lines, 0).await;
    }

    /// The same, each with so many bytes more.
    pub(crate) async fn flood_with(&mut self, lines: std::ops::Range<usize>, more: usize) {
        let count = lines.len();
        let note = "x".repeat(more);
        let text: String = lines.map(|n| line_with(n, &note)).collect();
        let (wrote, ()) = tokio::join!(self.write.write_all(text.as_bytes()), answers(&mut self.read, count));
        wrote.unwrap();
    }

    /// Sends each of these lines at its time, however long the answers take; the times at which they were sent.
    pub(crate) async fn pace(
        &mut self,
        lines: std::ops::Range<usize>,
        begin: Instant,
        every: Duration,
    ) -> Vec<Instant> {
        let count = lines.len();
        let send = async {
            let mut sent = Vec::with_capacity(count);
            let mut due = begin;
            for n in lines {
                tokio::time::sleep_until(due.into()).await;
                let line = line(n);
                sent.push(Instant::now());
                self.write.write_all(line.as_bytes()).await.unwrap();
                due += every;
            }
            sent
        };
        tokio::join!(send, answers(&mut self.read, count)).0
    }
}

/// Waits for so many answers.
async fn answers(read: &mut OwnedReadHalf, mut count: usize) {
    let mut bytes = [0; 16 << 10];
    while count > 0 {
        let length = read.read(&mut bytes).await.unwrap();
        assert!(length > 0, "the gateway hung up");
        let answers = &bytes[..length];
        assert!(!answers.windows(7).any(|part| part == b"\"error\""), "{}", String::from_utf8_lossy(answers));
        count -= answers.iter().filter(|byte| **byte == b'\n').count();
    }
}
