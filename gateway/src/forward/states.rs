//! The retained state of each terminal: what the broker has of it, what is due, and the one message that is under way.
//!
//! ```json
//! {"terminal":"atm-07","sequence":1042,"epoch":"gw-1-7f3a","in_service":true,
//!  "conditions":{"supply/cash_handler/cassette_2":{"kind":"supply.low","severity":"warning", … }},"counters":{ … }}
//! ```
//!
//! `sequence` is the place in the log from which the state holds; `epoch` the front of every event id. The rest is the
//! state as it was folded, absent where nothing is known. A terminal that is no longer there gets an empty message, which
//! clears the topic.
//!
//! States are no events: they have no place in the log, count nowhere, and the newest is all that matters. One is under
//! way at a time, beside the window of events; what changes meanwhile is sent once, as it then is. A new connection
//! sends all of them, because the broker may have forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::Standing;
use crate::mqtt::Verdict;

/// Content type of a state.
pub(super) const CONTENT_TYPE: &str = "application/json";
/// All terminals are looked through this often at most.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A state that has waited this long for events goes before them, once.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause before a state is sent again that the broker did not take.
const PAUSE: Duration = Duration::from_secs(1);
/// The terminal name of the gateway's own events; its health is its state.
const GATEWAY: &str = "gateway";

/// Tells whether a terminal of this name is there: configured, uploaded, or heard and let in.
#[derive(Clone)]
pub struct IsThere(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl IsThere {
    /// Asks this function; it must be quick.
    pub fn new(ask: impl Fn(&str) -> bool + Send + Sync + 'static) -> IsThere {
        IsThere(Arc::new(ask))
    }

    pub(super) fn ask(&self, name: &str) -> bool {
        self.0(name)
    }
}

impl fmt::Debug for IsThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IsThere")
    }
}

/// A state as it is sent; `None` where the terminal is no longer there.
pub(super) type State = Option<Arc<str>>;

/// The states of one connection.
#[derive(Debug, Default)]
pub(super) struct States {
    /// What the broker has.
    sent: BTreeMap<String, State>,
    due: BTreeSet<String>,
    due_since: Option<Instant>,
    flying: Option<(String, State)>,
    /// Not before this.
    look_at: Option<Instant>,
    send_at: Option<Instant>,
    /// The one sent last. Others have their turn before it comes again.
    last: String,
    /// Whether it was said that the broker does not take them.
    complained: bool,
}

impl States {
    /// Looks for what has changed, unless that was done a moment ago.
    pub(super) fn look(&mut self, terminals: &BTreeMap<String, Standing>, is_there: &IsThere, now: Instant) {
        if self.look_at.is_some_and(|at| now < at) {
            return;
        }
        self.look_at = Some(now + LOOK_EVERY);
        for (name, standing) in terminals.iter().filter(|(name, _)| *name != GATEWAY) {
            let state = is_there.ask(name).then(|| Arc::clone(&standing.state));
            let flies = self.flying.as_ref().is_some_and(|(flying, sent)| flying == name && *sent == state);
            if !flies && self.sent.get(name) != Some(&state) {
                self.due.insert(name.clone());
            }
        }
        if !self.due.is_empty() {
            self.due_since.get_or_insert(now);
        }
    }

    /// Lets the next look be taken at once.
    pub(super) fn hurry(&mut self) {
        self.look_at = None;
    }

    /// Whether something is under way, or to be sent without a pause.
    pub(super) fn is_pending(&self, now: Instant) -> bool {
        self.flying.is_some() || self.next(now).is_some()
    }

    /// Whether a state has waited so long that it goes before events.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.due_since.is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE)
    }

    /// The next terminal whose state is to be sent, if one may be sent now.
    pub(super) fn next(&self, now: Instant) -> Option<&str> {
        let may = self.flying.is_none() && self.send_at.is_none_or(|at| now >= at);
        let others = (Bound::Excluded(self.last.as_str()), Bound::Unbounded);
        let next = self.due.range::<str, _>(others).next().or_else(|| self.due.first());
        next.filter(|_| may).map(String::as_str)
    }

    /// The one that is under way.
    pub(super) fn flying(&self) -> Option<&(String, State)> {
        self.flying.as_ref()
    }

    /// The state of this terminal is under way, as it is now.
    pub(super) fn sent(&mut self, name: &str, state: State, now: Instant) {
        self.due.remove(name);
        self.due_since = (!self.due.is_empty()).then_some(now);
        self.flying = Some((name.to_owned(), state));
        name.clone_into(&mut self.last);
    }

    /// It cannot be sent, and is not tried again before it changes.
    pub(super) fn give_up(&mut self, name: &str, state: State) {
        self.due.remove(name);
        self.sent.insert(name.to_owned(), state);
    }

    /// What the broker said of the one under way.
    pub(super) fn answered(&mut self, verdict: Verdict, now: Instant) {
        if verdict != Verdict::Accepted && !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(terminal = self.last, reason = ?verdict, "the broker does not take a terminal's state");
        }
        match verdict {
            Verdict::Accepted | Verdict::Never(_) => self.settled(),
            // An access list is mended by people: until then it is tried now and then.
            Verdict::Later(_) | Verdict::Forbidden => self.put_off(now, PAUSE),
        }
    }

    /// The broker took it, or will never take it.
    fn settled(&mut self) {
        if let Some((name, state)) = self.flying.take() {
            self.sent.insert(name, state);
        }
    }

    /// The broker does not take it now: it is sent again, `pause` later.
    fn put_off(&mut self, now: Instant, pause: Duration) {
        if let Some((name, _)) = self.flying.take() {
            self.due.insert(name);
            self.send_at = Some(now + pause);
        }
    }
}

