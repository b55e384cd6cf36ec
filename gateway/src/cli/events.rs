//! `vestibule events`: what happened, and what happens: from a running gateway, or from its store.

mod http;
mod store;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::door::Key;
use super::exit::Exit;
use super::line;
use super::outbox::Out;
use super::way::OptionalFolder;
use super::which::Which;
use crate::log::Stored;

/// Show events: the newest, or all since a time, and go on as they come.
#[derive(Debug, Args)]
pub(super) struct Events {
    #[command(flatten)]
    which: Which,
    /// Most of them: the newest, or with --since or --after the first.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Those behind this place in the log.
    #[arg(long, value_name = "PLACE")]
    after: Option<u64>,
    /// Go on as they come, until there is nobody to read.
    #[arg(long, short)]
    follow: bool,
    /// Print one JSON object a line, as it stands in the log.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folder: OptionalFolder,
    #[command(flatten)]
    key: Key,
}

/// Newest events that are shown where nothing else is asked for.
const USUAL: u64 = 100;

/// An event is committed, and comes here, so long after its time at most.
const LATE: SignedDuration = SignedDuration::from_secs(2);

/// What is asked, however it is answered.
struct Asked {
    which: Which,
    /// Where to begin; without it, so many of the newest.
    after: Option<u64>,
    limit: Option<u64>,
    follow: bool,
}

/// Where events are shown, as they come.
struct Screen {
    out: Out,
    json: bool,
    left: Option<u64>,
    until: Option<Timestamp>,
}

impl Screen {
    /// Shows one; false where nothing more is wanted.
    fn show(&mut self, stored: &Stored) -> Result<bool, Exit> {
        let taken = match self.json {
            true => self.out.line(&stored.json)?,
            false => self.out.line(&line::event(stored, "%Y-%m-%dT%H:%M:%SZ"))?,
        };
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        Ok(taken && self.left != Some(0))
    }

    /// Whether nothing is to come any more: the time that was asked for is over, or nobody reads, though nothing was written that
    /// would have told.
    fn gone(&self) -> bool {
        if self.until.and_then(|until| until.checked_add(LATE).ok()).is_some_and(|until| until < Timestamp::now()) {
            return true;
        }
        use std::os::fd::AsFd;

        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let stdout = std::io::stdout();
        let mut asked = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let told = poll(&mut asked, PollTimeout::ZERO);
        let broken = PollFlags::POLLERR | PollFlags::POLLNVAL;
        told.is_ok() && asked.iter().any(|pipe| pipe.revents().is_some_and(|events| events.intersects(broken)))
    }
}

impl Events {
    /// Shows them.
    pub(super) fn execute(self) -> Result<(), Exit> {
        // With a beginning the first are shown, and with an end or without one all that come.
        let begins = self.after.is_some() || self.which.since.is_some();
        let after = if begins { Some(self.after.unwrap_or(0)) } else { None };
        // Of what ends before now, nothing is still to come.
        let until = self.which.until.map(|moment| moment.0);
        let follow = self.follow && until.is_none_or(|until| until > Timestamp::now());
        let limit = if begins || follow { self.limit } else { Some(self.limit.unwrap_or(USUAL)) };
        let left = if begins || !follow { limit } else { None };
        let mut screen = Screen { out: Out::to(None)?, json: self.json, left, until };
        if left == Some(0) {
            return Ok(());
        }
        let config = self.folder.config()?;
        let asked = Asked { which: self.which, after, limit, follow };
        match self.folder.dir(config.as_ref()) {
            // Who names an address wants to ask there, and the configuration only says how.
            Some(dir) if self.key.http.is_none() => store::show(&dir, &asked, &mut screen)?,
            _ => http::show(&self.key.door(config.as_ref())?, &asked, &mut screen)?,
        }
        screen.out.finish()
    }
}
