//! A plugin's thread: follows the log from the plugin's position, and commits what the plugin answers together with it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prometheus::{Histogram, IntCounter, IntGauge};
use tokio::sync::{mpsc, watch};

use super::effects::{self, Frame};
use super::engine::Engine;
use super::host::Host;
use super::instance::{Fault, Instance, Outcome};
use super::plugin::Plugin;
use super::state::State;
use super::strikes::Strikes;
use super::{Config, TerminalFlags};
use crate::clock;
use crate::event::{Event, Kind};
use crate::log::{self, Log, LogError, PluginCommit, Stored, Submission};
use crate::metrics::Metrics;

/// Most events read at once, and most handed to the plugin at once.
const READ: usize = 1024;
const BATCH: usize = 64;
/// Effects that are enough for a commit of their own.
const EFFECTS: usize = 256;
/// Faults of one batch that are reported each by itself; the rest are counted in one more event.
const FAULTS: usize = 4;
/// Pause after the log could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// What all workers share.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) config: Arc<Config>,
    pub(super) engine: Arc<Engine>,
    pub(super) log: Log,
    pub(super) terminals: TerminalFlags,
    pub(super) metrics: Arc<Metrics>,
}

/// What a worker is told, between two batches.
pub(super) enum Control {
    /// Go on with this plugin.
    Replace(Arc<Plugin>),
}

/// A plugin's thread. It ends when the handle is closed.
pub(super) struct Worker {
    control: mpsc::UnboundedSender<Control>,
    thread: JoinHandle<()>,
}

/// Why a plugin could not be put in force although it can be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Worker {
    /// Puts a plugin in force. One that was never here begins behind `newcomer`; `loaded` is the event that says so.
    pub(super) fn start(
        context: &Context,
        id: &str,
        plugin: Arc<Plugin>,
        newcomer: u64,
        loaded: Event,
    ) -> Result<Worker, StartError> {
        let log = &context.log;
        let state = State::new(log.plugin_state(id)?);
        let known = log.plugin_cursor(id)?;
        let cursor = known.unwrap_or(newcomer);
        // A newcomer's position must be as durable as the word that it is here.
        let commit = known.is_none().then(|| PluginCommit { plugin: id.to_owned(), cursor, state: Vec::new() });
        match log.submit_blocking(Submission {
            events: vec![loaded.clone().into()],
            plugin: commit,
            ..Submission::default()
        }) {
            // One that was here before works on where there is no room to say so; it is said once there is.
            Err(LogError::NoRoom(_)) if known.is_some() => {
                let _ = log.enqueue(Submission { events: vec![loaded.into()], ..Submission::default() });
            }
            answer => drop(answer?),
        }

        let id: Arc<str> = Arc::from(id);
        let host = Host::new(Arc::clone(&id), state, Arc::clone(&context.terminals), context.config.memory_bytes);
        let (control, receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let follower = Follower {
            instance: Instance::new(Arc::clone(&context.engine), plugin, host),
            head: log.head(),
            context: context.clone(),
            control: receiver,
            id: Arc::clone(&id),
            cursor,
            strikes: Strikes::default(),
            measures: Measures::new(&context.metrics, &id),
        };
        let thread = thread::Builder::new().name(format!("rule-{id}")).spawn(move || follower.run(&runtime))?;
        Ok(Worker { control, thread })
    }

    /// Replaces the plugin at the next batch.
    pub(super) fn replace(&self, plugin: Arc<Plugin>) {
        // A worker that has ended has done so because the log has: there is nothing to replace.
        let _ = self.control.send(Control::Replace(plugin));
    }

    /// Ends after the running batch, and waits for that.
    pub(super) fn stop(self) {
        drop(self.control);
        if self.thread.join().is_err() {
            tracing::error!("A rule's thread ended in a panic.");
        }
    }
}

struct Follower {
    context: Context,
    instance: Instance,
    head: watch::Receiver<u64>,
    control: mpsc::UnboundedReceiver<Control>,
    id: Arc<str>,
    cursor: u64,
    strikes: Strikes,
    measures: Measures,
}

/// The plugin's own metrics, looked up once.
struct Measures {
    batch_seconds: Histogram,
    events: IntCounter,
    faults: IntCounter,
    lag: IntGauge,
    paused: IntGauge,
}

impl Measures {
    fn new(metrics: &Metrics, id: &str) -> Measures {
        Measures {
            batch_seconds: metrics.rule_batch_seconds.with_label_values(&[id]),
            events: metrics.rule_events.with_label_values(&[id]),
            faults: metrics.rule_faults.with_label_values(&[id]),
            lag: metrics.rule_lag.with_label_values(&[id]),
            paused: metrics.rule_paused.with_label_values(&[id]),
        }
    }
}

/// What a pause ended with.
enum Wake {
    Look,
    Told(Control),
    End,
}

