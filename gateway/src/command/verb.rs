//! What a terminal can be asked to do.

use std::fmt;
use std::str::FromStr;

use super::Arguments;
use crate::auth::Permission;

/// Longest argument, in bytes.
const ARGUMENT_BYTES: usize = 1024;

/// The verb of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Serve customers again.
    InService,
    /// Serve nobody.
    OutOfService,
    /// Tell the counters.
    Counters,
    /// Tell the configuration, or a part of it.
    Configuration,
    /// Take the gateway's time.
    SetTime,
    /// Start anew, by switching the power.
    Restart,
    /// Bring the devices back to a known state.
    Reset,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 7] = [
        Verb::InService,
        Verb::OutOfService,
        Verb::Counters,
        Verb::Configuration,
        Verb::SetTime,
        Verb::Restart,
        Verb::Reset,
    ];

    /// The name in requests and events.
    pub fn name(self) -> &'static str {
        match self {
            Verb::InService => "in_service",
            Verb::OutOfService => "out_of_service",
            Verb::Counters => "counters",
            Verb::Configuration => "configuration",
            Verb::SetTime => "set_time",
            Verb::Restart => "restart",
            Verb::Reset => "reset",
        }
    }

    /// What somebody must be allowed to do to ask for it.
    pub fn permission(self) -> Permission {
        match self {
            Verb::Counters | Verb::Configuration => Permission::QueryTerminal,
            Verb::InService | Verb::OutOfService | Verb::SetTime => Permission::ControlTerminal,
            Verb::Restart | Verb::Reset => Permission::RestartTerminal,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Verb::ALL.map(Verb::name).join(", ");
        let found = Verb::ALL.into_iter().find(|verb| verb.name() == text);
        found.ok_or_else(|| format!("there is no such verb; there are {}", names()))
    }
}

/// Which counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterSet {
    /// Those that the terminal thinks right.
    #[default]
    Usual,
    /// The basic ones.
    Basic,
    /// The extended ones.
    Extended,
}

/// Which part of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All in one.
    #[default]
    All,
    /// Its number.
    Id,
    /// The devices.
    Hardware,
    /// How full everything is.
    Supplies,
    /// How well every device works.
    Fitness,
    /// Sensors and tamper indicators.
    Sensors,
    /// The software's release.
    Release,
    /// Options and timers.
    Enhanced,
    /// Option digits.
    Options,
    /// What notes may be deposited.
    Deposits,
    /// The terminal's date and time.
    Clock,
}

impl Part {
    const NAMES: [(&'static str, Part); 11] = [
        ("all", Part::All),
        ("id", Part::Id),
        ("hardware", Part::Hardware),
        ("supplies", Part::Supplies),
        ("fitness", Part::Fitness),
        ("sensors", Part::Sensors),
        ("release", Part::Release),
        ("enhanced", Part::Enhanced),
        ("options", Part::Options),
        ("deposits", Part::Deposits),
        ("clock", Part::Clock),
    ];
}

/// What is asked, verb and arguments together and found in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// See [`Verb::InService`].
    InService,
    /// See [`Verb::OutOfService`].
    OutOfService,
    /// See [`Verb::Counters`].
    Counters(CounterSet),
    /// See [`Verb::Configuration`].
    Configuration(Part),
    /// See [`Verb::SetTime`].
    SetTime,
    /// See [`Verb::Restart`].
    Restart,
    /// See [`Verb::Reset`].
    Reset,
}

impl Ask {
    /// Reads verb and arguments: `set` of counters, `part` of a configuration; every verb takes a `reason`, for people.
    ///
    /// # Errors
    /// With a sentence that says what is wrong.
    pub fn read(verb: &str, arguments: &Arguments) -> Result<Ask, String> {
        let verb: Verb = verb.parse()?;
        let own = match verb {
            Verb::Counters => Some("set"),
            Verb::Configuration => Some("part"),
            _ => None,
        };
        let mut value = None;
        for (name, given) in arguments {
            let text = given.as_str().filter(|text| text.len() <= ARGUMENT_BYTES);
            match text {
                None => return Err(format!("`{name}` must be a text of at most {ARGUMENT_BYTES} bytes")),
                Some(text) if own == Some(name.as_str()) => value = Some(text),
                Some(_) if name == "reason" => {}
                Some(_) => return Err(format!("{verb} takes no `{name}`")),
            }
        }
        Ok(match verb {
            Verb::InService => Ask::InService,
            Verb::OutOfService => Ask::OutOfService,
            Verb::Counters => Ask::Counters(match value {
                None => CounterSet::Usual,
                Some("basic") => CounterSet::Basic,
                Some("extended") => CounterSet::Extended,
                Some(_) => return Err("`set` must be `basic` or `extended`".to_owned()),
            }),
            Verb::Configuration => Ask::Configuration(match value {
                None => Part::All,
                Some(text) => {
                    Part::NAMES.iter().find(|(name, _)| *name == text).map(|row| row.1).ok_or_else(|| {
                        format!("`part` must be one of {}", Part::NAMES.map(|(name, _)| name).join(", "))
                    })?
                }
            }),
            Verb::SetTime => Ask::SetTime,
            Verb::Restart => Ask::Restart,
            Verb::Reset => Ask::Reset,
        })
    }

    /// Whether it asks for an answer, and changes nothing.
    pub fn is_question(self) -> bool {
        matches!(self, Ask::Counters(_) | Ask::Configuration(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(verb: &str, arguments: &[(&str, &str)]) -> Result<Ask, String> {
        let pairs = arguments.iter().map(|(name, text)| ((*name).to_owned(), (*text).into()));
        Ask::read(verb, &pairs.collect())
    }

    #[test]
    fn verbs_take_their_own_arguments_and_a_reason() {
        for verb in Verb::ALL {
            assert_eq!(verb.name().parse(), Ok(verb));
            assert!(read(verb.name(), &[("reason", "a person's")]).is_ok(), "{verb}");
            assert!(read(verb.name(), &[("colour", "red")]).is_err(), "{verb}");
        }
        assert_eq!(read("counters", &[("set", "extended")]), Ok(Ask::Counters(CounterSet::Extended)));
        assert!(read("counters", &[("set", "all")]).is_err());
        assert!(read("counters", &[("part", "id")]).is_err());
        for (name, part) in Part::NAMES {
            assert_eq!(read("configuration", &[("part", name)]), Ok(Ask::Configuration(part)));
        }
        assert!(read("dance", &[]).is_err());
        assert!(Ask::read("restart", &[("reason".to_owned(), 7.into())].into_iter().collect()).is_err());
    }

    #[test]
    fn a_question_needs_less_than_a_restart() {
        assert_eq!(Verb::Counters.permission(), Permission::QueryTerminal);
        assert_eq!(Verb::SetTime.permission(), Permission::ControlTerminal);
        assert_eq!(Verb::Reset.permission(), Permission::RestartTerminal);
    }
}
