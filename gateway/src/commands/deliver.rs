//! Delivery: each terminal's commands, one at a time, at most once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::switch::{Beginning, Switches};
use super::{Config, config};
use crate::clock;
use crate::command::{Ask, Code, Command, Happening, Refusal, State, Told, Verb, Way, Ways};
use crate::log::{CommandChange, KeptCommand, Log, LogError, Submission};
use crate::metrics::Metrics;

/// Longest wait for nothing: a clock that is set meanwhile tells how old a command is.
const LOOK: Duration = Duration::from_secs(30);
/// Longest that a command waits, whatever the clock says.
const MOST: SignedDuration = SignedDuration::from_secs(config::LONGEST);
/// Pause after a step that the log did not take.
const RETRY: Duration = Duration::from_secs(1);

/// How long a relay may take to hear that power comes back, when everything stops.
const LETTING_GO: Duration = Duration::from_secs(3);

/// What came back of a command, with the command.
type Back = (Command, Result<Told, Lost>);

/// Why the trace of a command is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The conversation ended before there was an answer.
    HungUp,
    /// There was none in time.
    NoAnswer,
    /// The process that sent it ended.
    Interrupted,
    /// Its terminal was restarted before there was an answer.
    PowerCut,
}

impl Lost {
    fn because(self, command: Command) -> Command {
        let (code, detail) = match self {
            Lost::HungUp => ("connection_lost", "the connection ended before there was an answer"),
            Lost::NoAnswer => ("no_answer", "there was no answer in time"),
            Lost::Interrupted => ("interrupted", "the gateway ended before there was an answer"),
            Lost::PowerCut => ("power_cut", "its terminal's power was switched off before there was an answer"),
        };
        command.because(code, detail)
    }
}

/// The one task that sends.
pub(super) struct Delivery {
    log: Log,
    ways: Arc<dyn Ways>,
    switches: Arc<Switches>,
    patience: Duration,
    most: usize,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    /// Until when each waits, from when it was first seen: moving the clock neither ends nor keeps any.
    deadlines: HashMap<u64, Instant>,
    /// What is out.
    out: JoinSet<Back>,
    /// What ends the wait for an answer of a terminal, when its power is switched off.
    cuts: HashMap<String, CancellationToken>,
}

