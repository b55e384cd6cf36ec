//! Who may do what: tokens, client certificates, roles, limits. For HTTP, and for commands whatever way they come by.
//!
//! A leaf of the module tree: nothing of the gateway is imported here, and no event is written; who asks does that.
//!
//! # The rules
//! - **Nothing configured** (the default): health for everybody, figures on loopback, and nothing else for anybody.
//!   HTTP listens on loopback alone; another address is a fault of the configuration.
//! - **`auth.tokens`**: whoever presents a good token is who the file says. On loopback, too: other users and containers live
//!   there, and a proxy in front makes the whole world look local.
//! - **`auth.loopback = "open"`**: a program on this machine needs nothing and may do everything, for a laptop or the demo. A
//!   request that a proxy has passed on, or that a web page of another origin has made (its `Host` is no loopback name), is not
//!   taken for local. A token or certificate that is shown counts all the same, and a bad one is refused. What passes bytes on
//!   (stunnel, `ssh -L`) looks like this machine, so it is a fault beside `http.plaintext` and at another address than loopback.
//! - **`auth.certificates`**: a client certificate that one of `http.tls.client_ca` has issued is worth the role of
//!   its subject. A token beside it goes first.
//! - **Another address than loopback** needs tokens or certificates, and TLS, or the word that something in front does
//!   it (`http.plaintext = true`). There is no setting that opens such an address to everybody.
//! - **`/livez`, `/readyz`** are for everybody: a supervisor holds no secrets, and they say nothing but yes or no. **`/metrics`** names
//!   terminals and says which are down: for everybody only where HTTP listens on loopback, or `auth.public_metrics` says so.
//!
//! The tokens' file is read again within a second of a change. Where it cannot be used, the tokens before stay in force and
//! the reason is said; where it is removed, all tokens are.

mod config;
mod failures;
mod file;
mod identity;
mod limit;
mod role;
mod store;
mod token;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;

pub use self::config::{Certificate, Config, Loopback};
pub use self::failures::Failures;
pub use self::file::{FileFault, read, update};
pub use self::identity::{Identity, Means, Terminals};
pub use self::limit::{Limiter, Rate, Source};
pub use self::role::{Permission, Role};
pub use self::store::{Change, Record, Tokens};
pub use self::token::{Digest, Minted};

use self::store::Unfit;
use self::token::Presented;
use crate::watch::{Look, look};

/// What somebody shows of themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// A token.
    pub token: Option<&'a str>,
    /// The subject of a client certificate that has been verified.
    pub subject: Option<&'a str>,
    /// They are on this machine.
    pub local: bool,
}

/// Why somebody is nobody here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// They have shown nothing.
    Missing,
    /// The token is none of ours, or was revoked.
    Invalid,
    /// The token was good once: its id, which its secret has shown to be theirs.
    Expired(String),
    /// The certificate is good, and nobody has said what it is worth: its subject.
    Unmapped(String),
}

/// Decides who somebody is. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    config: Config,
    tokens: RwLock<Arc<Tokens>>,
    seen: Mutex<Seen>,
}

/// What the file was like when it was read last, and what was wrong with it then.
#[derive(Default)]
struct Seen {
    look: Option<Look>,
    fault: Option<String>,
}

/// What reading the file again has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What has changed.
    pub changes: Vec<Change>,
    /// What is wrong with the file, where that is new: the tokens before stay in force.
    pub fault: Option<String>,
}

impl Auth {
    /// Reads the tokens.
    ///
    /// # Errors
    /// Where there is a file that cannot be used.
    pub fn open(config: Config) -> Result<Auth, FileFault> {
        let (mut seen, mut tokens) = (Seen::default(), Tokens::default());
        if let Some(path) = &config.tokens {
            // Looked at first: a change during the reading is seen as one at the next look.
            seen.look = look(path);
            tokens = read(path)?;
        }
        Ok(Auth(Arc::new(Inner { config, tokens: RwLock::new(Arc::new(tokens)), seen: Mutex::new(seen) })))
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The tokens that are in force.
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.0.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the file cannot be used, and older tokens are in force.
    pub fn is_at_fault(&self) -> bool {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).fault.is_some()
    }

    /// Who they are.
    ///
    /// # Errors
    /// Where that is nobody: why.
    pub fn identify(&self, shown: Credentials<'_>, now: Timestamp) -> Result<Identity, Refusal> {
        if let Some(token) = shown.token {
            let presented = Presented::parse(token).ok_or(Refusal::Invalid)?;
            return self.tokens().identify(presented, now).map_err(|unfit| match unfit {
                Unfit::Unknown => Refusal::Invalid,
                Unfit::Expired(record) => Refusal::Expired(record.id.clone()),
            });
        }
        let role = |subject: &str| self.0.config.certificates.iter().find(|known| known.subject == subject);
        if let Some(known) = shown.subject.and_then(role) {
            return Ok(Identity {
                id: known.subject.as_str().into(),
                name: known.subject.as_str().into(),
                role: known.role,
                terminals: known.terminals.clone(),
                means: Means::Certificate,
            });
        }
        if shown.local && self.0.config.loopback == Loopback::Open {
            return Ok(Identity {
                id: "loopback".into(),
                name: "this machine".into(),
                role: Role::Admin,
                terminals: Terminals::default(),
                means: Means::Loopback,
            });
        }
        Err(shown.subject.map_or(Refusal::Missing, |subject| Refusal::Unmapped(subject.to_owned())))
    }

