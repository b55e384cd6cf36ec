//! A terminal that reports JSON lines over TCP, and the client beneath it: it keeps every line until it is answered, and
//! sends the unanswered ones again, under the same ids, after the line was cut.

mod voice;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use voice::Voice;

use super::figures::Figures;
use super::line::Line as Way;
use super::script::{Play, Script};
use super::talk::{Clock, overdue};
use super::{Retry, Tally, Tempo};

/// A line of JSON with the id that stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The source id: the gateway stores a line of the same id once.
    pub id: String,
    /// The JSON object, without a line end.
    pub json: String,
}

/// What the gateway answered to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is committed under this sequence number.
    Seq(u64),
    /// It was refused, and why.
    Refused(String),
}

/// The answers' form; a line that has neither field (a greeting) answers nothing.
#[derive(Deserialize)]
struct Wire {
    seq: Option<u64>,
    error: Option<serde_json::Value>,
}

/// A client of a JSON-lines link.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where the link listens.
    pub address: SocketAddr,
    /// The terminal's name, where the link serves several.
    pub hello: Option<String>,
    /// Most lines sent and not yet answered.
    pub window: usize,
    /// How to come back.
    pub retry: Retry,
    /// What it counts; clients that share it count together.
    pub figures: Arc<Figures>,
}

/// How a connection ended.
enum End {
    Done,
    Lost,
}

impl Client {
    /// A client with the defaults of a small source: 16 lines under way.
    pub fn new(address: SocketAddr) -> Client {
        Client { address, hello: None, window: 16, retry: Retry::default(), figures: Arc::default() }
    }

    /// Delivers lines until the sender is dropped and every line is answered, or until `shutdown`.
    pub async fn deliver(
        &self,
        mut lines: mpsc::Receiver<Line>,
        mut answered: impl FnMut(Line, Answer),
        shutdown: CancellationToken,
    ) -> Tally {
        let mut waiting = VecDeque::new();
        let mut way = Way::new(self.address, self.retry);
        while let Some(stream) = way.connect(&shutdown).await {
            let _connected = self.figures.connection();
            let mut worked = false;
            let mut answered = |line: Line, answer: Answer| {
                worked = true;
                answered(line, answer);
            };
            let ended = tokio::select! {
                () = shutdown.cancelled() => break,
                ended = self.session(stream, &mut lines, &mut waiting, &mut answered) => ended,
            };
            if let Ok(End::Done) = ended {
                break;
            }
            way.lost(worked);
        }
        self.figures.tally()
    }

    async fn session(
        &self,
        mut stream: TcpStream,
        lines: &mut mpsc::Receiver<Line>,
        waiting: &mut VecDeque<Line>,
        answered: &mut impl FnMut(Line, Answer),
    ) -> io::Result<End> {
        let mut out = Vec::new();
        if let Some(name) = &self.hello {
            out.extend_from_slice(serde_json::json!({ "hello": name }).to_string().as_bytes());
            out.push(b'\n');
        }
        // When each of the lines that wait was sent on this connection.
        let mut sent = VecDeque::new();
        let mut open = true;
        let mut read = Vec::new();
        loop {
            for line in waiting.iter().skip(sent.len()) {
                out.extend_from_slice(line.json.as_bytes());
                out.push(b'\n');
                self.figures.sent();
            }
            sent.resize(waiting.len(), Instant::now());
            if !out.is_empty() {
                stream.write_all(&out).await?;
                out.clear();
            }
            if !open && waiting.is_empty() {
                return Ok(End::Done);
            }
            tokio::select! {
                line = lines.recv(), if open && waiting.len() < self.window => match line {
                    Some(line) => {
                        waiting.push_back(line);
                        // Whatever else is ready goes out in the same write.
                        while waiting.len() < self.window && let Ok(line) = lines.try_recv() {
                            waiting.push_back(line);
                        }
                    }
                    None => open = false,
                },
                count = stream.read_buf(&mut read) => if count? == 0 { return Ok(End::Lost) },
            }
            while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = read.drain(..=end).collect();
                let Some(answer) = answer(&line) else { continue };
                let Some(line) = waiting.pop_front() else { continue };
                let took = sent.pop_front().map_or_else(Default::default, |sent: Instant| sent.elapsed());
                match answer {
                    Answer::Seq(_) => self.figures.accepted(took),
                    Answer::Refused(_) => self.figures.refused(),
                }
                answered(line, answer);
            }
        }
    }
}

