//! What a plugin sees of the gateway, and the limits that it runs into.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use wasmtime::{ResourceLimiter, Result as WasmResult, UpdateDeadline};

use super::TerminalFlags;
use super::contract::vestibule::rule::{host, types};
use super::state::State;
use super::subscription::severity_code;
use super::ticker::TICK;
use crate::event::{self, Attributes, State as Condition};
use crate::log::Stored;

/// Most lines that one call may log, and the longest.
const LOG_LINES: u32 = 16;
const LOG_LINE_BYTES: usize = 1024;
/// Most entries of a plugin's tables; a rule has some dozens.
const TABLE_ENTRIES: usize = 20_000;

/// Something that the contract forbids; the call ends like a trap.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Violation(pub(super) String);

/// The data of a plugin's store. It outlives the instance, which a trap ends.
pub(super) struct Host {
    pub(super) plugin: Arc<str>,
    pub(super) state: State,
    pub(super) batch: Vec<Arc<Stored>>,
    pub(super) budget: Budget,
    terminals: TerminalFlags,
    lines: u32,
    /// The last line that the plugin logged as an error in this call: a Rust plugin's panic message.
    pub(super) last_error: Option<String>,
    memory_limit: usize,
    memory: usize,
    pub(super) memory_refused: bool,
}

impl Host {
    pub(super) fn new(plugin: Arc<str>, state: State, terminals: TerminalFlags, memory_limit: usize) -> Host {
        Host {
            plugin,
            state,
            batch: Vec::new(),
            budget: Budget::default(),
            terminals,
            lines: 0,
            last_error: None,
            memory_limit,
            memory: 0,
            memory_refused: false,
        }
    }

    /// A new instance begins with no memory.
    pub(super) fn begin_instance(&mut self) {
        (self.memory, self.memory_refused) = (0, false);
    }

    pub(super) fn begin_call(&mut self, batch: &[Arc<Stored>], deadline: Duration) {
        self.batch.clear();
        self.batch.extend_from_slice(batch);
        self.budget.begin(deadline);
        (self.lines, self.last_error) = (0, None);
    }

    fn event(&self, place: u32) -> WasmResult<&event::Event> {
        let stored = usize::try_from(place).ok().and_then(|place| self.batch.get(place));
        Ok(&stored
            .ok_or_else(|| Violation(format!("it asked for event {place} of a batch of {}", self.batch.len())))?
            .event)
    }

    /// The name behind a terminal's number; none for 0.
    pub(super) fn terminal(&self, number: u32) -> Result<&str, Violation> {
        let Some(place) = number.checked_sub(1) else { return Ok("") };
        let stored = usize::try_from(place).ok().and_then(|place| self.batch.get(place));
        let stored =
            stored.ok_or_else(|| Violation(format!("it named terminal {number}, which is not in the batch")))?;
        Ok(&stored.event.terminal)
    }
}

/// A batch in the form of the contract. A terminal's number is the place, from 1, of its first event in the batch.
pub(super) fn records(batch: &[Arc<Stored>], records: &mut Vec<types::Event>) {
    records.clear();
    // Events of one terminal come in a row often enough to ask that first, and an event alone needs no table.
    let begin = batch.first().map_or("", |stored| stored.event.terminal.as_str());
    let mut first = HashMap::new();
    let mut last = ("", 0);
    let numbered = (1..).zip(batch);
    records.extend(numbered.map(|(place, stored)| {
        let event = &stored.event;
        let terminal = event.terminal.as_str();
        if terminal != last.0 {
            last = match terminal {
                "" => ("", 0),
                same if same == begin => (same, 1),
                other => (other, *first.entry(other).or_insert(place)),
            };
        }
        let at = event.received_at.or(event.occurred_at);
        let [a, b, c] = event.amount.map_or([0; 3], |money| currency(money.currency));
        types::Event {
            seq: stored.seq,
            at_ms: at.map_or(0, |at| at.as_millisecond()),
            kind: event.kind.code(),
            severity: severity_code(event.severity),
            state: match event.state {
                None => 0,
                Some(Condition::Raised) => 1,
                Some(Condition::Cleared) => 2,
            },
            device: event.device.map_or(0, event::Device::code),
            component: event.component.map_or(0, event::Component::code),
            amount_minor: event.amount.map_or(0, |money| money.minor),
            currency: u32::from_be_bytes([0, a, b, c]),
            terminal: last.1,
        }
    }));
}