    /// Reads the file again where it has changed. Blocks for the time of a small read.
    pub fn reload(&self) -> Reloaded {
        let Some(path) = &self.0.config.tokens else {
            return Reloaded::default();
        };
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let look = look(path);
        if look == seen.look && seen.fault.is_none() {
            return Reloaded::default();
        }
        seen.look = look;
        match read(path) {
            Ok(tokens) => {
                seen.fault = None;
                let mut current = self.0.tokens.write().unwrap_or_else(PoisonError::into_inner);
                let changes = tokens.since(&current);
                *current = Arc::new(tokens);
                Reloaded { changes, fault: None }
            }
            Err(fault) => {
                let fault = fault.to_string();
                let new = seen.fault.as_ref() != Some(&fault);
                seen.fault = Some(fault.clone());
                Reloaded { changes: Vec::new(), fault: new.then_some(fault) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn add(path: &Path, role: Role) -> Minted {
        let minted = Minted::new().expect("randomness");
        let record = Record {
            id: minted.id.clone(),
            name: role.to_string(),
            role,
            terminals: Terminals::default(),
            hash: minted.hash,
            created: Timestamp::now(),
            expires: None,
        };
        update(path, |tokens| {
            tokens.add(record);
            Ok::<_, FileFault>(())
        })
        .expect("is written");
        minted
    }

    fn certificate(subject: &str) -> Certificate {
        Certificate { subject: subject.to_owned(), role: Role::Operator, terminals: Terminals::default() }
    }

    #[test]
    fn who_shows_what_is_who() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tokens.toml");
        let minted = add(&path, Role::Teller);
        let good = Some(minted.token.as_str());
        let subject = Some("CN=noc");
        for loopback in [Loopback::Token, Loopback::Open] {
            let config = Config {
                tokens: Some(path.clone()),
                loopback,
                public_metrics: None,
                certificates: vec![certificate("CN=noc")],
            };
            let auth = Auth::open(config).expect("opens");
            let ask = |token, subject, local| {
                let who = auth.identify(Credentials { token, subject, local }, Timestamp::now());
                who.map(|who| (who.role, who.means))
            };
            assert_eq!(ask(good, None, false), Ok((Role::Teller, Means::Token)));
            assert_eq!(ask(good, subject, true), Ok((Role::Teller, Means::Token)), "the token goes first");
            assert_eq!(ask(None, subject, false), Ok((Role::Operator, Means::Certificate)));
            assert_eq!(ask(Some("vst_x"), subject, true), Err(Refusal::Invalid), "a bad one is never overlooked");
            assert_eq!(ask(None, None, false), Err(Refusal::Missing));
            let open = loopback == Loopback::Open;
            assert_eq!(
                ask(None, None, true),
                if open { Ok((Role::Admin, Means::Loopback)) } else { Err(Refusal::Missing) }
            );
            assert_eq!(ask(None, Some("CN=x"), false), Err(Refusal::Unmapped("CN=x".to_owned())));
        }
    }

    #[test]
    fn a_change_counts_at_once_and_a_bad_file_changes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tokens.toml");
        let auth = Auth::open(Config { tokens: Some(path.clone()), ..Config::default() }).expect("no file is no fault");
        assert_eq!(auth.reload(), Reloaded::default());
        let minted = add(&path, Role::Viewer);
        let shown = Credentials { token: Some(&minted.token), ..Credentials::default() };
        assert_eq!(auth.identify(shown, Timestamp::now()), Err(Refusal::Invalid));
        assert!(matches!(auth.reload().changes.as_slice(), [Change::Added(record)] if record.id == minted.id));
        assert!(auth.identify(shown, Timestamp::now()).is_ok());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("is set");
        assert!(auth.reload().fault.is_some_and(|fault| fault.contains("chmod 600")));
        assert_eq!(auth.reload(), Reloaded::default(), "the same fault is said once");
        assert!(auth.identify(shown, Timestamp::now()).is_ok(), "the tokens before stay in force");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("is set");
        assert_eq!(auth.reload(), Reloaded::default());

        fs::remove_file(&path).expect("is removed");
        assert!(matches!(auth.reload().changes.as_slice(), [Change::Revoked(_)]));
        assert_eq!(auth.identify(shown, Timestamp::now()), Err(Refusal::Invalid));
    }
}
