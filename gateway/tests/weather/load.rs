//! A thousand lines a second, whatever the weather.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vestibule::simulate::jsonl::{Answer, Client, Line};

use crate::PATIENCE;
use crate::gateway::Gateway;
use crate::process::until;

/// Lines a second of all terminals.
pub(crate) const RATE: usize = 1_000;
/// What is said; none of it is critical, and none is answered by a rule.
const SAID: [&str; 4] = ["card.inserted", "card.taken", "cash.taken", "counters.reported"];
/// Lines of a terminal that may wait for their answers: a gateway that stalls is not asked for less.
const WINDOW: usize = 4_096;

/// What the gateway answered.
#[derive(Default)]
struct Answers {
    /// Each line's mark, and the place in the log that it got.
    places: Vec<(String, u64)>,
    refused: Vec<String>,
    /// From when the line was due to its answer.
    slowest: Duration,
}

pub(crate) struct Load {
    answers: Arc<Mutex<Answers>>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    hangs_up: CancellationToken,
}

impl Load {
    pub(crate) fn start(links: &[SocketAddr]) -> Load {
        let answers = Arc::<Mutex<Answers>>::default();
        let (stop, hangs_up) = (CancellationToken::new(), CancellationToken::new());
        let every = Duration::from_secs(1) * u32::try_from(links.len()).unwrap() / u32::try_from(RATE).unwrap();
        let mut tasks = Vec::new();
        for (terminal, link) in links.iter().enumerate() {
            let (sender, lines) = mpsc::channel(WINDOW);
            let begun = Instant::now();
            let due = move |n: u32| begun + every * n;
            let stop = stop.clone();
            tasks.push(tokio::spawn(async move {
                for n in 0.. {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep_until(due(n)) => {}
                    }
                    let (id, kind) = (format!("{terminal}-{n}"), SAID[usize::try_from(n).unwrap() % SAID.len()]);
                    let json = serde_json::json!({"id": id, "kind": kind, "attributes": {"mark": id}}).to_string();
                    sender.send(Line { id, json }).await.unwrap();
                }
            }));
            let (kept, hangs_up) = (Arc::clone(&answers), hangs_up.clone());
            let client = Client { window: WINDOW, ..Client::new(*link) };
            tasks.push(tokio::spawn(async move {
                let take = |line: Line, answer: Answer| {
                    let n = line.id.split_once('-').unwrap().1.parse().unwrap();
                    let mut kept = kept.lock().unwrap();
                    kept.slowest = kept.slowest.max(due(n).elapsed());
                    match answer {
                        Answer::Seq(seq) => kept.places.push((line.id, seq)),
                        Answer::Refused(why) => kept.refused.push(why),
                    }
                };
                client.deliver(lines, take, hangs_up).await;
            }));
        }
        Load { answers, stop, tasks, hangs_up }
    }

    pub(crate) fn answered(&self) -> usize {
        self.answers.lock().unwrap().places.len()
    }

    /// Waits until so many lines are answered.
    pub(crate) async fn reaches(&self, count: usize, gateway: &mut Gateway) {
        let missing = || format!("{} of {count} lines are answered", self.answered());
        until(PATIENCE, missing, async || {
            gateway.assert_alive();
            (self.answered() >= count).then_some(())
        })
        .await;
    }

    pub(crate) fn slowest(&self) -> Duration {
        self.answers.lock().unwrap().slowest
    }

    pub(crate) fn forget_slowest(&self) {
        self.answers.lock().unwrap().slowest = Duration::ZERO;
    }

    /// Says no more, and waits for the answers; every line's mark, and its place in the log.
    pub(crate) async fn finish(self, gateway: &mut Gateway) -> Vec<(String, u64)> {
        self.stop.cancel();
        let missing = || format!("{} lines are answered, and not all", self.answered());
        until(PATIENCE, missing, async || {
            gateway.assert_alive();
            self.tasks.iter().all(JoinHandle::is_finished).then_some(())
        })
        .await;
        self.hangs_up.cancel();
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        assert!(
            answers.refused.is_empty(),
            "{} were refused, the first: {}",
            answers.refused.len(),
            answers.refused[0]
        );
        answers.places
    }
}
