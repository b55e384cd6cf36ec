//! Whether everything is there, once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;
use vestibule::simulate::script::CARDS;

use super::STALLED;
use super::commander::Orders;
use super::gateway::Gateway;
use super::load::Answered;
use super::process::until;
use super::subscriber::{Seen, Subscriber};

/// How long nothing more must have come for that to be all.
const STILL: Duration = Duration::from_millis(500);

/// What the gateway's metrics say of its log and what was done with it.
#[derive(Debug)]
struct Books {
    appended: u64,
    pending: u64,
    settled: u64,
    rules_behind: u64,
}

impl Books {
    fn read(metrics: &str) -> Option<Books> {
        let sum = |name: &str| -> Option<u64> {
            let mut rows = metrics.lines().filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                (series.split('{').next() == Some(name)).then(|| value.parse::<u64>().ok()).flatten()
            });
            let first = rows.next()?;
            Some(first + rows.sum::<u64>())
        };
        Some(Books {
            appended: sum("vestibule_log_appended_events")?,
            pending: sum("vestibule_forward_pending_events")?,
            settled: sum("vestibule_forward_forwarded_events")?
                + sum("vestibule_forward_dead_lettered_events")?
                + sum("vestibule_forward_discarded_events")?,
            rules_behind: sum("vestibule_rule_lag_events")?,
        })
    }

    fn quiet(&self) -> bool {
        self.pending == 0 && self.rules_behind == 0 && self.appended == self.settled
    }
}

/// Waits until the gateway has nothing left to do and the subscriber has it all; gives the number of events in the log.
pub(crate) async fn settle(gateway: &mut Gateway, subscriber: &Subscriber, answered: &[Answered]) -> u64 {
    let expected = answered.iter().filter(|line| line.alerts).count();
    let mut last = String::new();
    let mut seen = 0;
    let mut moved = Instant::now();
    let mut still: Option<(u64, Instant)> = None;
    // No limit but that of standing still.
    until(Duration::MAX, String::new, async || {
        gateway.assert_alive();
        let count = subscriber.look(|seen| seen.events.len());
        if count > seen {
            (seen, moved) = (count, Instant::now());
        }
        let books = gateway.get("/metrics").await.and_then(|metrics| Books::read(&metrics));
        let (missing, alerts) = subscriber.look(|seen| (seen.gaps(), alerts(seen)));
        last = format!(
            "{books:?}; the subscriber has {count} events, first gaps {missing:?}, {alerts} of {expected} alerts"
        );
        assert!(moved.elapsed() < STALLED, "nothing came for {} s: {last}\n{}", STALLED.as_secs(), gateway.tail());
        // A rule that was put in force for the first time lags by nothing, so that the alerts are waited for themselves.
        let all_alerts = alerts >= expected;
        let settled = books
            .filter(|books| all_alerts && books.quiet() && u64::try_from(count) == Ok(books.appended))
            .map(|books| books.appended);
        // The terminals have just hung up, which the gateway may still have to notice and to say.
        if settled.is_none() || settled != still.map(|(appended, _)| appended) {
            still = settled.map(|appended| (appended, Instant::now()));
        }
        still.filter(|(_, since)| since.elapsed() > STILL).map(|(appended, _)| appended)
    })
    .await
}

/// Alerts of the terminals whose alerts are counted.
fn alerts(seen: &Seen) -> usize {
    let counted = |event: &Value| event["terminal"] == "atm-01" || event["terminal"] == "atm-04";
    seen.events.values().filter(|event| event["kind"] == "alert.raised" && counted(event)).count()
}

