//! Switching a terminal's power off and on again: a relay that MQTT reaches, or one on a line of this machine.
//!
//! Off is said once. On is said until it is heard: a terminal must not stay dark because a broker was away for a moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::mqtt::Publisher;
use crate::command::{Code, Gpio, Refusal, Restart, Told};

/// Pause before on is said again.
const AGAIN: Duration = Duration::from_secs(1);

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

/// The switches of all terminals that have one.
pub(super) struct Switches {
    by_terminal: BTreeMap<String, Restart>,
    publisher: Option<Publisher>,
    open_line: OpenLine,
    never: watch::Sender<bool>,
}

impl Switches {
    pub(super) fn new(
        by_terminal: BTreeMap<String, Restart>,
        publisher: Option<Publisher>,
        open_line: OpenLine,
    ) -> Switches {
        Switches { by_terminal, publisher, open_line, never: watch::Sender::new(false) }
    }

    /// Whether this terminal has one.
    pub(super) fn has(&self, terminal: &str) -> bool {
        self.by_terminal.contains_key(terminal)
    }

    /// Changes whenever a switch may have come into reach.
    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.publisher.as_ref().map_or_else(|| self.never.subscribe(), Publisher::changes)
    }

    /// Off, a pause, and on again; `None` where the switch is out of reach now. The answer is none where nobody knows
    /// whether the power went off.
    pub(super) fn cycle(&self, terminal: &str) -> Option<BoxFuture<'static, Option<Told>>> {
        let switch = self.by_terminal.get(terminal)?.clone();
        if let Some(gpio) = switch.gpio.clone() {
            let open = Arc::clone(&self.open_line);
            return Some(by_line(open, gpio, switch.pause()).boxed());
        }
        let publisher = self.publisher.as_ref().filter(|publisher| publisher.is_connected())?;
        Some(by_topic(publisher.clone(), switch).boxed())
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
        let publisher = self.publisher.clone();
        async move {
            if let Some(publisher) = publisher {
                say_on(&publisher, &switch).await;
            }
        }
        .boxed()
    }
}

async fn by_topic(publisher: Publisher, switch: Restart) -> Option<Told> {
    let topic = switch.mqtt_topic.clone().unwrap_or_default();
    let off = publisher.publish(topic, switch.payload_off.clone()).await;
    if off {
        tokio::time::sleep(switch.pause()).await;
    }
    // Where nobody knows whether off was heard, on does no harm.
    say_on(&publisher, &switch).await;
    off.then_some(Told::Done(None))
}

async fn say_on(publisher: &Publisher, switch: &Restart) {
    let topic = switch.mqtt_topic.clone().unwrap_or_default();
    while !publisher.publish(topic.clone(), switch.payload_on.clone()).await && !publisher.is_closed() {
        tokio::time::sleep(AGAIN).await;
    }
}

async fn by_line(open: OpenLine, gpio: Gpio, pause: Duration) -> Option<Told> {
    let refused = |why: String| Some(Told::Refused(Refusal::new(Code::Unavailable, why)));
    let mut line = match open(&gpio) {
        Ok(line) => line,
        Err(why) => return refused(format!("the line of the relay cannot be opened: {why}")),
    };
    if let Err(why) = line.set(true) {
        return refused(format!("the relay cannot be drawn: {why}"));
    }
    tokio::time::sleep(pause).await;
    while let Err(error) = line.set(false) {
        tracing::error!(error, "The relay of a terminal's power does not fall; trying again.");
        tokio::time::sleep(AGAIN).await;
    }
    Some(Told::Done(None))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

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

    fn switches(open: OpenLine) -> Switches {
        let switch: Restart =
            toml::from_str("gpio = { chip = \"/dev/gpiochip0\", line = 17, off_s = 1 }").expect("settings");
        Switches::new(BTreeMap::from([("atm".to_owned(), switch)]), None, open)
    }

    #[tokio::test]
    async fn a_line_is_drawn_held_and_let_go_though_it_sticks() {
        let said = Said::default();
        let shared = Arc::clone(&said);
        let switches = switches(Arc::new(move |_| Ok(Box::new(Double(Arc::clone(&shared), true)))));
        let begun = tokio::time::Instant::now();
        let told = switches.cycle("atm").expect("a switch").await;
        assert_eq!(told, Some(Told::Done(None)));
        assert!(begun.elapsed() >= Duration::from_secs(1) + AGAIN);
        assert_eq!(*said.lock().expect("no panic"), ["off", "stuck", "on", "let go"]);
        assert!(switches.cycle("other").is_none());
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_opened_is_a_refusal() {
        let switches = switches(Arc::new(|_| Err("no such chip".to_owned())));
        let told = switches.cycle("atm").expect("a switch").await;
        assert!(matches!(told, Some(Told::Refused(refusal)) if refusal.detail.contains("no such chip")));
    }
}
