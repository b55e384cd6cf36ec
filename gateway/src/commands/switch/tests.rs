//! Relays that are told, or not, by a publisher whose broker the test plays, and by a double of a line.

use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot};

use super::super::mqtt::{Wanted, unconnected};
use super::*;
use crate::mqtt::Verdict;

type Said = Arc<Mutex<Vec<&'static str>>>;

/// A line that writes down what it is told, and fails once.
struct Double(Said, bool);

impl Line for Double {
    fn set(&mut self, drawn: bool) -> Result<(), String> {
        if !drawn && std::mem::take(&mut self.1) {
            self.0.lock().expect("no panic").push("stuck");
            return Err("stuck".to_owned());
        }
        self.0.lock().expect("no panic").push(if drawn { "off" } else { "on" });
        Ok(())
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.0.lock().expect("no panic").push("let go");
    }
}

/// Switches, and the alarms that they have given: whether there was a reason.
fn switches(text: &str, publisher: Option<Publisher>, open: OpenLine) -> (Switches, Arc<Mutex<Vec<bool>>>) {
    let alarms = Arc::<Mutex<Vec<bool>>>::default();
    let told = Arc::clone(&alarms);
    let alarm: Alarm = Arc::new(move |_, why| told.lock().expect("no panic").push(why.is_some()));
    let switch: Restart = toml::from_str(text).expect("settings");
    (Switches::new(BTreeMap::from([("atm".to_owned(), switch)]), publisher, open, alarm), alarms)
}

fn by_line(open: OpenLine) -> (Switches, Arc<Mutex<Vec<bool>>>) {
    switches("gpio = { chip = \"/dev/gpiochip0\", line = 17, off_s = 1 }", None, open)
}

fn by_topic(publisher: Publisher) -> (Switches, Arc<Mutex<Vec<bool>>>) {
    switches("mqtt_topic = \"relay\"\noff_s = 1", Some(publisher), Arc::new(|_| Err("there is none".to_owned())))
}

fn beginning(within: Duration) -> Beginning {
    Beginning { until: Instant::now() + within, cut: CancellationToken::new() }
}

/// The next message, as it is written, and where the broker's word on it goes; none where it was given up before.
async fn written(wanted: &mut mpsc::Receiver<Wanted>) -> Option<(String, oneshot::Sender<Verdict>)> {
    let next = tokio::time::timeout(Duration::from_secs(20), wanted.recv());
    let Wanted { payload, begun, .. } = next.await.expect("in time").expect("somebody publishes");
    let (word, verdict) = oneshot::channel();
    begun.send(verdict).ok().map(|()| (payload, word))
}

#[tokio::test]
async fn a_line_is_drawn_held_and_let_go_though_it_sticks() {
    let said = Said::default();
    let shared = Arc::clone(&said);
    let (switches, alarms) = by_line(Arc::new(move |_| Ok(Box::new(Double(Arc::clone(&shared), true)))));
    let begun = tokio::time::Instant::now();
    let beginning = beginning(Duration::from_secs(60));
    let cut = beginning.cut.clone();
    let told = switches.cycle("atm", beginning).expect("a switch").await;
    assert_eq!(told, Some(Told::Done(None)));
    assert!(begun.elapsed() >= Duration::from_secs(1) + AGAIN);
    assert!(cut.is_cancelled());
    assert_eq!(*said.lock().expect("no panic"), ["off", "stuck", "on", "let go"]);
    assert_eq!(*alarms.lock().expect("no panic"), [true, false]);
    assert!(switches.cycle("other", self::beginning(Duration::from_secs(60))).is_none());
}

#[tokio::test]
async fn a_line_that_cannot_be_opened_is_a_refusal() {
    let (switches, _) = by_line(Arc::new(|_| Err("no such chip".to_owned())));
    let told = switches.cycle("atm", beginning(Duration::from_secs(60))).expect("a switch").await;
    assert!(matches!(told, Some(Told::Refused(refusal)) if refusal.detail.contains("no such chip")));
}