impl Delivery {
    pub(super) fn new(
        log: Log,
        ways: Arc<dyn Ways>,
        switches: Arc<Switches>,
        config: &Config,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Delivery {
        let patience = Duration::from_secs(config.answer_timeout_s);
        Delivery {
            log,
            ways,
            switches,
            patience,
            most: config.max_waiting,
            metrics,
            stop,
            deadlines: HashMap::new(),
            out: JoinSet::new(),
            cuts: HashMap::new(),
        }
    }

    /// Delivers until it is stopped or the log takes nothing more.
    pub(super) async fn run(mut self) {
        let (mut rows, mut ways) = (self.log.command_changes(), self.ways.changes());
        let (mut switches, mut owed) = (self.switches.changes(), self.switches.owed());
        if self.forget_lost().await.is_err() {
            return;
        }
        loop {
            rows.mark_unchanged();
            ways.mark_unchanged();
            switches.mark_unchanged();
            owed.mark_unchanged();
            let wait = match self.step().await {
                Ok(wait) => wait,
                Err(LogError::Stopped) => return,
                Err(error) => {
                    tracing::error!(%error, "Commands cannot go on; trying again in a second.");
                    RETRY
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return self.let_go().await,
                () = tokio::time::sleep(wait) => {}
                () = changed(&mut rows) => {}
                () = changed(&mut ways) => {}
                () = changed(&mut switches) => {}
                () = changed(&mut owed) => {}
                Some(back) = self.out.join_next(), if !self.out.is_empty() => {
                    let Ok((command, told)) = back else {
                        tracing::error!("Sending a command ended in a panic.");
                        continue;
                    };
                    match self.end(command, told).await {
                        Ok(()) | Err(LogError::NoRoom(_)) => {}
                        Err(LogError::Stopped) => return,
                        Err(error) => tracing::error!(%error, "The end of a command is not kept."),
                    }
                }
            }
        }
    }

    /// What was sent before this process began has no trace any more.
    async fn forget_lost(&mut self) -> Result<(), LogError> {
        for KeptCommand { command, .. } in self.log.open_commands()? {
            if command.state == State::Sent {
                if self.is_cycle(&command) {
                    // A terminal must not stay without power because of us: until its relay has heard so, it is not over.
                    let released = self.switches.release(&command.terminal);
                    self.out.spawn(released.map(move |()| (command, Err(Lost::Interrupted))));
                } else {
                    self.end(command, Err(Lost::Interrupted)).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether the switch carries it out, and no line.
    fn by_switch(&self, command: &Command) -> bool {
        command.verb == Verb::Restart.name() && self.switches.has(&command.terminal)
    }

    fn is_cycle(&self, command: &Command) -> bool {
        command.state == State::Sent && self.by_switch(command)
    }

    /// Breaks off what is out; whose power is off gets it back.
    async fn let_go(mut self) {
        self.out.shutdown().await;
        let open = self.log.open_commands().unwrap_or_default();
        let cycles = open.iter().filter(|kept| self.is_cycle(&kept.command));
        let releases = cycles.map(|kept| self.switches.release(&kept.command.terminal));
        if tokio::time::timeout(LETTING_GO, join_all(releases)).await.is_err() {
            tracing::error!("A terminal may be without power until the next start: its relay does not answer.");
        }
    }

    /// Takes every terminal's commands as far as they go, and says when to look again.
    async fn step(&mut self) -> Result<Duration, LogError> {
        let open = self.log.open_commands()?;
        self.metrics.commands_open.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        let (now, synced) = clock::now();
        self.deadlines.retain(|number, _| open.iter().any(|kept| kept.number == *number));
        let mut wait = LOOK;
        let sent = open.iter().map(|kept| &kept.command).filter(|command| command.state == State::Sent);
        let (cycling, answering): (Vec<&Command>, Vec<&Command>) = sent.partition(|command| self.is_cycle(command));
        self.cuts.retain(|terminal, _| answering.iter().any(|command| command.terminal == *terminal));
        // Where the power is to come back and does not, somebody may bring it back by hand.
        let owed = self.switches.owed().borrow().clone();
        let cycled = cycling.iter().filter(|command| !owed.contains(&command.terminal));
        let mut cycling: BTreeSet<String> = cycling.iter().map(|command| command.terminal.clone()).collect();
        let mut taken: BTreeSet<String> =
            answering.iter().chain(cycled).map(|command| command.terminal.clone()).collect();
        let mut waiting: BTreeMap<(String, bool), usize> = BTreeMap::new();
        for KeptCommand { number, command } in open {
            if command.state != State::Requested {
                continue;
            }
            // Asked for in the future: the clock went back since, and nobody knows yet how old it is.
            if synced == Some(false) && command.asked_at > now && !self.deadlines.contains_key(&number) {
                continue;
            }
            let deadline = *self.deadlines.entry(number).or_insert_with(|| {
                let left = command.expires_at.duration_since(now).min(MOST);
                Instant::now() + Duration::try_from(left).unwrap_or_default()
            });
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let end = command.after(Happening::OutOfTime, now);
                let end = end.map(|end| end.because(Code::Expired.name(), "its terminal could not be told in time"));
                self.commit(&command, end).await?;
                continue;
            }
            wait = wait.min(left + Duration::from_millis(1));
            // A restart by the switch needs no line, and so waits for none that wait for it.
            let by_switch = self.by_switch(&command);
            let waits = waiting.entry((command.terminal.clone(), by_switch)).or_default();
            *waits += 1;
            if *waits > self.most {
                let refusal = Refusal::new(Code::Busy, "too many commands wait for this terminal already");
                self.refuse(command, refusal).await?;
                continue;
            }
            if if by_switch { cycling.contains(&command.terminal) } else { taken.contains(&command.terminal) } {
                continue;
            }
            let over = match by_switch {
                true => self.switch(command.clone(), deadline).await,
                false => self.send(number, command.clone()).await,
            };
            match over {
                Ok(false) => {}
                Ok(true) => {
                    if by_switch {
                        cycling.insert(command.terminal.clone());
                    }
                    taken.insert(command.terminal);
                }
                // The others' commands go on; this one is looked at again.
                Err(LogError::Refused(why)) => {
                    tracing::error!(id = command.id, why, "A command cannot go on; trying again in a second.");
                    taken.insert(command.terminal);
                    wait = wait.min(RETRY);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(wait)
    }

    /// Begins a restart by the switch, if that is in reach now. Those that came behind it wait for it in any case.
    async fn switch(&mut self, command: Command, until: Instant) -> Result<bool, LogError> {
        if let Err(why) = Ask::read(&command.verb, &command.arguments) {
            return self.refuse(command, Refusal::new(Code::Unsupported, why)).await.map(|()| false);
        }
        let cut = self.cuts.get(&command.terminal).cloned().unwrap_or_default();
        if let Some(cycle) = self.switches.cycle(&command.terminal, Beginning { until, cut }) {
            let sent = self.sent(&command).await?;
            self.out.spawn(async move { (sent, cycle.await.ok_or(Lost::NoAnswer)) });
        }
        Ok(true)
    }

    /// Sends one, if there is a way now; whether the terminal has to be waited for, because it is out or must go first.
    async fn send(&mut self, number: u64, command: Command) -> Result<bool, LogError> {
        let ask = match Ask::read(&command.verb, &command.arguments) {
            Ok(ask) => ask,
            Err(why) => return self.refuse(command, Refusal::new(Code::Unsupported, why)).await.map(|()| false),
        };
        let number = u32::try_from(number % 1_000_000).unwrap_or(0);
        match self.ways.way(&command.terminal, ask, number) {
            Way::Never(refusal) => self.refuse(command, refusal).await.map(|()| false),
            Way::Later => Ok(true),
            Way::Now(hand) => {
                // Committed before the first byte goes out: whatever happens from here on, it is not sent again.
                let sent = self.sent(&command).await?;
                let (patience, cut) = (self.patience, CancellationToken::new());
                self.cuts.insert(command.terminal, cut.clone());
                let answer = hand.over();
                self.out.spawn(async move {
                    let told = tokio::select! {
                        answer = tokio::time::timeout(patience, answer) => match answer {
                            Ok(Ok(told)) => Ok(told),
                            Ok(Err(_)) => Err(Lost::HungUp),
                            Err(_) => Err(Lost::NoAnswer),
                        },
                        () = cut.cancelled() => Err(Lost::PowerCut),
                    };
                    (sent, told)
                });
                Ok(true)
            }
        }
    }

    async fn sent(&self, command: &Command) -> Result<Command, LogError> {
        let sent = command.after(Happening::Sending, clock::now().0);
        self.commit(command, sent).await
    }

    async fn refuse(&self, command: Command, refusal: Refusal) -> Result<(), LogError> {
        let end = command.after(Happening::Refused, clock::now().0);
        let end = end.map(|end| end.because(refusal.code.name(), refusal.detail));
        self.commit(&command, end).await.map(drop)
    }

    /// The end of a command that was out.
    async fn end(&self, command: Command, told: Result<Told, Lost>) -> Result<(), LogError> {
        let now = clock::now().0;
        let end = match told {
            Ok(Told::Done(result)) => command.after(Happening::Obeyed, now).map(|done| Command { result, ..done }),
            Ok(Told::Refused(refusal)) => command
                .after(Happening::Refused, now)
                .map(|refused| refused.because(refusal.code.name(), refusal.detail)),
            Err(lost) => command.after(Happening::Lost, now).map(|unknown| lost.because(unknown)),
        };
        // How it ended is known here alone: it waits for room, unless everything stops.
        loop {
            match self.commit(&command, end.clone()).await {
                Err(LogError::NoRoom(_)) if !self.stop.is_cancelled() => tokio::select! {
                    () = self.stop.cancelled() => {}
                    () = tokio::time::sleep(RETRY) => {}
                },
                kept => return kept.map(drop),
            }
        }
    }

    /// Writes a step and its event in one transaction.
    async fn commit(&self, before: &Command, after: Option<Command>) -> Result<Command, LogError> {
        let after = after.ok_or_else(|| LogError::Refused("a step that the table does not have".to_owned()))?;
        let submission = Submission {
            events: vec![after.event(clock::now().1).into()],
            commands: vec![CommandChange::From(before.state, after.clone())],
            ..Submission::default()
        };
        self.log.submit(submission).await?;
        self.metrics.commands.with_label_values(&[after.source.name(), after.state.name()]).inc();
        Ok(after)
    }
}

/// Waits for a change; for ever where none can come any more.
async fn changed<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
