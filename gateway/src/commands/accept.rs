//! Taking commands: who may, whether it is one, and whether it is known already.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::Config;
use super::refusals::Refusals;
use crate::clock;
use crate::command::{
    Ask, Asker, Attempt, Code, Command, Deadline, Desk, Happening, Refusal, Request, State, Verb, Way, Ways, is_id,
};
use crate::log::{CommandChange, Log, LogError, Submission};
use crate::metrics::Metrics;

/// Bytes of an id that is made: 128 bits.
const ID_BYTES: usize = 16;

/// Where commands are asked for.
pub struct Counter {
    log: Log,
    config: Arc<Config>,
    ways: Arc<dyn Ways>,
    /// Terminals whose power can be switched.
    switched: BTreeSet<String>,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It is made now.
    Fresh,
    /// The broker kept it for whoever comes: it may be years old.
    Retained,
}

impl Counter {
    pub(super) fn new(
        log: Log,
        config: Arc<Config>,
        ways: Arc<dyn Ways>,
        switched: BTreeSet<String>,
        metrics: Arc<Metrics>,
    ) -> Counter {
        let refusals = Arc::new(Refusals::new(log.clone(), Arc::clone(&ways), Arc::clone(&metrics)));
        Counter { log, config, ways, switched, metrics, refusals }
    }

    /// What writes down what became no command.
    pub(super) fn refusals(&self) -> &Arc<Refusals> {
        &self.refusals
    }

    /// Whether there is such a terminal.
    pub(super) fn knows(&self, terminal: &str) -> bool {
        self.ways.knows(terminal)
    }

    /// Takes a command, as [`Desk::ask`] does; and says whether it had been taken before. One that the broker had kept
    /// is taken only where it had been.
    ///
    /// # Errors
    /// Where it becomes no command. That is written down.
    pub(super) async fn take(&self, request: Request, freshness: Freshness) -> Result<(Command, bool), Refusal> {
        let attempt = Attempt::from(&request);
        let taken = self.try_take(request, freshness).await;
        if let Err(refusal) = &taken {
            self.refusals.note(&attempt, refusal);
        }
        taken
    }

    async fn try_take(&self, request: Request, freshness: Freshness) -> Result<(Command, bool), Refusal> {
        let ask = Ask::read(&request.verb, &request.arguments).map_err(|why| Refusal::new(Code::BadRequest, why))?;
        permit(&request)?;
        if !self.ways.knows(&request.terminal) {
            return Err(Refusal::new(Code::UnknownTerminal, "the terminal is not configured"));
        }
        let (now, synced) = clock::now();
        let command = self.command(request, now, synced)?;
        if let Some(known) = self.known(&command)? {
            return Ok((known, true));
        }
        if freshness == Freshness::Retained {
            return Err(Refusal::new(Code::BadRequest, "a retained message is no command"));
        }
        let steps = self.steps(command, ask, now)?;
        let end = steps.last().cloned().ok_or_else(unavailable)?;
        let mut submission = Submission::default();
        for step in &steps {
            submission.events.push(step.event(synced).into());
            self.metrics.commands.with_label_values(&[step.source.name(), step.state.name()]).inc();
        }
        submission.commands.push(CommandChange::New(end.clone()));
        match self.log.submit(submission).await {
            Ok(_) => Ok((end, false)),
            // Somebody else was faster with the same id.
            Err(LogError::Refused(_)) => Ok((self.known(&end)?.ok_or_else(unavailable)?, true)),
            Err(error @ LogError::NoRoom(_)) => Err(Refusal::new(Code::DiskFull, error.to_string())),
            Err(_) => Err(unavailable()),
        }
    }