/// Judges what the subscriber saw against what was answered.
pub(crate) fn judge(seen: &Seen, answered: &[Answered], orders: &Orders, appended: u64, gateway: &Gateway) {
    let mut faults = seen.faults.clone();
    let mut fault = |text: String| faults.push(text);

    if !seen.gaps().is_empty() || seen.events.last_key_value().map(|(seq, _)| *seq) != Some(appended) {
        fault(format!("the sequence is not 1 to {appended}: gaps {:?}", seen.gaps()));
    }
    if seen.ids.len() != seen.events.len() {
        fault(format!("{} ids for {} events", seen.ids.len(), seen.events.len()));
    }
    for gap in terminal_gaps(seen) {
        fault(gap);
    }

    let mut marks: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (seq, event) in &seen.events {
        if let Some(mark) = event["attributes"]["mark"].as_str() {
            marks.entry(mark).or_default().push(*seq);
        }
        let text = event.to_string();
        if let Some(card) = CARDS.iter().find(|card| text.contains(card.pan)) {
            fault(format!("a whole card number ({}) in {text}", card.pan));
        }
    }
    for line in answered {
        if marks.get(line.mark.as_str()).map(Vec::as_slice) != Some(&[line.seq]) {
            fault(format!("{line:?} arrived as {:?}", marks.get(line.mark.as_str())));
        } else if let Some(event) = seen.events.get(&line.seq)
            && (event["terminal"] != line.terminal || event["kind"] != line.kind.as_str())
        {
            fault(format!("{line:?} arrived as {event}"));
        }
    }

    for text in effects(seen, answered).into_iter().chain(commands(seen, orders)) {
        fault(text);
    }
    let starts = seen.events.values().filter(|event| event["kind"] == "gateway.started").count();
    let heard: usize = orders.heard.iter().sum();
    let line = format!(
        "{} events of {} answered lines, {} alerts, {} publishes that came again, {} commands of which {heard} were heard, \
         {starts} starts of the gateway\n",
        seen.events.len(),
        answered.len(),
        alerts(seen),
        seen.again,
        orders.accepted
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    let shown: Vec<&str> = faults.iter().take(10).map(String::as_str).collect();
    assert!(faults.is_empty(), "{} faults, the first:\n{}\n\n{}", faults.len(), shown.join("\n"), gateway.tail());
}

/// Every terminal's own numbers run from 1 without gaps.
fn terminal_gaps(seen: &Seen) -> Vec<String> {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut faults = Vec::new();
    for event in seen.events.values() {
        let terminal = event["terminal"].as_str().unwrap_or_default();
        let before = last.entry(terminal).or_default();
        *before += 1;
        if event["terminal_seq"].as_u64() != Some(*before) {
            faults.push(format!("{terminal}: expected terminal_seq {before} at {event}"));
            break;
        }
    }
    faults
}

/// Each cause has each effect once, and each line that has to be answered is a cause.
fn effects(seen: &Seen, answered: &[Answered]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut caused: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for event in seen.events.values().filter(|event| event["rule"].is_string()) {
        let Some(cause) = event["cause"].as_str() else {
            faults.push(format!("an effect without a cause: {event}"));
            continue;
        };
        if !seen.ids.contains_key(cause) {
            faults.push(format!("an effect of what never was: {event}"));
        }
        let effect = format!("{} {} {}", event["rule"], event["kind"], event["component"]);
        if !caused.entry(cause).or_default().insert(effect) {
            faults.push(format!("an effect twice: {event}"));
        }
    }
    let kinds = |event: &Value, kind: &str| {
        let cause = event["id"].as_str().unwrap_or_default();
        caused.get(cause).into_iter().flatten().filter(|effect| effect.contains(kind)).count()
    };
    for line in answered.iter() {
        let Some(event) = seen.events.get(&line.seq) else { continue };
        let raised = kinds(event, "\"alert.raised\"");
        if raised != usize::from(line.alerts) {
            faults.push(format!("{raised} alerts by {event}"));
        }
        if line.alerts && line.terminal == "atm-04" && kinds(event, "\"command.requested\"") != 1 {
            faults.push(format!("no command, or several, by {event}"));
        }
    }
    faults
}

/// Each command that was acknowledged was asked for once, sent once at most, heard no oftener, and has ended once.
fn commands(seen: &Seen, orders: &Orders) -> Vec<String> {
    let mut faults = orders.faults.clone();
    let mut steps: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in seen.events.values() {
        if let (Some(id), Some(kind)) = (event["attributes"]["command_id"].as_str(), event["kind"].as_str()) {
            *steps.entry((id, kind)).or_default() += 1;
        }
    }
    for (number, heard) in orders.heard.iter().enumerate() {
        let id = format!("k{number}");
        let count = |kind| steps.get(&(id.as_str(), kind)).copied().unwrap_or(0);
        let (requested, sent) = (count("command.requested"), count("command.sent"));
        let ended: usize =
            ["command.done", "command.refused", "command.expired", "command.unknown"].map(count).iter().sum();
        if number < orders.accepted && (requested, ended) != (1, 1) || sent > 1 || *heard > sent {
            faults.push(format!("{id}: requested {requested}, sent {sent}, heard {heard}, ended {ended} times"));
        }
    }
    faults
}
