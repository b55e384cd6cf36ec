//! Switching a terminal's power off and on again: a relay that MQTT reaches, or one on a line of this machine.
//!
//! Off is said once, and not any more once its command has run out of time or the connection has gone: a restart must not
//! come when nobody expects it. On is said until it is heard: a terminal must not stay dark because a broker was away for
//! a moment. Where the broker or the line refuses that, an alert says so, once, and it is tried again more and more slowly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::mqtt::{Publisher, Said};
use crate::clock;
use crate::command::{Code, Gpio, Refusal, Restart, Told};
use crate::event::{Event, Kind, Severity, State};
use crate::log::{Log, Submission};
use crate::metrics::Metrics;

/// Pause before on is said again; it doubles.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest such pause: an access list is mended by people.
const SLOWEST: Duration = Duration::from_secs(60);
/// Times that on may get lost before that is worth an alert; a refusal is at once.
const LOST: u32 = 2;

/// A line of this machine's pins; it is let go when dropped.
pub trait Line: Send {
    /// Draws the relay, or lets it fall.
    ///
    /// # Errors
    /// With what the system said.
    fn set(&mut self, drawn: bool) -> Result<(), String>;
}

/// What opens a line, with its relay fallen.
pub type OpenLine = Arc<dyn Fn(&Gpio) -> Result<Box<dyn Line>, String> + Send + Sync>;

/// What is told that a terminal may stay without power, and why; without a why, that it has power again.
pub(super) type Alarm = Arc<dyn Fn(&str, Option<&str>) + Send + Sync>;

/// An alarm that becomes an alert of the terminal, and its end.
pub(super) fn alarm(log: Log, metrics: Arc<Metrics>) -> Alarm {
    Arc::new(move |terminal, why| {
        let (now, time_synced) = clock::now();
        let event = match why {
            Some(why) => Event::new(Kind::AlertRaised)
                .severity(Severity::Critical)
                .detail(format!("the terminal may be without power: {why}"))
                .attribute("title", "The power may be off"),
            None => Event::new(Kind::AlertCleared).detail("the relay has heard that power comes back"),
        };
        metrics.commands_power_owed.add(if why.is_some() { 1 } else { -1 });
        let state = if why.is_some() { State::Raised } else { State::Cleared };
        let event = event.attribute("alert", "power");
        let (terminal, state) = (terminal.to_owned(), Some(state));
        let event = Event { terminal, state, received_at: Some(now), time_synced, ..event };
        // Nobody waits for it.
        let _ = log.enqueue(Submission { events: vec![event.into()], ..Submission::default() });
    })
}

/// The switches of all terminals that have one.
pub(super) struct Switches {
    by_terminal: BTreeMap<String, Restart>,
    publisher: Option<Publisher>,
    open_line: OpenLine,
    never: watch::Sender<bool>,
    owed: Arc<Owed>,
}

/// The terminals whose relay is yet to hear that power comes back, though it was said.
struct Owed {
    terminals: watch::Sender<BTreeSet<String>>,
    alarm: Alarm,
}

/// A restart that is about to begin.
pub(super) struct Beginning {
    /// From then on the power is not switched off any more.
    pub(super) until: Instant,
    /// Cancelled once the power is off: what was said to the terminal before has no answer.
    pub(super) cut: CancellationToken,
}

impl Switches {
    pub(super) fn new(
        by_terminal: BTreeMap<String, Restart>,
        publisher: Option<Publisher>,
        open_line: OpenLine,
        alarm: Alarm,
    ) -> Switches {
        let owed = Arc::new(Owed { terminals: watch::Sender::default(), alarm });
        Switches { by_terminal, publisher, open_line, never: watch::Sender::new(false), owed }
    }

    /// Whether this terminal has one.
    pub(super) fn has(&self, terminal: &str) -> bool {
        self.by_terminal.contains_key(terminal)
    }

    /// Changes whenever a switch may have come into reach.
    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.publisher.as_ref().map_or_else(|| self.never.subscribe(), Publisher::changes)
    }

    /// The terminals whose power may be off because their relay does not hear of on.
    pub(super) fn owed(&self) -> watch::Receiver<BTreeSet<String>> {
        self.owed.terminals.subscribe()
    }

    /// Off, a pause, and on again; `None` where the switch is out of reach now. The answer is none where nobody knows
    /// whether the power went off.
    pub(super) fn cycle(&self, terminal: &str, beginning: Beginning) -> Option<BoxFuture<'static, Option<Told>>> {
        let switch = self.by_terminal.get(terminal)?.clone();
        let owed = Arc::clone(&self.owed);
        if let Some(gpio) = switch.gpio.clone() {
            let line = ByLine { terminal: terminal.to_owned(), gpio, pause: switch.pause(), owed };
            return Some(line.cycle(Arc::clone(&self.open_line), beginning).boxed());
        }
        let publisher = self.publisher.as_ref().filter(|publisher| publisher.is_connected())?.clone();
        Some(ByTopic { terminal: terminal.to_owned(), publisher, switch, owed }.cycle(beginning).boxed())
    }

    /// Says on once more, where a cycle may have been broken off before it.
    pub(super) fn release(&self, terminal: &str) -> BoxFuture<'static, ()> {
        let Some(switch) = self.by_terminal.get(terminal).cloned() else { return std::future::ready(()).boxed() };
        if let Some(gpio) = &switch.gpio {
            // Opening lets the relay fall.
            if let Err(error) = (self.open_line)(gpio) {
                tracing::error!(terminal, error, "The line of the terminal's relay cannot be let go.");
            }
            return std::future::ready(()).boxed();
        }
        let Some(publisher) = self.publisher.clone() else { return std::future::ready(()).boxed() };
        let relay = ByTopic { terminal: terminal.to_owned(), publisher, switch, owed: Arc::clone(&self.owed) };
        self.owed.note(terminal);
        async move { relay.say_on().await }.boxed()
    }
}

