//! Exit codes, after sysexits: a number for scripts, a sentence for people.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::gateway::StartError;
use crate::log::OpenError;

/// Why the process ends before its work is done.
#[derive(Debug)]
pub struct Exit {
    code: u8,
    sentence: String,
}

impl Exit {
    fn new(code: u8, sentence: impl Into<String>) -> Exit {
        Exit { code, sentence: sentence.into() }
    }

    /// 65: the input is not what it should be.
    pub(super) fn data(sentence: impl Into<String>) -> Exit {
        Exit::new(65, sentence)
    }

    /// 66: an input file cannot be read.
    pub(super) fn no_input(sentence: impl Into<String>) -> Exit {
        Exit::new(66, sentence)
    }

    /// 69: something that is needed is not there: a port, a broker.
    pub(super) fn unavailable(sentence: impl Into<String>) -> Exit {
        Exit::new(69, sentence)
    }

    /// 70: a bug.
    pub(super) fn software(sentence: impl Into<String>) -> Exit {
        Exit::new(70, sentence)
    }

    /// 74: reading or writing failed.
    pub(super) fn io(sentence: impl Into<String>) -> Exit {
        Exit::new(74, sentence)
    }

    /// The sentence.
    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code)
    }
}

impl From<ConfigError> for Exit {
    fn from(error: ConfigError) -> Exit {
        let code = match error {
            ConfigError::Read { .. } => 66,
            ConfigError::Faults(_) => 78,
        };
        Exit::new(code, error.to_string())
    }
}

impl From<StartError> for Exit {
    fn from(error: StartError) -> Exit {
        let code = match &error {
            StartError::Store(OpenError::Folder { .. }) => 73,
            StartError::Store(OpenError::InUse(_)) | StartError::Http { .. } => 69,
            StartError::Store(_) => 74,
            StartError::Metrics(_) | StartError::Rules(_) => 70,
        };
        Exit::new(code, error.to_string())
    }
}
