//! Attempts that became no command, in events: of a burst the first at once, the others together, once a minute. Each who asks has
//! a burst of their own, so that nobody's noise hides what somebody else tries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::command::{Attempt, Code, Refusal, Source, Ways, is_id};
use crate::event::{Event, Kind};
use crate::log::{Log, Submission};
use crate::metrics::Metrics;

/// Between two events about one who asks.
const QUIET: Duration = Duration::from_secs(60);
/// Most who are told apart; those above share one burst. All but two of them have shown who they are.
const MAX_ACTORS: usize = 256;
/// How often it is looked for bursts that are to be told of.
const LOOK: Duration = Duration::from_secs(5);
/// Bad tokens, none a minute behind the one before, that cost nothing.
const FREE: u32 = 5;
/// The longest pause behind bad tokens.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Who asks: the way, and who they are by that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Actor {
    source: Source,
    by: String,
    address: Option<String>,
}

impl Actor {
    fn of(attempt: &Attempt) -> Actor {
        let address = attempt.address.map(|address| address.to_string());
        Actor { source: attempt.source, by: attempt.by.clone(), address }
    }

    fn crowd() -> Actor {
        Actor { source: Source::Mqtt, by: "others".to_owned(), address: None }
    }
}

/// Writes attempts down.
pub(super) struct Refusals {
    log: Log,
    ways: Arc<dyn Ways>,
    metrics: Arc<Metrics>,
    bursts: Mutex<Bursts>,
    guesses: Mutex<Guesses>,
}

impl Refusals {
    pub(super) fn new(log: Log, ways: Arc<dyn Ways>, metrics: Arc<Metrics>) -> Refusals {
        Refusals { log, ways, metrics, bursts: Mutex::default(), guesses: Mutex::default() }
    }

    /// An attempt became no command.
    pub(super) fn note(&self, attempt: &Attempt, refusal: &Refusal) {
        self.metrics.commands.with_label_values(&[attempt.source.name(), refusal.code.name()]).inc();
        // Of what cannot be kept now nothing can be kept.
        if matches!(refusal.code, Code::DiskFull | Code::Unavailable) {
            return;
        }
        let actor = Actor::of(attempt);
        let first = self.bursts.lock().unwrap_or_else(PoisonError::into_inner).note(&actor, Instant::now());
        if !first {
            return;
        }
        // Events of terminals that are not there would make terminals.
        let terminal = attempt.terminal.as_deref().filter(|terminal| self.ways.knows(terminal));
        let mut event = event(&actor, 1).detail(refusal.detail.as_str()).attribute("code", refusal.code.name());
        if let Some(verb) = attempt.verb.as_deref().filter(|verb| verb.parse::<crate::command::Verb>().is_ok()) {
            event = event.attribute("verb", verb);
        }
        if let Some(id) = attempt.id.as_deref().filter(|id| is_id(id)) {
            event = event.attribute("command_id", id);
        }
        self.write(event, terminal.unwrap_or("gateway"));
    }

    /// A token that came from the broker is not good. Gives how long those who show such have to pause, where they already
    /// had to before this.
    pub(super) fn bad_token(&self, now: Instant) -> Option<Duration> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner).note(now)
    }

    /// Tells of bursts until it is stopped, and then of all that there are.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
            self.tell(|now, reported| now.saturating_duration_since(reported) >= QUIET, Instant::now());
        }
        self.tell(|_, _| true, Instant::now());
    }

    fn tell(&self, due: impl Fn(Instant, Instant) -> bool, now: Instant) {
        let told = self.bursts.lock().unwrap_or_else(PoisonError::into_inner).due(due, now);
        for (actor, count) in told {
            let times =
                if count == 1 { "one more was refused".to_owned() } else { format!("{count} more were refused") };
            self.write(event(&actor, count).detail(times), "gateway");
        }
    }

    fn write(&self, event: Event, terminal: &str) {
        let (now, time_synced) = clock::now();
        let event = Event { terminal: terminal.to_owned(), received_at: Some(now), time_synced, ..event };
        // Nobody waits for it.
        let _ = self.log.enqueue(Submission { events: vec![event.into()], ..Submission::default() });
    }
}

fn event(actor: &Actor, count: u64) -> Event {
    let event = Event::new(Kind::CommandRefused)
        .attribute("source", actor.source.name())
        .attribute("by", actor.by.as_str())
        .attribute("count", count);
    match &actor.address {
        Some(address) => event.attribute("address", address.as_str()),
        None => event,
    }
}