impl Follower {
    fn run(mut self, runtime: &tokio::runtime::Runtime) {
        loop {
            match self.control.try_recv() {
                Ok(told) => self.obey(told),
                Err(mpsc::error::TryRecvError::Disconnected) => return,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            let head = *self.head.borrow_and_update();
            self.measures.lag.set(lag(head, self.cursor));
            let put_aside = self.strikes.pause(Instant::now());
            self.measures.paused.set(i64::from(put_aside.is_some()));
            let pause = match put_aside {
                // Meanwhile the lag is shown as it grows.
                Some(left) => Some(left.min(RETRY)),
                None => match self.step() {
                    Ok(true) => continue,
                    Ok(false) => None,
                    Err(LogError::Stopped) => return,
                    // The log has said so, and will say when there is room.
                    Err(LogError::NoRoom(_)) => Some(RETRY),
                    Err(error) => {
                        tracing::error!(plugin = %self.id, %error, "The rule cannot go on; trying again in a second.");
                        Some(RETRY)
                    }
                },
            };
            match runtime.block_on(self.wait(pause)) {
                Wake::Look => {}
                Wake::Told(told) => self.obey(told),
                Wake::End => return,
            }
        }
    }

    fn obey(&mut self, told: Control) {
        let Control::Replace(plugin) = told;
        self.instance.replace(plugin);
        // Another build is another plugin: what the one before did is not held against it.
        self.strikes = Strikes::default();
    }

    async fn wait(&mut self, pause: Option<Duration>) -> Wake {
        let look = async {
            match pause {
                Some(pause) => {
                    tokio::time::sleep(pause).await;
                    Wake::Look
                }
                None => self.head.changed().await.map_or(Wake::End, |()| Wake::Look),
            }
        };
        tokio::select! {
            told = self.control.recv() => told.map_or(Wake::End, Wake::Told),
            wake = look => wake,
        }
    }

    /// Reads and answers what is there; false where there is nothing.
    fn step(&mut self) -> Result<bool, LogError> {
        let read = self.context.log.read_after(self.cursor, READ)?;
        let Some(last) = read.last().map(|stored| stored.seq) else { return Ok(false) };
        // What is not there was pruned: a rule that was away for long, or that is too slow for the disk, goes on behind it.
        if let (Some(event), Some(first)) = (log::missed(&self.id, self.cursor, &read), read.first()) {
            tracing::warn!(plugin = %self.id, "{}", event.detail);
            self.submit(first.seq - 1, vec![event])?;
        }
        let filter = &self.instance.plugin().filter;
        // What was salvaged from another store was answered there; of what a newer version wrote the plugin has no number.
        let passed = |stored: &Stored| stored.is_salvaged() || stored.is_foreign();
        let wanted = |stored: &Arc<Stored>| filter.wants(&self.id, &stored.event) && !passed(stored);
        let wanted: Vec<_> = read.into_iter().filter(wanted).collect();
        self.answer(&wanted)?;
        if self.cursor < last && self.strikes.pause(Instant::now()).is_none() {
            self.submit(last, Vec::new())?;
        }
        Ok(true)
    }

    /// Has events answered a batch at a time, and commits all of that at once: a commit takes longer than many batches.
    fn answer(&mut self, mut wanted: &[Arc<Stored>]) -> Result<(), LogError> {
        while !wanted.is_empty() && self.strikes.pause(Instant::now()).is_none() {
            let Outcome { mut events, faults, handed } = self.digest(wanted);
            let (answered, rest) = wanted.split_at_checked(handed).unwrap_or((wanted, &[]));
            let Some(last) = answered.last() else { return Ok(()) };
            let effects: Vec<_> = events.iter().map(effects::name).collect();
            events.extend(self.fault_events(answered, &faults));
            match self.submit(last.seq, events) {
                Ok(()) => {
                    let count =
                        |name: &&str| self.context.metrics.rule_effects.with_label_values(&[&*self.id, name]).inc();
                    effects.iter().for_each(count);
                    self.judge(answered, faults.len());
                }
                Err(LogError::Refused(reason)) => self.answer_apart(answered, &reason)?,
                Err(error) => return Err(error),
            }
            wanted = rest;
        }
        Ok(())
    }

    /// Hands events over a batch at a time, until there are enough effects for a commit or a fault: what follows a fault
    /// is judged anew.
    fn digest(&mut self, wanted: &[Arc<Stored>]) -> Outcome {
        let frame = Frame {
            plugin: &self.id,
            id_prefix: self.context.log.id_prefix(),
            now: None,
            stale_after: Duration::from_secs(self.context.config.stale_after_s),
        };
        let mut all = Outcome::default();
        for chunk in wanted.chunks(BATCH) {
            let began = Instant::now();
            let outcome = self.instance.digest(chunk, &frame, self.strikes.left());
            self.measures.batch_seconds.observe(began.elapsed().as_secs_f64());
            self.measures.events.inc_by(u64::try_from(outcome.handed).unwrap_or(0));
            let faults = outcome.faults.into_iter();
            all.faults.extend(faults.map(|fault| Fault { place: all.handed + fault.place, ..fault }));
            all.events.extend(outcome.events);
            all.handed += outcome.handed;
            if !all.faults.is_empty() || all.events.len() >= EFFECTS {
                break;
            }
        }
        all
    }

    /// The log refused what events led to: finds out which it was, and skips that one.
    fn answer_apart(&mut self, answered: &[Arc<Stored>], reason: &str) -> Result<(), LogError> {
        if let [one] = answered {
            let reason = format!("the log refused what it answered: {reason}");
            self.submit(one.seq, self.fault_events(answered, &[Fault { place: 0, reason }]))?;
            self.judge(answered, 1);
            return Ok(());
        }
        answered.iter().try_for_each(|stored| self.answer(std::slice::from_ref(stored)))
    }

    /// Counts what went wrong with events that are dealt with; where that was once too often, the plugin is put aside.
    fn judge(&mut self, answered: &[Arc<Stored>], faults: usize) {
        if faults == 0 {
            return self.strikes.well(answered.len());
        }
        self.measures.faults.inc_by(u64::try_from(faults).unwrap_or(0));
        let Some(pause) = self.strikes.fault(faults, Instant::now()) else { return };
        let seconds = pause.as_secs();
        tracing::warn!(plugin = %self.id, seconds, "The rule failed again and again and is put aside; its events wait.");
        let detail = format!("{} failed again and again and is put aside for {seconds} s; its events wait", self.id);
        let event = gateway_event(Kind::GatewayPluginFault, &self.id).detail(detail).attribute("paused_s", seconds);
        let event = Event { rule: Some(self.id.to_string()), ..event };
        // Nobody waits for it, and where the log has stopped the next submission says so.
        let _ = self.context.log.enqueue(Submission { events: vec![event.into()], ..Submission::default() });
    }

    /// Commits effects, what the plugin stored, and its position.
    fn submit(&mut self, cursor: u64, events: Vec<Event>) -> Result<(), LogError> {
        let Some(host) = self.instance.host() else { return Err(LogError::Stopped) };
        let commit = PluginCommit { plugin: self.id.to_string(), cursor, state: host.state.waiting() };
        let patience = Duration::from_secs(self.context.config.stale_after_s);
        let commands = events.iter().filter_map(|event| effects::command_of(event, patience)).collect();
        let events = events.into_iter().map(Into::into).collect();
        let submission = Submission { events, commands, plugin: Some(commit), ..Submission::default() };
        let answer = self.context.log.submit_blocking(submission);
        match answer {
            Ok(_) => {
                host.state.commit();
                self.cursor = cursor;
                Ok(())
            }
            Err(error) => {
                host.state.undo();
                Err(error)
            }
        }
    }

    /// The events that tell of skipped events.
    fn fault_events(&self, chunk: &[Arc<Stored>], faults: &[Fault]) -> Vec<Event> {
        let stored = |fault: &Fault| chunk.get(fault.place).map(|stored| (Arc::clone(stored), fault.reason.clone()));
        // A fault over a fault is counted and logged, but no event: two failing rules would feed each other.
        let told: Vec<_> = faults
            .iter()
            .filter_map(stored)
            .filter(|(stored, _)| stored.event.kind != Kind::GatewayPluginFault)
            .collect();
        for (stored, reason) in &told {
            tracing::warn!(plugin = %self.id, seq = stored.seq, reason, "The rule could not answer an event; it was skipped.");
        }
        let cause = |stored: &Stored| Some(effects::id_of(stored, self.context.log.id_prefix()));
        let mut events: Vec<Event> = told
            .iter()
            .take(FAULTS)
            .map(|(stored, reason)| {
                let detail = format!("{} could not answer event {}, which was skipped: {reason}", self.id, stored.seq);
                let event = gateway_event(Kind::GatewayPluginFault, &self.id).detail(detail);
                let event = event.attribute("seq", stored.seq).attribute("reason", reason.as_str());
                Event { cause: cause(stored), rule: Some(self.id.to_string()), ..event }
            })
            .collect();
        if let Some([(first, reason), ..]) = told.get(FAULTS..) {
            let more = told.len() - FAULTS;
            let detail = format!("{} could not answer {more} more events from {} on: {reason}", self.id, first.seq);
            let event = gateway_event(Kind::GatewayPluginFault, &self.id).detail(detail);
            let event =
                event.attribute("seq", first.seq).attribute("skipped", more).attribute("reason", reason.as_str());
            events.push(Event { cause: cause(first), rule: Some(self.id.to_string()), ..event });
        }
        events
    }
}

/// Events between the log's end and a plugin's position, as the metric shows them.
pub(super) fn lag(head: u64, cursor: u64) -> i64 {
    i64::try_from(head.saturating_sub(cursor)).unwrap_or(i64::MAX)
}

/// An event of the gateway about a plugin.
pub(super) fn gateway_event(kind: Kind, plugin: &str) -> Event {
    let event = Event::new(kind).attribute("plugin", plugin);
    let (now, time_synced) = clock::now();
    Event { terminal: "gateway".to_owned(), received_at: Some(now), time_synced, ..event }
}