/// The payload; empty where the terminal is no longer there.
pub(super) fn payload(name: &str, state: &State, as_of: u64, epoch: &str) -> String {
    let Some(state) = state else { return String::new() };
    let (name, epoch) = (serde_json::Value::from(name), serde_json::Value::from(epoch));
    let front = format!(r#"{{"terminal":{name},"sequence":{as_of},"epoch":{epoch}"#);
    match state.strip_prefix('{') {
        None | Some("}") => format!("{front}}}"),
        Some(rest) => format!("{front},{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn board(states: &[(&str, &str)]) -> BTreeMap<String, Standing> {
        let standing = |state: &str| Standing { state: Arc::from(state), ..Standing::default() };
        states.iter().map(|(name, state)| ((*name).to_owned(), standing(state))).collect()
    }

    /// Sends what is due, and has it acknowledged.
    fn flush(
        states: &mut States,
        terminals: &BTreeMap<String, Standing>,
        there: &IsThere,
        now: Instant,
    ) -> Vec<String> {
        let mut said = Vec::new();
        states.look(terminals, there, now);
        while let Some(name) = states.next(now).map(str::to_owned) {
            let state = there.ask(&name).then(|| Arc::clone(&terminals[&name].state));
            said.push(format!("{name} {}", state.as_deref().unwrap_or("gone")));
            states.sent(&name, state, now);
            assert_eq!(states.next(now), None, "one at a time");
            states.settled();
        }
        said
    }

    #[test]
    fn what_changed_is_sent_once_and_what_is_gone_is_cleared() {
        let all = IsThere::new(|_| true);
        let (mut states, start) = (States::default(), Instant::now());
        let first = board(&[("a", "{}"), ("b", "{}"), ("gateway", "{}")]);
        assert_eq!(flush(&mut states, &first, &all, start), ["a {}", "b {}"]);
        let second = board(&[("a", r#"{"in_service":true}"#), ("b", "{}")]);
        assert!(flush(&mut states, &second, &all, start + LOOK_EVERY / 2).is_empty(), "a moment ago");
        assert_eq!(flush(&mut states, &second, &all, start + LOOK_EVERY), [r#"a {"in_service":true}"#]);
        let without_b = IsThere::new(|name| name != "b");
        assert_eq!(flush(&mut states, &second, &without_b, start + LOOK_EVERY * 2), ["b gone"]);
        assert!(flush(&mut states, &second, &without_b, start + LOOK_EVERY * 3).is_empty());
        assert_eq!(flush(&mut States::default(), &second, &all, start).len(), 2, "a new connection sends all");
    }

    #[test]
    fn what_changes_under_way_is_due_again_and_what_is_put_off_waits() {
        let all = IsThere::new(|_| true);
        let (mut states, start) = (States::default(), Instant::now());
        states.look(&board(&[("a", "{}")]), &all, start);
        states.sent("a", Some(Arc::from("{}")), start);
        states.look(&board(&[("a", "{}")]), &all, start + LOOK_EVERY);
        assert!(states.due.is_empty(), "it is under way as it is");
        states.look(&board(&[("a", r#"{"x":1}"#)]), &all, start + LOOK_EVERY * 2);
        states.settled();
        assert_eq!(states.next(start), Some("a"));
        assert!(!states.is_overdue(start + LOOK_EVERY * 2) && states.is_overdue(start + LOOK_EVERY * 2 + PATIENCE));
        states.sent("a", None, start);
        states.put_off(start, PATIENCE);
        assert_eq!((states.next(start), states.next(start + PATIENCE)), (None, Some("a")));
        states.give_up("a", None);
        assert!(!states.is_pending(start + PATIENCE));
    }

    #[test]
    fn one_that_is_forbidden_holds_up_neither_the_others_nor_a_stop() {
        let all = IsThere::new(|_| true);
        let (mut states, mut now) = (States::default(), Instant::now());
        let terminals = board(&[("a", "{}"), ("b", "{}"), ("c", "{}")]);
        states.look(&terminals, &all, now);
        let mut said = Vec::new();
        for _ in 0..5 {
            let name = states.next(now).expect("one is due").to_owned();
            states.sent(&name, Some(Arc::from("{}")), now);
            states.answered(if name == "a" { Verdict::Forbidden } else { Verdict::Accepted }, now);
            if name == "a" {
                assert!(states.next(now).is_none() && !states.is_pending(now));
                now += PAUSE;
            }
            said.push(name);
        }
        assert_eq!(said, ["a", "b", "c", "a", "a"]);
        assert!(states.is_pending(now), "it is tried again");
    }

    #[test]
    fn the_payload_is_the_state_with_its_place() {
        let parse = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
        let state = Some(Arc::from(r#"{"in_service":true}"#));
        assert_eq!(
            parse(payload("a\"1", &state, 7, "gw-7f3a")),
            json!({"terminal": "a\"1", "sequence": 7, "epoch": "gw-7f3a", "in_service": true})
        );
        assert_eq!(
            parse(payload("a", &Some(Arc::from("{}")), 7, "gw")),
            json!({"terminal": "a", "sequence": 7, "epoch": "gw"})
        );
        assert_eq!(payload("a", &None, 7, "gw"), "");
    }
}
