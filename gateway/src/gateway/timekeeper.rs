//! Watches the clock: says when it is moved, and dates what was read while it was wrong once it is right.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Base, own};
use crate::clock::{self, Reading};
use crate::event::{Event, Kind};
use crate::log::{Log, LogError, Submission};
use crate::metrics::Metrics;
use crate::terminals::Inventory;

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Starts watching. `undated` tells whether events of this boot wait for the clock already.
pub(super) fn start(base: &Base, undated: bool) {
    let (_, reading) = clock::read();
    let keeper = Timekeeper {
        log: base.log.clone(),
        metrics: Arc::clone(&base.metrics),
        inventory: Arc::clone(&base.inventory),
        stop: base.stop.clone(),
        waits_since: (undated || reading.synced == Some(false)).then_some(reading.moved),
        before: reading,
    };
    tokio::spawn(keeper.run());
}

struct Timekeeper {
    log: Log,
    metrics: Arc<Metrics>,
    inventory: Arc<Inventory>,
    stop: CancellationToken,
    /// Where events wait for the clock: by how much it had been moved when the first of them was read.
    waits_since: Option<SignedDuration>,
    before: Reading,
}

impl Timekeeper {
    async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.stop.cancelled() => return,
            }
            if let Err(LogError::Stopped) = self.look().await {
                return;
            }
        }
    }

    async fn look(&mut self) -> Result<(), LogError> {
        let (now, reading) = clock::read();
        let by = reading.moved - self.before.moved;
        self.show(&reading);
        if reading.moves != self.before.moves {
            tracing::warn!(seconds = by.as_secs_f64(), %now, "The clock was moved.");
            let direction = if by.is_negative() { "back" } else { "forward" };
            self.metrics.clock_moves.with_label_values(&[direction]).inc_by(reading.moves - self.before.moves);
            self.show_times();
        }
        if reading.synced == Some(false) {
            self.waits_since.get_or_insert(self.before.moved);
        }
        let moved = (reading.moves != self.before.moves).then_some(by);
        self.before = reading;
        match (reading.synced, self.waits_since) {
            (None | Some(true), Some(since)) => {
                self.submit(set(now, reading.moved - since)).await?;
                self.waits_since = None;
                Ok(())
            }
            _ => match moved {
                Some(by) => {
                    let event = own(moved_by(now, by)).into();
                    self.submit(Submission { events: vec![event], ..Submission::default() }).await
                }
                None => Ok(()),
            },
        }
    }

    async fn submit(&self, submission: Submission) -> Result<(), LogError> {
        let answer = self.log.submit(submission).await;
        if let Err(error) = &answer {
            tracing::error!(%error, "What became of the clock is not kept.");
        }
        answer.map(drop)
    }

    fn show(&self, reading: &Reading) {
        let states = [("right", Some(true)), ("wrong", Some(false)), ("unknown", None)];
        for (name, state) in states {
            self.metrics.clock_state.with_label_values(&[name]).set(i64::from(reading.synced == state));
        }
        self.metrics.clock_moved.set(reading.moved.as_secs());
    }

    /// What is shown as a time was told by the clock as it was.
    fn show_times(&self) {
        let heard: Vec<_> = self.log.terminals(|terminals| {
            terminals.iter().filter_map(|(name, one)| Some((name.clone(), one.last_event_at()?))).collect()
        });
        for (name, at) in heard.iter().filter(|(name, _)| self.inventory.named(name).is_some()) {
            self.metrics.terminal_last_seen.with_label_values(&[name]).set(at.as_second());
        }
    }
}

/// The clock is right: what was read before is dated by when the machine's boot was, and whoever has it already is told that.
fn set(now: Timestamp, by: SignedDuration) -> Submission {
    let boot_at = now.checked_sub(clock::since_boot()).unwrap_or(now);
    let from = now.checked_sub(by).unwrap_or(now);
    let event = Event::new(Kind::GatewayClockSet)
        .detail(format!("the clock is right now; it was moved from {} to {}", seconds(from), seconds(now)))
        .attribute("boot", clock::boot_id())
        .attribute("boot_at", boot_at.to_string())
        .attribute("from", from.to_string())
        .attribute("to", now.to_string())
        .attribute("moved_ms", i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    tracing::info!(%from, to = %now, "The clock is right now.");
    Submission { events: vec![own(event).into()], clock: Some(boot_at), ..Submission::default() }
}

fn moved_by(now: Timestamp, by: SignedDuration) -> Event {
    let from = now.checked_sub(by).unwrap_or(now);
    Event::new(Kind::GatewayClockMoved)
        .detail(format!("the clock was moved from {} to {}", seconds(from), seconds(now)))
        .attribute("boot", clock::boot_id())
        .attribute("from", from.to_string())
        .attribute("to", now.to_string())
        .attribute("moved_ms", i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