    fn command(&self, request: Request, now: Timestamp, synced: Option<bool>) -> Result<Command, Refusal> {
        let bad = |why: String| Refusal::new(Code::BadRequest, why);
        let id = match request.id {
            Some(id) if is_id(&id) => id,
            Some(_) => return Err(bad("an id has 1 to 128 letters, digits, `-`, `_`, `.` or `:`".to_owned())),
            None => made_id()?,
        };
        let most = self.config.max_ttl_s;
        let too_long = || bad(format!("a command waits for {most} s at most"));
        let after = |seconds: u64| now.checked_add(Duration::from_secs(seconds)).map_err(|_| too_long());
        let expires_at = match request.deadline {
            Deadline::Usual => after(self.config.ttl_s)?,
            Deadline::Seconds(seconds) if seconds <= most => after(seconds)?,
            // An instant means nothing to a clock that is wrong; so many seconds do.
            Deadline::At(_) if synced == Some(false) => {
                let why = "the gateway's own clock is not set: say `ttl_s` instead of `expires_at`";
                return Err(Refusal::new(Code::ClockNotSynced, why));
            }
            Deadline::At(at) if at <= after(most)? => at,
            Deadline::Seconds(_) | Deadline::At(_) => return Err(too_long()),
        };
        Ok(Command {
            id,
            source: request.source,
            terminal: request.terminal,
            verb: request.verb,
            arguments: request.arguments,
            by: request.asker.name().to_owned(),
            asked_at: now,
            expires_at,
            state: State::Requested,
            changed_at: now,
            code: None,
            detail: None,
            result: None,
        })
    }

    /// The command that was asked for before under the same id.
    fn known(&self, command: &Command) -> Result<Option<Command>, Refusal> {
        let known = self.log.command(command.source, &command.id).map_err(|_| unavailable())?;
        match known {
            Some(known) if known.asks_the_same(command) => Ok(Some(known)),
            Some(_) => Err(Refusal::new(Code::Conflict, "the id stands for another command already")),
            None => Ok(None),
        }
    }

    /// What happens to a new command at once: it is taken, and may end there and then.
    fn steps(&self, command: Command, ask: Ask, now: Timestamp) -> Result<Vec<Command>, Refusal> {
        let waiting = self.log.open_commands().map_err(|_| unavailable())?;
        // A restart by a switch waits for no line, and none waits for it.
        let same =
            |other: &Command| other.terminal == command.terminal && self.by_switch(other) == self.by_switch(&command);
        let waiting = waiting.iter().filter(|kept| same(&kept.command)).count();
        if waiting >= self.config.max_waiting {
            return Err(Refusal::new(Code::Busy, format!("{waiting} commands wait for this terminal already")));
        }
        let end = if command.expires_at <= now {
            command.after(Happening::OutOfTime, now).map(|end| end.because(Code::Expired.name(), "its time was over"))
        } else {
            self.never(&command, ask).and_then(|refusal| {
                let end = command.after(Happening::Refused, now)?;
                Some(end.because(refusal.code.name(), refusal.detail))
            })
        };
        Ok(std::iter::once(command).chain(end).collect())
    }

    /// Whether a switch carries it out, and no line.
    fn by_switch(&self, command: &Command) -> bool {
        command.verb == Verb::Restart.name() && self.switched.contains(&command.terminal)
    }

    /// Why nothing can ever carry it out.
    fn never(&self, command: &Command, ask: Ask) -> Option<Refusal> {
        if ask == Ask::Restart && self.switched.contains(&command.terminal) {
            return None;
        }
        match self.ways.way(&command.terminal, ask, 0) {
            Way::Never(refusal) => Some(refusal),
            Way::Later | Way::Now(_) => None,
        }
    }
}

/// Whether whoever asks may do so there. Asked before anything of the terminal is told.
fn permit(request: &Request) -> Result<(), Refusal> {
    let unauthorised = |why: &str| Err(Refusal::new(Code::Unauthorised, why));
    let identity = match &request.asker {
        Asker::Broker => return Ok(()),
        Asker::Known(identity) => identity,
        Asker::Nobody => return unauthorised("this needs a token of this gateway"),
        Asker::Stranger => return unauthorised("the token is not one of this gateway, or was revoked"),
        Asker::Former(_) => return unauthorised("the token has expired"),
    };
    let verb: Result<Verb, _> = request.verb.parse();
    if verb.is_ok_and(|verb| identity.may_at(verb.permission(), &request.terminal)) {
        return Ok(());
    }
    Err(Refusal::new(Code::Forbidden, format!("a {} may not do this there", identity.role)))
}

impl Desk for Arc<Counter> {
    fn refused(&self, attempt: &Attempt, refusal: &Refusal) {
        self.refusals.note(attempt, refusal);
    }

    fn ask(&self, request: Request) -> BoxFuture<'static, Result<Command, Refusal>> {
        let counter = Arc::clone(self);
        async move { Ok(counter.take(request, Freshness::Fresh).await?.0) }.boxed()
    }
}

fn made_id() -> Result<String, Refusal> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| unavailable())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unavailable() -> Refusal {
    Refusal::new(Code::Unavailable, "the command cannot be kept now")
}