/// Reads an answer; nothing where the line is none.
fn answer(line: &[u8]) -> Option<Answer> {
    let wire: Wire = serde_json::from_slice(line).ok()?;
    let refused =
        |error: serde_json::Value| Answer::Refused(error.as_str().map_or_else(|| error.to_string(), str::to_owned));
    wire.seq.map(Answer::Seq).or_else(|| wire.error.map(refused))
}

/// A simulated terminal that reports JSON lines.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// How it reaches the gateway.
    pub client: Client,
    /// What happens at it.
    pub script: Script,
    /// Decides amounts and waits.
    pub seed: u64,
    /// Begins every source id; must be another one at each run, or the gateway takes the lines for known ones.
    pub source: String,
    /// How fast.
    pub tempo: Tempo,
    /// Tells the time of what happens.
    pub clock: Clock,
}

impl Terminal {
    /// Plays the script until it ends and all is answered, or until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Tally {
        // No line waits here that could not be sent: what the gateway takes is what is said.
        let (sender, lines) = mpsc::channel(1);
        let (mut voice, mut clock) = (Voice::new(self.source, self.seed), self.clock);
        let play = async {
            // Dropped with this block: the client then delivers what is left, and ends.
            let sender = sender;
            for step in Play::new(self.script, self.seed) {
                clock.pass(step.after_ms);
                self.tempo.wait(step.after_ms).await;
                for (after_ms, line) in voice.say(step.act, clock.now().timestamp()) {
                    clock.pass(after_ms);
                    self.tempo.wait(after_ms).await;
                    self.tempo.turn().await;
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
            }
        };
        let speak = async {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = play => {}
            }
        };
        // What was said is still delivered, if that does not take long.
        let deliver = async {
            tokio::select! {
                _ = self.client.deliver(lines, |_, _| {}, CancellationToken::new()) => {}
                () = overdue(&shutdown) => {}
            }
        };
        tokio::join!(speak, deliver);
        self.client.figures.tally()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// Takes `lines` lines, answers `answers` of them, and hangs up.
    async fn serve(listener: &TcpListener, lines: usize, answers: u64) -> Vec<String> {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut taken = Vec::new();
        for _ in 0..lines {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            taken.push(line.trim_end().to_owned());
        }
        for seq in 1..=answers {
            stream.write_all(format!("{{\"seq\":{seq}}}\n").as_bytes()).await.unwrap();
        }
        taken
    }

    #[tokio::test]
    async fn unanswered_lines_are_sent_again_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client { hello: Some("atm-04".into()), ..Client::new(listener.local_addr().unwrap()) };
        let (sender, lines) = mpsc::channel(8);
        for id in ["a", "b", "c", "d"] {
            sender.send(Line { id: id.into(), json: format!("{{\"id\":\"{id}\"}}") }).await.unwrap();
        }
        drop(sender);
        let mut answers = Vec::new();
        let server = async { (serve(&listener, 5, 1).await, serve(&listener, 4, 3).await) };
        let client = client.deliver(lines, |line, answer| answers.push((line.id, answer)), CancellationToken::new());
        let ((first, second), tally) = tokio::join!(server, client);
        let hello = r#"{"hello":"atm-04"}"#;
        assert_eq!(first, [hello, r#"{"id":"a"}"#, r#"{"id":"b"}"#, r#"{"id":"c"}"#, r#"{"id":"d"}"#]);
        assert_eq!(second, [hello, r#"{"id":"b"}"#, r#"{"id":"c"}"#, r#"{"id":"d"}"#]);
        let ids: Vec<&str> = answers.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c", "d"]);
        assert_eq!((tally.accepted, tally.sent, tally.connections), (4, 7, 2));
    }

    #[test]
    fn answers_are_read_and_greetings_are_none() {
        assert_eq!(answer(b"{\"seq\":9}\n"), Some(Answer::Seq(9)));
        assert_eq!(answer(b"{\"error\":\"no kind\"}\n"), Some(Answer::Refused("no kind".into())));
        assert_eq!(answer(b"{\"hello\":\"br001\"}\n"), None);
        assert_eq!(answer(b"nonsense\n"), None);
    }
}
