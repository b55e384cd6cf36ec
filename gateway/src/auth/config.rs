//! The settings of who may do what.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::identity::Terminals;
use super::role::Role;

/// Settings of who may do what.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file with the tokens, kept by `vestibule token`; without it no token is taken.
    pub tokens: Option<PathBuf>,
    /// What a program on this machine has to show.
    pub loopback: Loopback,
    /// Whether figures are for everybody; where absent, they are if HTTP listens on loopback alone.
    pub public_metrics: Option<bool>,
    /// What client certificates are worth.
    pub certificates: Vec<Certificate>,
}

/// What a program on this machine has to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loopback {
    /// A token, as everybody.
    #[default]
    Token,
    /// Nothing: whoever is on this machine may do everything.
    Open,
}

/// What a client certificate is worth.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Its whole subject, as RFC 4514 writes it: `CN=noc-console,O=Bank`.
    pub subject: String,
    /// What its holder may do.
    pub role: Role,
    /// At which terminals; every one where this is empty.
    #[serde(default)]
    pub terminals: Terminals,
}

impl Config {
    /// Whether there is a way in for anybody who is not on this machine.
    pub fn is_configured(&self) -> bool {
        self.tokens.is_some() || !self.certificates.is_empty()
    }

    /// What is wrong, each with its key.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        if self.tokens.as_ref().is_some_and(|path| path.file_name().is_none()) {
            faults.push(("tokens".to_owned(), "must name a file".to_owned()));
        }
        for (at, certificate) in self.certificates.iter().enumerate() {
            let mut add = |key: &str, reason: String| faults.push((format!("certificates[{at}].{key}"), reason));
            if certificate.subject.is_empty() {
                add("subject", "must not be empty".to_owned());
            }
            if self.certificates.iter().take(at).any(|before| before.subject == certificate.subject) {
                add("subject", format!("`{}` is there already", certificate.subject));
            }
            if let Some(fault) = certificate.terminals.fault() {
                add("terminals", fault);
            }
        }
        faults
    }
}
