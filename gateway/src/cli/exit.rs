//! Exit codes, after sysexits: a number for scripts, a sentence for people.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::gateway::StartError;
use crate::log::OpenError;

/// The exit codes, least bad first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Code {
    /// Done.
    Ok = 0,
    /// The command line is wrong.
    Usage = 64,
    /// The input is not what it should be.
    Data = 65,
    /// An input cannot be read.
    NoInput = 66,
    /// Something that is needed is not there: a port, a broker.
    Unavailable = 69,
    /// A bug.
    Software = 70,
    /// The data folder cannot be made or written.
    CannotCreate = 73,
    /// Reading or writing failed.
    Io = 74,
    /// Left at once, at a second signal; or interrupted, with what was begun cleared away.
    Hurried = 75,
    /// Whoever asks may not do that.
    NoPermission = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

/// Why the process ends before its work is done.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) code: Code,
    pub(super) sentence: String,
}

impl Exit {
    fn new(code: Code, sentence: impl Into<String>) -> Exit {
        Exit { code, sentence: sentence.into() }
    }

    pub(super) fn usage(sentence: impl Into<String>) -> Exit {
        Exit::new(Code::Usage, sentence)
    }

    pub(super) fn data(sentence: impl Into<String>) -> Exit {
        Exit::new(Code::Data, sentence)
    }

    pub(super) fn no_input(sentence: impl Into<String>) -> Exit {
        Exit::new(Code::NoInput, sentence)
    }

    pub(super) fn config(sentence: impl Into<String>) -> Exit {
        Exit::new(Code::Config, sentence)
    }

    pub(super) fn unavailable(sentence: impl Into<String>) -> Exit {
        Exit::new(Code::Unavailable, sentence)
    }

    /// A gateway has refused what it was asked for, for a reason that has a word.
    pub(super) fn refused(word: &str, sentence: impl Into<String>) -> Exit {
        let code = match word {
            "unauthorised" | "token_invalid" | "token_expired" | "forbidden" => Code::NoPermission,
            "bad_request" | "unknown_terminal" | "conflict" => Code::Data,
            "config_refused" => Code::Config,
            _ => Code::Unavailable,
        };
        Exit::new(code, sentence)
    }

    pub(super) fn software(sentence: impl Into<String>) -> Exit {
        Exit::new(Code::Software, sentence)
    }

    pub(super) fn hurried(sentence: impl Into<String>) -> Exit {
        Exit::new(Code::Hurried, sentence)
    }

    pub(super) fn cannot_create(sentence: impl Into<String>) -> Exit {
        Exit::new(Code::CannotCreate, sentence)
    }

    pub(super) fn io(sentence: impl Into<String>) -> Exit {
        Exit::new(Code::Io, sentence)
    }
}

impl From<ConfigError> for Exit {
    fn from(error: ConfigError) -> Exit {
        let code = match error {
            ConfigError::Read { .. } => Code::NoInput,
            ConfigError::Faults(_) => Code::Config,
        };
        Exit::new(code, error.to_string())
    }
}

impl From<StartError> for Exit {
    fn from(error: StartError) -> Exit {
        let code = match &error {
            StartError::Store(OpenError::Folder { .. }) => Code::CannotCreate,
            StartError::Store(OpenError::InUse(_)) | StartError::Http { .. } => Code::Unavailable,
            StartError::Store(_) => Code::Io,
            StartError::Exposed(..) | StartError::Unfit(_) => Code::Config,
            StartError::Metrics(_) | StartError::Rules(_) => Code::Software,
        };
        Exit::new(code, error.to_string())
    }
}
