//! A log and a forwarder over it, without links and rules.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use vestibule::event::{Event, Kind};
use vestibule::forward::{self, Config, Forwarder, Identity, IsThere};
use vestibule::log::{self, Fold, Log, NewEvent, Submission};
use vestibule::metrics::Metrics;

/// Where the gateway says whether it is there.
pub(crate) const HEALTH: &str = "vestibule/v1/br001/gateway/gw-1/health";
/// How long a stop may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A fold that changes nothing.
struct Plain;

impl Fold for Plain {
    fn load(&mut self, _: &str, _: &str) {}
    fn apply(&mut self, event: Event, _: bool, out: &mut Vec<Event>) {
        out.push(event);
    }
    fn changed(&mut self, _: &mut dyn FnMut(&str, String)) {}
    fn undo(&mut self) {}
    fn keep(&mut self) {}
}

/// A log in a folder of its own, and a forwarder that can be started over it again and again.
pub(crate) struct Gateway {
    dir: TempDir,
    config: log::Config,
    /// The log.
    pub(crate) log: Log,
    /// Its metrics, and the forwarder's.
    pub(crate) metrics: Arc<Metrics>,
}

impl Gateway {
    /// An empty one.
    pub(crate) fn new() -> Gateway {
        Gateway::within(log::Config::default())
    }

    /// An empty one with these settings of its log.
    pub(crate) fn within(config: log::Config) -> Gateway {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (log, metrics) = open(&dir, &config);
        Gateway { dir, config, log, metrics }
    }

    /// Closes the log and opens it again, as a restart does.
    pub(crate) fn restart(&mut self) {
        self.log.close();
        // The store is locked until the last handle is gone.
        let (placeholder, _) = open(&tempfile::tempdir().expect("a temporary folder"), &self.config);
        self.log = placeholder;
        (self.log, self.metrics) = open(&self.dir, &self.config);
    }

    /// The folder of its store.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Starts a forwarder.
    pub(crate) fn forward(&self, config: Config) -> Forwarder {
        let identity = Identity { site: "br001".to_owned(), gateway: "gw-1".to_owned() };
        forward::start(config, self.log.clone(), identity, Arc::clone(&self.metrics), IsThere::new(|_| true))
    }

    /// Appends events of one terminal.
    pub(crate) async fn append(&self, terminal: &str, count: usize) {
        let event = || {
            let mut event = Event::new(Kind::SupplyLow).detail("cassette 2 low");
            event.terminal = terminal.to_owned();
            NewEvent::from(event)
        };
        self.append_all((0..count).map(|_| event()).collect()).await;
    }

    /// Appends these.
    pub(crate) async fn append_all(&self, events: Vec<NewEvent>) {
        self.log.submit(Submission { events, ..Submission::default() }).await.expect("the log takes events");
    }

    /// Forwarded, pending, dead-lettered and discarded, from the gauges; their sum is what was appended.
    pub(crate) fn counts(&self) -> [i64; 4] {
        let metrics = &self.metrics;
        [
            metrics.forward_forwarded.get(),
            metrics.forward_pending.get(),
            metrics.forward_dead_lettered.get(),
            metrics.forward_discarded.get(),
        ]
    }

    /// Waits for these counts, which account for everything.
    pub(crate) async fn eventually(&self, counts: [i64; 4]) {
        eventually(|| self.counts() == counts).await;
        assert_eq!(u64::try_from(counts.iter().sum::<i64>()).expect("positive"), *self.log.head().borrow());
    }
}

fn open(dir: &TempDir, config: &log::Config) -> (Log, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().expect("metrics register"));
    let config = log::Config { dir: dir.path().to_owned(), ..config.clone() };
    let opened = Log::open(&config, "gw-1", Box::new(Plain), Arc::clone(&metrics)).expect("the log opens");
    (opened.log, metrics)
}

/// Settings for a broker at this loopback port.
pub(crate) fn to(port: u16) -> Config {
    Config { port, ..Config::default() }
}

/// Waits for it.
pub(crate) async fn eventually(mut done: impl FnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let wait = async {
        while !done() {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it happens within a minute");
}

/// The event's place in the log.
pub(crate) fn sequence(json: &Value) -> u64 {
    json["sequence"].as_str().expect("a string of digits").parse().expect("a number")
}
