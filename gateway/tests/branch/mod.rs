//! A branch to hurt: a gateway in a process of its own, a real mosquitto, a subscriber that hears everything, and terminals
//! that never stop reporting. In the end everything that was answered has arrived, once.

pub(crate) mod alone;
mod broker;
mod commander;
pub(crate) mod gateway;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod subscriber;
mod verdict;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vestibule::simulate::journal::Printer;
use vestibule::simulate::{Pace, Retry, Tally, journal, ndc, script};

pub(crate) use broker::Broker;
pub(crate) use commander::Commander;
use gateway::Gateway;
use load::Load;
use process::until;
use subscriber::{Seen, Subscriber};

/// How long the whole of it may take without any progress before it has failed.
pub(crate) const STALLED: Duration = Duration::from_secs(60);
/// How long a gateway may take until it takes events.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Everything and everybody of it.
pub(crate) struct Branch {
    pub(crate) gateway: Gateway,
    pub(crate) broker: Broker,
    pub(crate) subscriber: Subscriber,
    pub(crate) load: Load,
    pub(crate) commander: Commander,
    printer: Arc<Printer>,
    ndc: JoinHandle<Tally>,
    journal: JoinHandle<Tally>,
    closed: CancellationToken,
}

impl Branch {
    /// Opens it: the gateway keeps its store in `data`, and is to be answered `events` lines; `dir` is for the rest.
    pub(crate) async fn open(dir: &Path, data: &Path, events: u64, seed: u64) -> Branch {
        let broker = Broker::start(dir).await;
        let subscriber = Subscriber::start(broker.port).await;
        broker.keep_sessions(&subscriber).await;
        let printer = Arc::new(Printer::open().unwrap());
        let gateway = Gateway::start(dir, data, broker.port, printer.path());
        let ports = gateway.ports;
        let closed = CancellationToken::new();
        let ndc = ndc::Terminal {
            address: ports.ndc,
            luno: "001000001".into(),
            script: script::LOBBY,
            seed,
            tempo: Pace::percent(400).into(),
            retry: Retry { first: Duration::from_millis(20), most: Duration::from_millis(200) },
        };
        let journal = journal::Terminal {
            script: script::BACK_OFFICE,
            seed,
            time_zone: TimeZone::get("Europe/Berlin").unwrap(),
            baud: 9_600,
            pace: Pace::percent(400),
        };
        Branch {
            gateway,
            broker,
            subscriber,
            load: Load::start(events, &ports),
            commander: Commander::start(ports, closed.clone()),
            ndc: tokio::spawn(ndc.run(closed.clone())),
            journal: tokio::spawn(journal.run(Arc::clone(&printer), closed.clone())),
            printer,
            closed,
        }
    }

    /// Starts the gateway, which has ended, again.
    pub(crate) fn again(&mut self) {
        self.printer.replug().unwrap();
        self.gateway.again();
    }

    /// Has the terminals finish, waits until everything has arrived, and judges.
    pub(crate) async fn close(mut self) {
        let answered = self.load.finish(&mut self.gateway).await;
        for (terminal, kind) in [("atm-02", "txn.requested"), ("atm-03", "txn.started")] {
            let heard =
                |seen: &Seen| seen.events.values().any(|event| event["terminal"] == terminal && event["kind"] == kind);
            let missing = || format!("no {kind} of {terminal} is ever heard");
            until(STALLED, missing, async || self.subscriber.look(heard).then_some(())).await;
        }
        self.closed.cancel();
        let (ndc, journal) = (self.ndc.await.unwrap(), self.journal.await.unwrap());
        assert!(ndc.sent > 0 && journal.sent > 0, "the NDC terminal or the journal never spoke: {ndc:?} {journal:?}");
        let orders = self.commander.finish(&mut self.gateway).await;
        let appended = verdict::settle(&mut self.gateway, &self.subscriber, &answered).await;
        let seen = self.subscriber.stop();
        verdict::judge(&seen, &answered, &orders, appended, &self.gateway);
        self.gateway.stop().await;
    }
}