/// The bursts that are under way.
#[derive(Default)]
struct Bursts(HashMap<Actor, Burst>);

struct Burst {
    reported: Instant,
    unreported: u64,
}

impl Bursts {
    /// Notes a refusal; whether it is the first of a burst.
    fn note(&mut self, actor: &Actor, now: Instant) -> bool {
        let crowd = Actor::crowd();
        let known = self.0.contains_key(actor);
        let actor = if known || self.0.len() < MAX_ACTORS { actor } else { &crowd };
        if let Some(burst) = self.0.get_mut(actor) {
            burst.unreported = burst.unreported.saturating_add(1);
            return false;
        }
        self.0.insert(actor.clone(), Burst { reported: now, unreported: 0 });
        true
    }

    /// The refusals that are to be told of now; a burst without any is over.
    fn due(&mut self, due: impl Fn(Instant, Instant) -> bool, now: Instant) -> Vec<(Actor, u64)> {
        let mut told = Vec::new();
        self.0.retain(|actor, burst| {
            if !due(now, burst.reported) {
                return true;
            }
            let count = std::mem::take(&mut burst.unreported);
            burst.reported = now;
            if count > 0 {
                told.push((actor.clone(), count));
            }
            count > 0
        });
        told
    }
}

/// Bad tokens from the broker, all together: it says of nobody who they are.
#[derive(Default)]
struct Guesses {
    failures: u32,
    /// When the last was looked at, or the pause behind it ends.
    until: Option<Instant>,
}

impl Guesses {
    fn note(&mut self, now: Instant) -> Option<Duration> {
        let left = self.until.and_then(|until| until.checked_duration_since(now)).filter(|left| !left.is_zero());
        if left.is_some() {
            return left;
        }
        if self.until.is_none_or(|until| now.saturating_duration_since(until) >= QUIET) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let pause = match self.failures.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => Duration::from_secs(1_u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(MAX_PAUSE),
        };
        self.until = Some(now + pause);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn actor(by: &str) -> Actor {
        Actor { by: by.to_owned(), ..Actor::crowd() }
    }

    fn after_a_minute(now: Instant, reported: Instant) -> bool {
        now.saturating_duration_since(reported) >= QUIET
    }

    #[test]
    fn nobodys_burst_hides_anybody_elses_first() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        assert!(bursts.note(&actor("a"), start));
        assert!((1..50).all(|second| !bursts.note(&actor("a"), start + SECOND * second)));
        assert!(bursts.note(&actor("b"), start + SECOND));
        assert!(bursts.due(after_a_minute, start + SECOND * 59).is_empty());
        assert_eq!(bursts.due(after_a_minute, start + SECOND * 61), [(actor("a"), 49)]);
        assert!(!bursts.note(&actor("a"), start + SECOND * 100), "the same burst");
        assert!(bursts.note(&actor("b"), start + SECOND * 100), "another burst");
        assert_eq!(bursts.due(|_, _| true, start + SECOND * 101), [(actor("a"), 1)]);
        assert!(bursts.note(&actor("b"), start + SECOND * 101), "all that was quiet is forgotten");
    }

    #[test]
    fn many_fill_no_memory_and_none_is_uncounted() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        let all = 3 * MAX_ACTORS;
        let mut told = (0..all).filter(|n| bursts.note(&actor(&n.to_string()), start)).count();
        assert!(bursts.0.len() <= MAX_ACTORS + 1 && told <= MAX_ACTORS + 1);
        told += bursts
            .due(|_, _| true, start)
            .iter()
            .map(|(_, count)| usize::try_from(*count).expect("few"))
            .sum::<usize>();
        assert_eq!(told, all);
    }

    #[test]
    fn bad_tokens_pause_for_longer_and_longer_and_are_forgotten() {
        let (mut guesses, mut now) = (Guesses::default(), Instant::now());
        assert!((0..FREE).all(|_| guesses.note(now).is_none()));
        let mut pauses = Vec::new();
        for _ in 0..11 {
            assert_eq!(guesses.note(now), None, "one is looked at, and the next pause begins");
            let left = guesses.note(now).expect("there is a pause");
            assert_eq!(guesses.note(now + left / 2), Some(left - left / 2));
            pauses.push(left.as_secs());
            now += left;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        now += QUIET;
        assert!((0..FREE).all(|_| guesses.note(now).is_none()), "all is forgotten");
    }
}