impl Owed {
    fn note(&self, terminal: &str) {
        self.terminals.send_if_modified(|terminals| terminals.insert(terminal.to_owned()));
    }

    /// Whoever looks after the terminal hears of it.
    fn alert(&self, terminal: &str, why: &str) {
        tracing::error!(terminal, why, "The relay of the terminal's power does not hear of on; trying again.");
        self.note(terminal);
        (self.alarm)(terminal, Some(why));
    }

    fn settle(&self, terminal: &str, alerted: bool) {
        self.terminals.send_if_modified(|terminals| terminals.remove(terminal));
        if alerted {
            (self.alarm)(terminal, None);
        }
    }
}

/// A relay that listens to a topic.
struct ByTopic {
    terminal: String,
    publisher: Publisher,
    switch: Restart,
    owed: Arc<Owed>,
}

impl ByTopic {
    fn topic(&self) -> String {
        self.switch.mqtt_topic.clone().unwrap_or_default()
    }

    async fn cycle(self, Beginning { until, cut }: Beginning) -> Option<Told> {
        let refused = |code, why: String| Some(Told::Refused(Refusal::new(code, why)));
        let over = async {
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                () = self.publisher.lost() => {}
            }
        };
        match self.publisher.publish(self.topic(), self.switch.payload_off.clone(), over).await {
            Said::Taken => {
                cut.cancel();
                tokio::time::sleep(self.switch.pause()).await;
                self.say_on().await;
                Some(Told::Done(None))
            }
            Said::Unknown => {
                // Where nobody knows whether off was heard, on does no harm.
                self.say_on().await;
                None
            }
            Said::Refused(why) => {
                let topic = self.topic();
                refused(
                    Code::Unavailable,
                    format!("the broker does not take what is for the relay at `{topic}`: {why}"),
                )
            }
            Said::Unsaid if Instant::now() >= until => {
                refused(Code::Expired, "the relay could not be told in time, and was told nothing".to_owned())
            }
            Said::Unsaid => {
                let why = "the connection to the broker ended before the relay was told anything";
                refused(Code::Unavailable, why.to_owned())
            }
        }
    }

    async fn say_on(&self) {
        let (mut pause, mut lost, mut alerted) = (AGAIN, 0, false);
        loop {
            let on = self.switch.payload_on.clone();
            let why = match self.publisher.publish(self.topic(), on, std::future::pending()).await {
                Said::Taken => return self.owed.settle(&self.terminal, alerted),
                Said::Unknown | Said::Unsaid if self.publisher.is_closed() => return,
                Said::Unknown | Said::Unsaid => {
                    lost += 1;
                    (lost >= LOST).then_some("the connection to the broker ends each time")
                }
                Said::Refused(why) => Some(why),
            };
            if let Some(why) = why.filter(|_| !alerted) {
                let why = format!("the broker does not take what is for the relay at `{}`: {why}", self.topic());
                self.owed.alert(&self.terminal, &why);
                alerted = true;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SLOWEST);
        }
    }
}

/// A relay on a line of this machine.
struct ByLine {
    terminal: String,
    gpio: Gpio,
    pause: Duration,
    owed: Arc<Owed>,
}

impl ByLine {
    async fn cycle(self, open: OpenLine, Beginning { until: _, cut }: Beginning) -> Option<Told> {
        let refused = |why: String| Some(Told::Refused(Refusal::new(Code::Unavailable, why)));
        let mut line = match open(&self.gpio) {
            Ok(line) => line,
            Err(why) => return refused(format!("the line of the relay cannot be opened: {why}")),
        };
        if let Err(why) = line.set(true) {
            return refused(format!("the relay cannot be drawn: {why}"));
        }
        cut.cancel();
        tokio::time::sleep(self.pause).await;
        let (mut pause, mut alerted) = (AGAIN, false);
        while let Err(error) = line.set(false) {
            if !alerted {
                self.owed.alert(&self.terminal, &format!("the relay does not fall: {error}"));
                alerted = true;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SLOWEST);
        }
        self.owed.settle(&self.terminal, alerted);
        Some(Told::Done(None))
    }
}

#[cfg(test)]
mod tests;