fn currency(currency: event::Currency) -> [u8; 3] {
    currency.as_str().as_bytes().try_into().unwrap_or_default()
}

fn attribute(attributes: &Attributes, name: &str) -> Option<String> {
    let value = attributes.get(name)?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

impl types::Host for Host {}

impl host::Host for Host {
    fn field(&mut self, event: u32, name: String) -> WasmResult<Option<String>> {
        let event = self.event(event)?;
        Ok(match name.as_str() {
            "detail" => (!event.detail.is_empty()).then(|| event.detail.clone()),
            "card" => event.card.clone(),
            "protocol" => event.protocol.clone(),
            "link" => event.link.clone(),
            "occurred_at" => event.occurred_at.map(|at| at.to_string()),
            "cause" => event.cause.clone(),
            "rule" => event.rule.clone(),
            _ => None,
        })
    }

    fn attribute(&mut self, event: u32, name: String) -> WasmResult<Option<String>> {
        Ok(attribute(&self.event(event)?.attributes, &name))
    }

    fn terminal_name(&mut self, terminal: u32) -> WasmResult<String> {
        Ok(self.terminal(terminal)?.to_owned())
    }

    fn terminal_flag(&mut self, terminal: u32, name: String) -> WasmResult<bool> {
        let terminal = self.terminal(terminal)?;
        Ok(!terminal.is_empty() && (self.terminals)(terminal, &name))
    }

    fn state_get(&mut self, key: String) -> WasmResult<Option<Vec<u8>>> {
        Ok(self.state.get(&key).cloned())
    }

    fn state_set(&mut self, key: String, value: Vec<u8>) -> WasmResult<()> {
        Ok(self.state.set(key, value).map_err(Violation)?)
    }

    fn state_remove(&mut self, key: String) -> WasmResult<()> {
        self.state.remove(key);
        Ok(())
    }

    fn log(&mut self, level: u8, text: String) -> WasmResult<()> {
        let line: String = text.chars().take(LOG_LINE_BYTES).map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.lines += 1;
        if self.lines <= LOG_LINES {
            let plugin = &self.plugin;
            match level {
                0 => tracing::debug!(%plugin, "{line}"),
                1 => tracing::info!(%plugin, "{line}"),
                2 => tracing::warn!(%plugin, "{line}"),
                _ => tracing::error!(%plugin, "{line}"),
            }
        }
        if level >= 3 {
            self.last_error = Some(line);
        }
        Ok(())
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> WasmResult<bool> {
        let memory = self.memory.saturating_add(desired.saturating_sub(current));
        if memory > self.memory_limit {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory = memory;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> WasmResult<bool> {
        Ok(desired <= TABLE_ENTRIES)
    }
}

/// How long the running call may take.
///
/// A deadline by the clock alone would fail innocent plugins on a busy machine, where a thread waits for the processor
/// longer than it runs. So from half the deadline on, the processor time counts too. Before that no clock is asked: most
/// calls are over long before.
#[derive(Debug, Default)]
pub(super) struct Budget {
    deadline: Duration,
    /// The time, and this thread's processor time, when half the deadline had passed.
    half: Option<(Instant, Duration)>,
}

/// However little of the processor the plugin got: after this many deadlines a call is over.
const MOST_DEADLINES: u32 = 40;

impl Budget {
    fn begin(&mut self, deadline: Duration) {
        *self = Budget { deadline, half: None };
    }

    /// The tick of the engine's clock at which half the deadline has passed for certain: the first comes at once.
    pub(super) fn mark(&self) -> u64 {
        u64::try_from((self.deadline / 2).as_micros().div_ceil(TICK.as_micros())).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Asked when the engine's clock reached the mark, then at every tick.
    pub(super) fn at_tick(&mut self) -> UpdateDeadline {
        let now = processor_time();
        let (half, at_half) = *self.half.get_or_insert_with(|| (Instant::now(), now));
        let elapsed = self.deadline / 2 + half.elapsed();
        let ran = now.is_zero() || now.saturating_sub(at_half) >= self.deadline / 4;
        if elapsed >= self.deadline && (ran || elapsed >= self.deadline * MOST_DEADLINES) {
            return UpdateDeadline::Interrupt;
        }
        UpdateDeadline::Continue(1)
    }
}

/// Processor time of this thread; zero where the system does not say.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
