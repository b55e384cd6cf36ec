//! Taking commands: who may, whether it is one, and whether it is known already.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::Config;
use crate::clock;
use crate::command::{
    Ask, Asker, Code, Command, Deadline, Desk, Happening, Refusal, Request, State, Verb, Way, Ways, is_id,
};
use crate::event::{Event, Kind};
use crate::log::{CommandChange, Log, LogError, Submission};
use crate::metrics::Metrics;

/// Pause between two events about people who may not: knocking fills no log.
const FORBIDDEN_NOTES: Duration = Duration::from_secs(10);
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
    noted: Mutex<Option<Instant>>,
}

impl Counter {
    pub(super) fn new(
        log: Log,
        config: Arc<Config>,
        ways: Arc<dyn Ways>,
        switched: BTreeSet<String>,
        metrics: Arc<Metrics>,
    ) -> Counter {
        Counter { log, config, ways, switched, metrics, noted: Mutex::default() }
    }

    /// Takes a command, as [`Desk::ask`] does; and says whether it had been taken before.
    ///
    /// # Errors
    /// Where it becomes no command.
    pub(super) async fn take(&self, request: Request) -> Result<(Command, bool), Refusal> {
        let ask = Ask::read(&request.verb, &request.arguments).map_err(|why| Refusal::new(Code::BadRequest, why))?;
        self.permit(&request)?;
        if !self.ways.knows(&request.terminal) {
            return Err(Refusal::new(Code::UnknownTerminal, "the terminal is not configured"));
        }
        let (now, synced) = clock::now();
        let command = self.command(request, now, synced)?;
        if let Some(known) = self.known(&command)? {
            return Ok((known, true));
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

    /// Whether whoever asks may do so there. Asked before anything of the terminal is told.
    fn permit(&self, request: &Request) -> Result<(), Refusal> {
        let identity = match &request.asker {
            Asker::Broker => return Ok(()),
            Asker::Known(identity) => identity,
            Asker::Nobody => {
                self.note_refused(request, Code::Unauthorised, "nobody that is known here asked for it");
                return Err(Refusal::new(Code::Unauthorised, "this needs a token of this gateway that is in force"));
            }
        };
        let verb: Result<Verb, _> = request.verb.parse();
        if verb.is_ok_and(|verb| identity.may_at(verb.permission(), &request.terminal)) {
            return Ok(());
        }
        let detail = format!("{} ({}) may not {} there", identity.id, identity.role, request.verb);
        self.note_refused(request, Code::Forbidden, &detail);
        Err(Refusal::new(Code::Forbidden, format!("a {} may not do this there", identity.role)))
    }

    fn note_refused(&self, request: &Request, code: Code, detail: &str) {
        self.metrics.commands.with_label_values(&[request.source.name(), code.name()]).inc();
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_some_and(|at| at.elapsed() < FORBIDDEN_NOTES) {
            return;
        }
        *noted = Some(Instant::now());
        // Events of terminals that are not there would make terminals.
        let terminal = if self.ways.knows(&request.terminal) { request.terminal.as_str() } else { "gateway" };
        let (now, time_synced) = clock::now();
        let event = Event::new(Kind::CommandRefused)
            .detail(detail)
            .attribute("verb", request.verb.as_str())
            .attribute("source", request.source.name())
            .attribute("by", request.asker.name())
            .attribute("code", code.name());
        let event = Event { terminal: terminal.to_owned(), received_at: Some(now), time_synced, ..event };
        // Nobody waits for it.
        let _ = self.log.enqueue(Submission { events: vec![event.into()], ..Submission::default() });
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

impl Desk for Arc<Counter> {
    fn ask(&self, request: Request) -> BoxFuture<'static, Result<Command, Refusal>> {
        let counter = Arc::clone(self);
        async move { Ok(counter.take(request).await?.0) }.boxed()
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
