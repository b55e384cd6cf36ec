//! What the terminals send, and what was answered to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vestibule::simulate::Retry;
use vestibule::simulate::jsonl::{Answer, Client, Line};

use super::STALLED;
use super::gateway::{Gateway, Ports};
use super::process::until;

/// TCP connections that send JSON lines of the first terminal.
pub(crate) const CONNECTIONS: u64 = 8;
/// Lines from one low cassette of a connection to the next.
const CYCLE: u64 = 50;
/// Lines that a connection sends at once, and how often: the whole lasts long enough for rules to come into force between
/// kills, and lines are always under way.
const BURST: u64 = 20;
const BURST_EVERY: Duration = Duration::from_millis(200);
/// Lines of the whole load for each jackpot.
const LINES_PER_JACKPOT: u64 = 400;

/// A line that was answered: its mark, its kind and its terminal, and the sequence number it got.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) terminal: &'static str,
    pub(crate) mark: String,
    pub(crate) kind: String,
    pub(crate) seq: u64,
    /// The rules have to answer this one, each with one alert.
    pub(crate) alerts: bool,
}

/// Everything under way.
pub(crate) struct Load {
    enough: CancellationToken,
    drafted: Arc<AtomicUsize>,
    progress: watch::Receiver<u64>,
    answered: Arc<Mutex<Vec<Answered>>>,
    refused: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

/// A line to be: kind, fields, whether a rule has to answer.
struct Draft {
    terminal: &'static str,
    mark: String,
    kind: &'static str,
    fields: Value,
    alerts: bool,
}

impl Draft {
    /// The line. Its id is its mark, and what stands in it beside is found again from the mark.
    fn line(&self) -> Line {
        let mut object = self.fields.clone();
        object["id"] = json!(self.mark);
        object["kind"] = json!(self.kind);
        object["attributes"] = json!({ "mark": self.mark });
        Line { id: self.mark.clone(), json: object.to_string() }
    }
}

/// Line `n` of connection `connection`: happenings, and in each cycle its own cassette low and good again.
fn line(connection: u64, n: u64) -> Draft {
    const HAPPENINGS: [&str; 4] = ["card.inserted", "card.taken", "cash.taken", "counters.reported"];
    let cassette = json!({ "device": "cash_handler", "component": format!("cassette_{}", connection + 1) });
    let (kind, fields, alerts) = match n % CYCLE {
        10 => ("supply.low", cassette, true),
        35 => ("supply.ok", cassette, false),
        other => (HAPPENINGS[usize::try_from(other % 4).unwrap()], json!({}), false),
    };
    Draft { terminal: "atm-01", mark: format!("c{connection}-{n}"), kind, fields, alerts }
}

/// Round `n` of the jackpotted terminal: one honest withdrawal, then notes that nobody asked for, then a person puts it in
/// service again, which ends the alert.
fn jackpot(n: u64) -> [Draft; 5] {
    let draft = |part: &str, kind, alerts| Draft {
        terminal: "atm-04",
        mark: format!("j{n}-{part}"),
        kind,
        fields: json!({ "amount": { "value": "120.00", "currency": "EUR" } }),
        alerts,
    };
    [
        draft("asked", "txn.requested", false),
        draft("given", "cash.presented", false),
        draft("ended", "txn.ended", false),
        draft("stolen", "cash.presented", true),
        draft("mended", "mode.in_service", false),
    ]
}

impl Load {
    /// Sends so many lines, and those of the jackpots, or fewer if that is enough before.
    pub(crate) fn start(events: u64, ports: &Ports) -> Load {
        let (counted, progress) = watch::channel(0);
        let counted = Arc::new(counted);
        let (answered, refused) = (Arc::default(), Arc::default());
        let jackpots = (events / LINES_PER_JACKPOT).max(3);
        let mut load = Load {
            enough: CancellationToken::new(),
            drafted: Arc::default(),
            progress: progress.clone(),
            answered,
            refused,
            tasks: Vec::new(),
        };
        for connection in 0..CONNECTIONS {
            // The remainder goes to the first ones, so that the sum is what was asked for.
            let lines = events / CONNECTIONS + u64::from(connection < events % CONNECTIONS);
            let drafts = (0..lines).map(move |n| (0, line(connection, n)));
            load.send(Client::new(ports.lines), drafts, progress.clone(), Some(Arc::clone(&counted)));
        }
        // The jackpots are spread over the run: each waits until its share of the other lines is answered.
        let share = events / (jackpots + 1);
        let drafts = (0..jackpots).flat_map(move |n| jackpot(n).into_iter().map(move |draft| ((n + 1) * share, draft)));
        load.send(Client::new(ports.guarded), drafts, progress, None);
        load
    }

