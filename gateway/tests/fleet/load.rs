//! What the terminals of a fleet send, and what was answered to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vestibule::simulate::Retry;
use vestibule::simulate::jsonl::{Answer, Client, Line};

use crate::gateways::{Gateway, TERMINALS};

/// Lines that a terminal sends at once.
const BURST: usize = 10;
const KINDS: [&str; 5] = ["txn.started", "card.inserted", "supply.low", "supply.ok", "txn.ended"];
const FINISHES_WITHIN: Duration = Duration::from_secs(120);

/// A line that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The gateway, by its place in the fleet.
    pub(crate) gateway: usize,
    pub(crate) mark: String,
    pub(crate) sequence: u64,
}

/// Everything under way.
pub(crate) struct Load {
    answered: Arc<Mutex<Vec<Answered>>>,
    tasks: JoinSet<()>,
    expected: usize,
}

impl Load {
    /// Has the terminals of each gateway send so many lines together, a few of them at each of these times: the load lasts,
    /// and lines are always under way. No two loads of a test have one name.
    pub(crate) fn start(gateways: &[Gateway], name: usize, lines: usize, every: Duration) -> Load {
        let mut load = Load { answered: Arc::default(), tasks: JoinSet::new(), expected: 0 };
        for (gateway, running) in gateways.iter().enumerate() {
            for terminal in TERMINALS {
                let client = Client {
                    hello: Some(terminal.to_owned()),
                    retry: Retry { first: Duration::from_millis(20), most: Duration::from_millis(200) },
                    ..Client::new(running.lines)
                };
                load.send(client, gateway, &format!("{terminal}-{name}"), lines / TERMINALS.len(), every);
            }
        }
        load
    }

    fn send(&mut self, client: Client, gateway: usize, marks: &str, lines: usize, every: Duration) {
        self.expected += lines;
        let (sender, waiting) = mpsc::channel(BURST);
        let marks = marks.to_owned();
        self.tasks.spawn(async move {
            let mut bursts = tokio::time::interval(every);
            for n in 0..lines {
                if n % BURST == 0 {
                    bursts.tick().await;
                }
                let (kind, mark) = (KINDS[n % KINDS.len()], format!("{marks}-{n}"));
                let mut object = json!({ "id": mark, "kind": kind, "attributes": { "mark": mark } });
                if kind.starts_with("supply") {
                    (object["device"], object["component"]) = (json!("cash_handler"), json!("cassette_2"));
                }
                if sender.send(Line { id: mark, json: object.to_string() }).await.is_err() {
                    return;
                }
            }
        });
        let answered = Arc::clone(&self.answered);
        self.tasks.spawn(async move {
            let take = |line: Line, answer: Answer| match answer {
                Answer::Seq(sequence) => answered.lock().unwrap().push(Answered { gateway, mark: line.id, sequence }),
                Answer::Refused(why) => panic!("{} was refused: {why}", line.json),
            };
            client.deliver(waiting, take, CancellationToken::new()).await;
        });
    }

    /// Waits until every line is answered.
    pub(crate) async fn finish(mut self) -> Vec<Answered> {
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.unwrap();
            }
        };
        let in_time = tokio::time::timeout(FINISHES_WITHIN, all).await;
        let answered = std::mem::take(&mut *self.answered.lock().unwrap());
        assert!(in_time.is_ok(), "{} of {} lines are answered", answered.len(), self.expected);
        assert_eq!(answered.len(), self.expected);
        answered
    }
}
