//! Commands: what a terminal can be asked to do, who may ask, and what becomes of it.
//!
//! A leaf, like `event`: no I/O and no clock. The stage that takes and delivers commands is [`crate::commands`]; what
//! other stages need to know of it stands here: [`Desk`] takes commands, [`Ways`] carries them to terminals.

mod order;
mod request;
mod restart;
mod state;
mod verb;

pub use order::{Hand, Order, Told, Way, Ways};
pub use request::{Arguments, Asker, Attempt, Code, Deadline, Desk, Refusal, Request, Source, is_id};
pub use restart::{Gpio, Restart};
pub use state::{Happening, State};
pub use verb::{Ask, CounterSet, Part, Verb};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::Event;

/// A command as it is stored, answered and published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its id, unique among those of its source.
    pub id: String,
    /// The way that it came by.
    pub source: Source,
    /// The terminal that it is for.
    pub terminal: String,
    /// What is asked; rules may ask for what no terminal can do.
    pub verb: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Arguments::is_empty")]
    pub arguments: Arguments,
    /// Who asked: a token's id, a certificate's subject, `loopback`, `broker`, or a rule.
    pub by: String,
    /// When it was taken.
    pub asked_at: Timestamp,
    /// From then on it is not sent any more.
    pub expires_at: Timestamp,
    /// How far it has come.
    pub state: State,
    /// When it came so far.
    pub changed_at: Timestamp,
    /// Why it was refused or is unknown, as one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the terminal answered, where that is more than that it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
}

impl Command {
    /// The command after this has happened; `None` where it cannot happen to it any more.
    pub fn after(&self, happening: Happening, at: Timestamp) -> Option<Command> {
        let state = self.state.after(happening)?;
        Some(Command { state, changed_at: at, ..self.clone() })
    }

    /// The same, with the reason.
    #[must_use]
    pub fn because(mut self, code: impl Into<String>, detail: impl Into<String>) -> Command {
        self.code = Some(code.into());
        self.detail = Some(detail.into());
        self
    }

    /// Whether somebody who asks again under the same id asks for the same.
    pub fn asks_the_same(&self, other: &Command) -> bool {
        (&self.terminal, &self.verb, &self.arguments) == (&other.terminal, &other.verb, &other.arguments)
    }

    /// The event that it has come so far.
    pub fn event(&self, time_synced: Option<bool>) -> Event {
        let Command { verb, by, .. } = self;
        let words = match self.state {
            State::Requested => format!("{verb} was asked for by {by}"),
            State::Sent => format!("{verb} is on its way"),
            State::Done => format!("{verb} is done"),
            State::Refused => format!("{verb} is refused"),
            State::Expired => format!("{verb} ran out of time and is not sent"),
            State::Unknown => format!("whether {verb} was carried out is not known"),
        };
        let mut event = Event::new(self.state.kind())
            .attribute("command_id", self.id.as_str())
            .attribute("verb", verb.as_str())
            .attribute("source", self.source.name())
            .attribute("by", by.as_str())
            .detail(match &self.detail {
                Some(why) => format!("{words}: {why}"),
                None => words,
            });
        if self.state == State::Requested {
            event = event.attribute("expires_at", self.expires_at.to_string());
            if !self.arguments.is_empty() {
                event = event.attribute("arguments", self.arguments.clone());
            }
        }
        if let Some(code) = &self.code {
            event = event.attribute("code", code.as_str());
        }
        if let Some(result) = &self.result {
            event = event.attribute("result", result.clone());
        }
        Event { terminal: self.terminal.clone(), received_at: Some(self.changed_at), time_synced, ..event }
    }
}