    /// Sends drafts over a connection of their own; each waits until so many lines are answered.
    fn send(
        &mut self,
        client: Client,
        drafts: impl Iterator<Item = (u64, Draft)> + Send + 'static,
        mut progress: watch::Receiver<u64>,
        counted: Option<Arc<watch::Sender<u64>>>,
    ) {
        let retry = Retry { first: Duration::from_millis(10), most: Duration::from_millis(100) };
        let client = Client { retry, ..client };
        let (sender, lines) = mpsc::channel(32);
        let drafts_known: Arc<Mutex<HashMap<String, Draft>>> = Arc::default();
        let (known, answered, refused) =
            (Arc::clone(&drafts_known), Arc::clone(&self.answered), Arc::clone(&self.refused));
        let (enough, drafted) = (self.enough.clone(), Arc::clone(&self.drafted));
        let draft = async move {
            let mut bursts = tokio::time::interval(BURST_EVERY);
            for (nth, (after, draft)) in (0_u64..).zip(drafts) {
                if nth % BURST == 0 {
                    bursts.tick().await;
                }
                if progress.wait_for(|count| *count >= after).await.is_err() {
                    return;
                }
                let Ok(place) = sender.reserve().await else { return };
                let line = draft.line();
                drafts_known.lock().unwrap().insert(line.id.clone(), draft);
                drafted.fetch_add(1, Ordering::Relaxed);
                place.send(line);
            }
        };
        // What was drafted is still delivered.
        self.tasks.push(tokio::spawn(async move { enough.run_until_cancelled_owned(draft).await.unwrap_or_default() }));
        self.tasks.push(tokio::spawn(async move {
            let take = |line: Line, answer: Answer| {
                let draft = known.lock().unwrap().remove(&line.id).expect("only what was sent is answered");
                match answer {
                    Answer::Seq(seq) => answered.lock().unwrap().push(Answered {
                        terminal: draft.terminal,
                        mark: draft.mark,
                        kind: draft.kind.to_owned(),
                        seq,
                        alerts: draft.alerts,
                    }),
                    Answer::Refused(why) => refused.lock().unwrap().push(format!("{}: {why}", line.json)),
                }
                if let Some(counted) = &counted {
                    counted.send_modify(|count| *count += 1);
                }
            };
            client.deliver(lines, take, CancellationToken::new()).await;
        }));
    }

    /// Waits until so many lines are answered.
    pub(crate) async fn reaches(&self, count: u64, gateway: &mut Gateway) {
        let mut reached = *self.progress.borrow();
        while reached < count {
            let mut progress = self.progress.clone();
            progress.borrow_and_update();
            let more = tokio::time::timeout(STALLED, progress.changed()).await;
            gateway.assert_alive();
            let now = *self.progress.borrow();
            assert!(
                more.is_ok() || now > reached,
                "no line was answered for {} s, {reached} were before:\n{}",
                STALLED.as_secs(),
                gateway.tail()
            );
            reached = now;
        }
    }

    /// What was answered until now.
    pub(crate) fn answered(&self) -> Vec<Answered> {
        self.answered.lock().unwrap().clone()
    }

    /// Drafts no more lines.
    pub(crate) fn enough(&self) {
        self.enough.cancel();
    }

    /// Waits until every line is answered.
    pub(crate) async fn finish(self, gateway: &mut Gateway) -> Vec<Answered> {
        let drafted = || self.drafted.load(Ordering::Relaxed);
        let missing = || format!("{} of {} lines are answered", self.answered.lock().unwrap().len(), drafted());
        until(STALLED, missing, async || {
            gateway.assert_alive();
            self.tasks.iter().all(JoinHandle::is_finished).then_some(())
        })
        .await;
        let refused = self.refused.lock().unwrap();
        assert!(refused.is_empty(), "{} lines were refused, the first: {}", refused.len(), refused[0]);
        let answered = self.answered();
        assert_eq!(answered.len(), drafted(), "lines answered");
        answered
    }
}
