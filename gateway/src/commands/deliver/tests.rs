//! Delivery against a real log and a terminal that does as it is told, or not.

use std::path::Path;
use std::sync::Mutex;

use tokio::sync::mpsc;

use super::*;
use crate::command::{Gpio, Hand, Order, Restart, Source};
use crate::commands::switch::{Line, OpenLine};
use crate::event::Kind;
use crate::log;
use crate::terminals::TerminalFold;
use jiff::Timestamp;

/// Ways to one terminal, through a place that the test opens.
struct Test {
    place: Mutex<Option<mpsc::Sender<Order>>>,
    changes: watch::Sender<u64>,
}

impl Test {
    fn open(&self) -> mpsc::Receiver<Order> {
        let (place, orders) = mpsc::channel(1);
        *self.place.lock().expect("no panic") = Some(place);
        self.changes.send_modify(|count| *count += 1);
        orders
    }
}

impl Ways for Test {
    fn knows(&self, terminal: &str) -> bool {
        terminal == "atm"
    }

    fn way(&self, _: &str, ask: Ask, _: u32) -> Way {
        if ask == Ask::Reset {
            return Way::Never(Refusal::new(Code::Unsupported, "never"));
        }
        let place = self.place.lock().expect("no panic").clone();
        match place.and_then(|place| place.try_reserve_owned().ok()) {
            Some(place) => Way::Now(Hand { place, ask, message: Vec::new() }),
            None => Way::Later,
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

struct Rig {
    log: Log,
    ways: Arc<Test>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Rig {
    fn start(dir: &Path) -> Rig {
        let open_line: OpenLine = Arc::new(|_| Err("there is none".to_owned()));
        let config = Config { answer_timeout_s: 1, ..Config::default() };
        Rig::with(dir, &config, BTreeMap::new(), open_line)
    }

    fn with(dir: &Path, settings: &Config, by_terminal: BTreeMap<String, Restart>, open_line: OpenLine) -> Rig {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let fold = Box::new(TerminalFold::new(Arc::default(), Arc::clone(&metrics)));
        let config = log::Config { dir: dir.to_owned(), ..log::Config::default() };
        let log = Log::open(&config, "gw", fold, Arc::clone(&metrics)).expect("opens").log;
        let ways = Arc::new(Test { place: Mutex::default(), changes: watch::Sender::new(0) });
        let stop = CancellationToken::new();
        let switches = Arc::new(Switches::new(by_terminal, None, open_line, Arc::new(|_, _| {})));
        let delivery = Delivery::new(log.clone(), Arc::clone(&ways) as _, switches, settings, metrics, stop.clone());
        Rig { log, ways, stop, task: tokio::spawn(delivery.run()) }
    }

    async fn put(&self, id: &str, verb: &str, waits: Duration) {
        let now = Timestamp::now();
        let command = Command {
            id: id.to_owned(),
            source: Source::Http,
            terminal: "atm".to_owned(),
            verb: verb.to_owned(),
            arguments: Default::default(),
            by: "test".to_owned(),
            asked_at: now,
            expires_at: now + waits,
            state: State::Requested,
            changed_at: now,
            code: None,
            detail: None,
            result: None,
        };
        let submission = Submission {
            events: vec![command.event(None).into()],
            commands: vec![CommandChange::New(command)],
            ..Submission::default()
        };
        self.log.submit(submission).await.expect("is kept");
    }

    async fn until(&self, id: &str, state: State) -> Command {
        let mut changes = self.log.command_changes();
        let wait = async {
            loop {
                let command = self.log.command(Source::Http, id).expect("reads").expect("is there");
                if command.state == state {
                    return command;
                }
                changes.changed().await.expect("the log runs");
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("in time")
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
        self.log.close();
    }
}

#[tokio::test]
async fn one_is_out_at_a_time_and_each_step_is_an_event() {
    let dir = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(dir.path());
    for id in ["1", "2"] {
        rig.put(id, "out_of_service", Duration::from_secs(60)).await;
    }
    rig.put("3", "reset", Duration::from_secs(60)).await;
    let mut orders = rig.ways.open();
    let first = orders.recv().await.expect("an order");
    rig.until("1", State::Sent).await;
    // The place is free, and the terminal is not.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(orders.try_recv().is_err());
    rig.until("2", State::Requested).await;
    first.told.send(Told::Done(Some("7".into()))).expect("is awaited");
    assert_eq!(rig.until("1", State::Done).await.result, Some("7".into()));
    let second = orders.recv().await.expect("an order");
    second.told.send(Told::Refused(Refusal::new(Code::Rejected, "no"))).expect("is awaited");
    assert_eq!(rig.until("2", State::Refused).await.code.as_deref(), Some("rejected"));
    assert_eq!(rig.until("3", State::Refused).await.code.as_deref(), Some("unsupported"));
    let kinds: Vec<Kind> = rig.log.read_after(0, 100).expect("reads").iter().map(|stored| stored.event.kind).collect();
    use Kind::{CommandDone as D, CommandRefused as F, CommandRequested as R, CommandSent as S};
    assert_eq!(kinds.iter().filter(|kind| **kind == R).count(), 3);
    assert_eq!(kinds.into_iter().filter(|kind| *kind != R).collect::<Vec<_>>(), [S, D, S, F, F]);
    rig.end().await;
}

#[tokio::test]
async fn who_waits_too_long_expires_and_who_does_not_answer_is_unknown() {
    let dir = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(dir.path());
    rig.put("late", "in_service", Duration::from_millis(200)).await;
    rig.until("late", State::Expired).await;
    let mut orders = rig.ways.open();
    rig.put("silent", "in_service", Duration::from_secs(60)).await;
    let kept = orders.recv().await.expect("an order");
    assert_eq!(rig.until("silent", State::Unknown).await.code.as_deref(), Some("no_answer"));
    drop(kept);
    rig.put("gone", "in_service", Duration::from_secs(60)).await;
    drop(orders.recv().await.expect("an order"));
    assert_eq!(rig.until("gone", State::Unknown).await.code.as_deref(), Some("connection_lost"));
    rig.put("dance", "dance", Duration::from_secs(60)).await;
    assert_eq!(rig.until("dance", State::Refused).await.code.as_deref(), Some("unsupported"));
    rig.end().await;
}

#[tokio::test]
async fn what_was_sent_before_a_start_is_never_sent_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(dir.path());
    let mut orders = rig.ways.open();
    rig.put("1", "out_of_service", Duration::from_secs(60)).await;
    rig.put("2", "in_service", Duration::from_secs(60)).await;
    let order = orders.recv().await.expect("an order");
    rig.until("1", State::Sent).await;
    rig.end().await;
    drop(order);
    let rig = Rig::start(dir.path());
    assert_eq!(rig.until("1", State::Unknown).await.code.as_deref(), Some("interrupted"));
    let mut orders = rig.ways.open();
    let order = orders.recv().await.expect("an order");
    assert_eq!(order.ask, Ask::InService, "the next, not the same");
    order.told.send(Told::Done(None)).expect("is awaited");
    rig.until("2", State::Done).await;
    assert!(orders.try_recv().is_err());
    rig.end().await;
}

/// A relay that is always in order.
struct Relay;

impl Line for Relay {
    fn set(&mut self, _: bool) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test]
async fn a_restart_by_the_switch_waits_for_no_line_and_ends_what_is_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let switch: Restart =
        toml::from_str("gpio = { chip = \"/dev/gpiochip0\", line = 1, off_s = 1 }").expect("settings");
    let open_line: OpenLine = Arc::new(|_: &Gpio| Ok(Box::new(Relay)));
    let settings = Config { max_waiting: 2, ..Config::default() };
    let rig = Rig::with(dir.path(), &settings, BTreeMap::from([("atm".to_owned(), switch)]), open_line);
    let mut orders = rig.ways.open();
    rig.put("hung", "in_service", Duration::from_secs(60)).await;
    let hung = orders.recv().await.expect("an order");
    rig.until("hung", State::Sent).await;
    // As many wait as may.
    for id in ["1", "2"] {
        rig.put(id, "out_of_service", Duration::from_secs(60)).await;
    }
    rig.put("again", "restart", Duration::from_secs(60)).await;
    assert_eq!(rig.until("hung", State::Unknown).await.code.as_deref(), Some("power_cut"));
    assert!(orders.try_recv().is_err(), "nothing is said to a terminal that is being restarted");
    assert!(hung.told.is_closed());
    rig.until("again", State::Done).await;
    let next = orders.recv().await.expect("an order");
    assert_eq!(next.ask, Ask::OutOfService);
    next.told.send(Told::Done(None)).expect("is awaited");
    rig.until("1", State::Done).await;
    rig.end().await;
}
