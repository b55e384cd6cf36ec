//! Who somebody is, once that has been shown.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::role::{Permission, Role};

/// Names of terminals: `*` stands for any characters, `?` for one. No pattern at all means every terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Terminals(Vec<String>);

/// Longest pattern.
const MAX_PATTERN: usize = 64;
/// Most patterns of one token or certificate.
const MAX_PATTERNS: usize = 64;

impl Terminals {
    /// The terminals that one of these patterns fits.
    pub fn new(patterns: Vec<String>) -> Terminals {
        Terminals(patterns)
    }

    /// Whether this terminal is one of them.
    pub fn contain(&self, terminal: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| fits(pattern.as_bytes(), terminal.as_bytes()))
    }

    /// Whether every terminal is meant.
    pub fn are_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns.
    pub fn patterns(&self) -> &[String] {
        &self.0
    }

    /// What is wrong with the patterns.
    pub(super) fn fault(&self) -> Option<String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*?".contains(&byte);
        let good = |text: &str| (1..=MAX_PATTERN).contains(&text.len()) && text.bytes().all(allowed);
        if self.0.len() > MAX_PATTERNS {
            return Some(format!("at most {MAX_PATTERNS} patterns of terminals are taken"));
        }
        let bad = self.0.iter().find(|pattern| !good(pattern))?;
        Some(format!("`{bad}` must be 1 to {MAX_PATTERN} letters, digits, `-`, `_`, `.`, `*` or `?`"))
    }
}

/// Whether a pattern fits the whole text, in time that grows with the product of their lengths at worst: where a part after
/// a star does not fit, only the last star is tried again.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// How somebody has shown who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// By a token.
    Token,
    /// By a client certificate.
    Certificate,
    /// By being on this machine, where the configuration says that this is enough.
    Loopback,
}

/// Who somebody is: in a request's extensions, and beside every command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The token's id, the certificate's subject, or `loopback`: what stands in audit events.
    pub id: Arc<str>,
    /// The name that whoever made the token gave it.
    pub name: Arc<str>,
    /// The role.
    pub role: Role,
    /// The terminals that it is about.
    pub terminals: Terminals,
    /// How this was shown.
    pub means: Means,
}

impl Identity {
    /// Whether they may do this at all; what is about a terminal asks [`Identity::may_at`].
    pub fn may(&self, permission: Permission) -> bool {
        self.role.may(permission)
    }

    /// Whether they may do this at this terminal.
    pub fn may_at(&self, permission: Permission, terminal: &str) -> bool {
        self.may(permission) && self.terminals.contain(terminal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, fit) in [
            ("atm-01", "atm-01", true),
            ("atm-01", "atm-011", false),
            ("atm-*", "atm-", true),
            ("atm-*", "xatm-1", false),
            ("*-lobby", "atm-01-lobby", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("atm-0?", "atm-07", true),
            ("atm-0?", "atm-0", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
        // Stars that never fit cost no more than the product.
        assert!(!fits("*a".repeat(32).as_bytes(), "b".repeat(64).as_bytes()));
    }

    #[test]
    fn a_token_for_some_terminals_is_nobody_elsewhere() {
        let operator = Identity {
            id: "x".into(),
            name: "x".into(),
            role: Role::Operator,
            terminals: Terminals::new(vec!["atm-01".to_owned(), "kiosk-*".to_owned()]),
            means: Means::Token,
        };
        assert!(operator.may_at(Permission::RestartTerminal, "kiosk-7"));
        assert!(!operator.may_at(Permission::RestartTerminal, "atm-02"));
        assert!(!operator.may_at(Permission::MoveMoney, "atm-01"));
        assert!(Terminals::default().contain("anything"));
    }
}
