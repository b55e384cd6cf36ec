//! Roles, and what each of them may do: the one table.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What somebody is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks, and changes nothing.
    Viewer,
    /// Works with accounts and customers, and may not touch a terminal.
    Teller,
    /// Looks after terminals, and sees no account.
    Operator,
    /// Everything, and who may do what.
    Admin,
}

/// Something that somebody may or may not do. A route or a command's verb asks for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// See terminals, events, alerts and figures.
    ReadState,
    /// See accounts, customers and balances.
    ReadAccounts,
    /// Deposit, withdraw, transfer, open and close accounts.
    MoveMoney,
    /// Ask a terminal for its counters or its configuration.
    QueryTerminal,
    /// Put a terminal in or out of service, set its clock.
    ControlTerminal,
    /// Reset or restart a terminal.
    RestartTerminal,
    /// See who may do what, and change how the gateway works.
    Administer,
}

use Permission::{Administer, ControlTerminal, MoveMoney, QueryTerminal, ReadAccounts, ReadState, RestartTerminal};

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Teller, Role::Operator, Role::Admin];

    /// All that the role may do. Money and machines are apart: who can empty a terminal's books cannot open it, and the
    /// other way round.
    pub fn permissions(self) -> &'static [Permission] {
        match self {
            Role::Viewer => &[ReadState],
            Role::Teller => &[ReadState, ReadAccounts, MoveMoney],
            Role::Operator => &[ReadState, QueryTerminal, ControlTerminal, RestartTerminal],
            Role::Admin => {
                &[ReadState, ReadAccounts, MoveMoney, QueryTerminal, ControlTerminal, RestartTerminal, Administer]
            }
        }
    }

    /// Whether the role may do this.
    pub fn may(self, permission: Permission) -> bool {
        self.permissions().contains(&permission)
    }

    /// The name in files and answers.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Teller => "teller",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Role::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("unknown role `{text}`: expected viewer, teller, operator or admin"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_machines_are_apart() {
        let machines = [QueryTerminal, ControlTerminal, RestartTerminal];
        let money = [ReadAccounts, MoveMoney];
        assert!(machines.iter().all(|machine| !Role::Teller.may(*machine)));
        assert!(money.iter().all(|money| !Role::Operator.may(*money)));
        assert!(Role::ALL.into_iter().all(|role| role.may(ReadState)));
        let trusted: Vec<_> = Role::ALL.into_iter().filter(|role| role.may(Administer)).collect();
        assert_eq!(trusted, [Role::Admin]);
        assert!(Role::ALL.into_iter().flat_map(Role::permissions).all(|permission| Role::Admin.may(*permission)));
    }
}
