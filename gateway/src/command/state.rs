//! How far a command can come: the one table.
//!
//! ```text
//! requested ─→ sent ─→ done
//!     │          ├───→ refused   (the terminal says no)
//!     │          └───→ unknown   (nobody has said)
//!     ├─→ refused  (nobody may, or nothing can)
//!     └─→ expired
//! ```
//!
//! Nothing leads back to `requested`, and nothing but `requested` leads to `sent`: a command is on the wire at most once.

use serde::{Deserialize, Serialize};

use crate::event::Kind;

/// How far a command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is kept, and waits for its terminal.
    Requested,
    /// It may have left, or is about to. This is committed before its first byte goes out.
    Sent,
    /// The terminal has carried it out.
    Done,
    /// It was not taken, or the terminal has refused it.
    Refused,
    /// It waited for too long.
    Expired,
    /// It was sent, and nobody has said what became of it.
    Unknown,
}

/// What can happen to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is about to be sent.
    Sending,
    /// The terminal has carried it out.
    Obeyed,
    /// The gateway or the terminal says no.
    Refused,
    /// Its time is over.
    OutOfTime,
    /// Its trace is lost.
    Lost,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] =
        [State::Requested, State::Sent, State::Done, State::Refused, State::Expired, State::Unknown];

    /// The state after this; `None` where it cannot happen.
    pub fn after(self, happening: Happening) -> Option<State> {
        match (self, happening) {
            (State::Requested, Happening::Sending) => Some(State::Sent),
            (State::Requested, Happening::Refused) => Some(State::Refused),
            (State::Requested, Happening::OutOfTime) => Some(State::Expired),
            (State::Sent, Happening::Obeyed) => Some(State::Done),
            (State::Sent, Happening::Refused) => Some(State::Refused),
            (State::Sent, Happening::Lost) => Some(State::Unknown),
            _ => None,
        }
    }

    /// Whether nothing more happens to it.
    pub fn is_final(self) -> bool {
        !matches!(self, State::Requested | State::Sent)
    }

    /// The name in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            State::Requested => "requested",
            State::Sent => "sent",
            State::Done => "done",
            State::Refused => "refused",
            State::Expired => "expired",
            State::Unknown => "unknown",
        }
    }

    /// The kind of the event that says so.
    pub fn kind(self) -> Kind {
        match self {
            State::Requested => Kind::CommandRequested,
            State::Sent => Kind::CommandSent,
            State::Done => Kind::CommandDone,
            State::Refused => Kind::CommandRefused,
            State::Expired => Kind::CommandExpired,
            State::Unknown => Kind::CommandUnknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        use Happening::{Lost, Obeyed, OutOfTime, Refused, Sending};
        let happenings = [Sending, Obeyed, Refused, OutOfTime, Lost];
        let n = None;
        for (state, after) in [
            (State::Requested, [Some(State::Sent), n, Some(State::Refused), Some(State::Expired), n]),
            (State::Sent, [n, Some(State::Done), Some(State::Refused), n, Some(State::Unknown)]),
            (State::Done, [n; 5]),
            (State::Refused, [n; 5]),
            (State::Expired, [n; 5]),
            (State::Unknown, [n; 5]),
        ] {
            assert_eq!(happenings.map(|happening| state.after(happening)), after, "{state:?}");
            assert_eq!(state.is_final(), after == [n; 5], "{state:?}");
        }
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).expect("JSON"), state.name());
            assert_eq!(state.kind().name(), format!("command.{}", state.name()));
        }
    }
}
