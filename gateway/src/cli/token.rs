//! `vestibule token`: who may come in. It works on the tokens' file; a running gateway follows within a second.

mod expiry;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use self::expiry::Expiry;
use super::exit::Exit;
use crate::auth::{self, FileFault, Minted, Record, Role, Terminals, Tokens};
use crate::clock;
use crate::config::Config;

/// Make, list, revoke and renew the tokens that HTTP and commands ask for.
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and print it, this once.
    Add(Add),
    /// List the tokens; their secrets are kept nowhere.
    Ls(Ls),
    /// Take a token away for good.
    Revoke(One),
    /// Give a token a new secret and print it, this once; the old one ends.
    Rotate(Rotate),
}

#[derive(Debug, Args)]
struct Where {
    /// The gateway's configuration, which says where the tokens are (`auth.tokens`).
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Add {
    #[command(flatten)]
    place: Where,
    /// Who or what it is for.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// viewer, teller, operator or admin.
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// Terminals that it is for, by name; `*` and `?` stand for others. Without it, every terminal.
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    terminals: Vec<String>,
    /// When it ends: after a time (`90d`, `12h`, `1y`), with a day (`2027-03-31`, in UTC), or at an instant. Without it, never.
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
}

#[derive(Debug, Args)]
struct Ls {
    #[command(flatten)]
    place: Where,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct One {
    #[command(flatten)]
    place: Where,
    /// The token's id: what stands between `vst_` and the next `_`.
    id: String,
}

#[derive(Debug, Args)]
struct Rotate {
    #[command(flatten)]
    one: One,
    /// When the new one ends, as for `add`; without it, as before.
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
}

impl Where {
    fn file(&self) -> Result<PathBuf, Exit> {
        let tokens = Config::load(&self.config)?.auth.tokens;
        let none = || Exit::config(format!("{}: `auth.tokens` names no file for the tokens", self.config.display()));
        tokens.ok_or_else(none)
    }
}

impl Token {
    /// Does it.
    pub(super) fn execute(self) -> Result<(), Exit> {
        // A token that ends is worth nothing where its beginning is told by a clock that is wrong.
        let (now, synced) = clock::now();
        if synced == Some(false) {
            super::complain("this machine's clock is not set: the times of tokens will be wrong until it is");
        }
        match self.verb {
            Verb::Add(add) => add.execute(now),
            Verb::Ls(ls) => ls.execute(now),
            Verb::Revoke(one) => one.revoke(),
            Verb::Rotate(rotate) => rotate.execute(now),
        }
    }
}

impl Add {
    fn execute(self, now: Timestamp) -> Result<(), Exit> {
        let expires = self.expires.map(|expiry| expiry.after(now)).transpose().map_err(Exit::usage)?;
        let token = auth::update(&self.place.file()?, |tokens| {
            let minted = unused(tokens)?;
            tokens.add(Record {
                id: minted.id,
                name: self.name,
                role: self.role,
                terminals: Terminals::new(self.terminals),
                hash: minted.hash,
                created: now,
                expires,
            });
            Ok::<_, Exit>(minted.token)
        })?;
        say(&format!("{}\n", token.as_str()))
    }
}

/// A token whose id no other has.
fn unused(tokens: &Tokens) -> Result<Minted, Exit> {
    loop {
        let minted = Minted::new().map_err(no_randomness)?;
        if tokens.find(&minted.id).is_none() {
            return Ok(minted);
        }
    }
}

impl Ls {
    fn execute(self, now: Timestamp) -> Result<(), Exit> {
        let tokens = auth::read(&self.place.file()?)?;
        let mut text = String::new();
        for Record { id, name, role, terminals, created, expires, hash: _ } in tokens.all() {
            let expired = expires.is_some_and(|expires| expires <= now);
            if self.json {
                let shown = json!({
                    "id": id, "name": name, "role": role, "terminals": terminals, "created": created,
                    "expires": expires, "expired": expired,
                });
                text.push_str(&format!("{shown}\n"));
            } else {
                let whole = |time: &Timestamp| time.strftime("%Y-%m-%d %H:%M").to_string();
                let ends = match expires {
                    None => "never ends".to_owned(),
                    Some(at) if expired => format!("ended {}", whole(at)),
                    Some(at) => format!("ends {}", whole(at)),
                };
                let at = if terminals.are_all() { "*".to_owned() } else { terminals.patterns().join(" ") };
                text.push_str(&format!("{id}  {role:<8}  made {}  {ends:<22}  {at}  {name}\n", whole(created)));
            }
        }
        say(&text)
    }
}

impl One {
    fn revoke(self) -> Result<(), Exit> {
        let name = auth::update(&self.place.file()?, |tokens| {
            tokens.remove(&self.id).map(|record| record.name).ok_or_else(|| self.unknown())
        })?;
        say(&format!("the token `{name}` ({}) is revoked\n", self.id))
    }

    fn unknown(&self) -> Exit {
        Exit::usage(format!("there is no token `{}`; `vestibule token ls` shows them", self.id))
    }
}

impl Rotate {
    fn execute(self, now: Timestamp) -> Result<(), Exit> {
        let Rotate { one, expires } = self;
        let expires = expires.map(|expiry| expiry.after(now)).transpose().map_err(Exit::usage)?;
        let token = auth::update(&one.place.file()?, |tokens| {
            let record = tokens.find_mut(&one.id).ok_or_else(|| one.unknown())?;
            if expires.is_none() && record.is_expired(now) {
                return Err(Exit::usage(format!("the token `{}` has expired: say with --expires until when", one.id)));
            }
            let minted = Minted::with_id(&one.id).map_err(no_randomness)?;
            record.hash = minted.hash;
            record.created = now;
            record.expires = expires.or(record.expires);
            Ok::<_, Exit>(minted.token)
        })?;
        say(&format!("{}\n", token.as_str()))
    }
}

fn no_randomness(error: getrandom::Error) -> Exit {
    Exit::io(format!("the system has no randomness to give: {error}"))
}

fn say(text: &str) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Exit::io(error.to_string()))
}

impl From<FileFault> for Exit {
    fn from(fault: FileFault) -> Exit {
        match fault {
            FileFault::Io { .. } => Exit::io(fault.to_string()),
            FileFault::Exposed { .. } | FileFault::Text { .. } => Exit::config(fault.to_string()),
        }
    }
}