#[tokio::test]
async fn off_is_not_said_any_more_once_its_time_or_its_connection_is_over() {
    let (publisher, mut wanted, connected) = unconnected();
    let (switches, _) = by_topic(publisher);
    // The session is away: what it is to say waits, and its time runs out.
    let told = switches.cycle("atm", beginning(Duration::from_millis(100))).expect("connected").await;
    assert!(matches!(told, Some(Told::Refused(refusal)) if refusal.code == Code::Expired));
    assert!(written(&mut wanted).await.is_none(), "nobody wants it any more");
    let cycle = tokio::spawn(switches.cycle("atm", beginning(Duration::from_secs(600))).expect("connected"));
    while wanted.is_empty() {
        tokio::task::yield_now().await;
    }
    connected.send_replace(false);
    let told = cycle.await.expect("no panic");
    assert!(matches!(told, Some(Told::Refused(refusal)) if refusal.code == Code::Unavailable));
    assert!(written(&mut wanted).await.is_none(), "nobody wants it any more");
    assert!(wanted.is_empty(), "and on was not needed");
    assert!(switches.cycle("atm", beginning(Duration::from_secs(600))).is_none(), "out of reach");
}

#[tokio::test]
async fn where_nobody_knows_whether_off_was_heard_on_follows_however_late() {
    let (publisher, mut wanted, connected) = unconnected();
    let (switches, alarms) = by_topic(publisher);
    let beginning = beginning(Duration::from_millis(100));
    let cut = beginning.cut.clone();
    let cycle = tokio::spawn(switches.cycle("atm", beginning).expect("connected"));
    let (off, word) = written(&mut wanted).await.expect("is wanted");
    assert_eq!(off, "OFF");
    connected.send_replace(false);
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(word);
    let (on, word) = written(&mut wanted).await.expect("is wanted without a connection, too");
    assert_eq!(on, "ON");
    word.send(Verdict::Accepted).expect("is awaited");
    assert_eq!(cycle.await.expect("no panic"), None);
    assert!(!cut.is_cancelled(), "nobody knows that the power went off");
    assert_eq!(*alarms.lock().expect("no panic"), [false; 0]);
}

#[tokio::test]
async fn a_topic_that_the_broker_forbids_refuses_the_restart_and_names_it() {
    let (publisher, mut wanted, _connected) = unconnected();
    let (switches, _) = by_topic(publisher);
    let cycle = tokio::spawn(switches.cycle("atm", beginning(Duration::from_secs(60))).expect("connected"));
    let (_, word) = written(&mut wanted).await.expect("is wanted");
    word.send(Verdict::Forbidden).expect("is awaited");
    let told = cycle.await.expect("no panic");
    assert!(
        matches!(&told, Some(Told::Refused(refusal)) if refusal.code == Code::Unavailable && refusal.detail.contains("`relay`")),
        "{told:?}"
    );
    assert!(wanted.is_empty(), "the power was never off");
}

#[tokio::test]
async fn an_on_that_is_refused_is_said_again_with_one_alert_until_it_is_heard() {
    let (publisher, mut wanted, _connected) = unconnected();
    let (switches, alarms) = by_topic(publisher);
    let beginning = beginning(Duration::from_secs(60));
    let cut = beginning.cut.clone();
    let cycle = tokio::spawn(switches.cycle("atm", beginning).expect("connected"));
    let mut owed = switches.owed();
    for (payload, verdict) in
        [("OFF", Verdict::Accepted), ("ON", Verdict::Forbidden), ("ON", Verdict::Forbidden), ("ON", Verdict::Accepted)]
    {
        let (said, word) = written(&mut wanted).await.expect("is wanted");
        assert_eq!(said, payload);
        word.send(verdict).expect("is awaited");
        if verdict == Verdict::Forbidden {
            let _ = owed.wait_for(|owed| owed.contains("atm")).await.expect("the switches are there");
        }
    }
    assert_eq!(cycle.await.expect("no panic"), Some(Told::Done(None)));
    assert!(cut.is_cancelled() && switches.owed().borrow().is_empty());
    assert_eq!(*alarms.lock().expect("no panic"), [true, false]);
}
