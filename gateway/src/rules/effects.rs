//! What a plugin answered, checked and made into events.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::contract::vestibule::rule::types::{Action, Alert, Command, Derived, Effect};
use super::host::{Host, Violation};
use super::subscription::is_made_here;
use crate::clock;
use crate::command::{self, Source};
use crate::event::{Component, Device, Event, Kind, Severity, State};
use crate::log::{CommandChange, Stored};

/// Most answers to one event.
const ACTIONS: usize = 64;
/// Longest texts, in bytes.
const KEY_BYTES: usize = 128;
const TITLE_BYTES: usize = 256;
const DETAIL_BYTES: usize = 4096;
/// Most arguments or attributes, and the longest value of one.
const PAIRS: usize = 32;
const VALUE_BYTES: usize = 1024;
/// Longest chain of events that rules derive from one another, so that two rules cannot answer each other for ever.
const HOPS: u64 = 4;

/// What effects are made with, besides the answer itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// The plugin's id.
    pub(super) plugin: &'a str,
    /// The front of every event id.
    pub(super) id_prefix: &'a str,
    /// The time of the answers; none is the clock's, which is asked only where there is an answer.
    pub(super) now: Option<Timestamp>,
    /// How old an event may be whose answer commands something.
    pub(super) stale_after: Duration,
}

/// The name of an effect in the metrics.
pub(super) fn name(event: &Event) -> &'static str {
    match event.kind {
        Kind::AlertRaised => "alert_raised",
        Kind::AlertCleared => "alert_cleared",
        Kind::CommandRequested => "command",
        Kind::CommandRefused => "command_refused",
        _ => "event",
    }
}

/// The events that follow from the answer to a batch, in its order.
///
/// # Errors
/// Where one action is not allowed; then none of them counts.
pub(super) fn events(frame: &Frame<'_>, host: &Host, actions: Vec<Action>) -> Result<Vec<Event>, Violation> {
    if actions.is_empty() {
        return Ok(Vec::new());
    }
    let clock = frame.now.map_or_else(clock::now, |now| (now, None));
    // Actions are numbered within the event that they answer: how a batch was cut must not change the number.
    let mut counts = vec![0_usize; host.batch.len()];
    let mut events = Vec::with_capacity(actions.len());
    for action in actions {
        let place = usize::try_from(action.cause).unwrap_or(usize::MAX);
        let (Some(stored), Some(count)) = (host.batch.get(place), counts.get_mut(place)) else {
            return Err(Violation(format!("it answered event {} of a batch of {}", action.cause, host.batch.len())));
        };
        if *count == ACTIONS {
            return Err(Violation(format!("it gave more than {ACTIONS} answers to one event")));
        }
        events.push(event(frame, clock, host, stored, *count, action)?);
        *count += 1;
    }
    Ok(events)
}

fn event(
    frame: &Frame<'_>,
    (now, time_synced): (Timestamp, Option<bool>),
    host: &Host,
    cause: &Stored,
    index: usize,
    action: Action,
) -> Result<Event, Violation> {
    let terminal = host.terminal(action.terminal)?.to_owned();
    let device = code(action.device, Device::from_code, "device")?;
    let component = code(action.component, Component::from_code, "component")?;
    let age = age(cause, now);
    // What follows from it is as old as it is, whatever the clock was set to meanwhile.
    let origin = match age {
        Some(age) => now.checked_sub(age).ok(),
        None => origin(&cause.event),
    };
    let made = match action.effect {
        Effect::Raise(alert) => raise(alert)?,
        Effect::Clear(clearance) => {
            within("an alert's key", &clearance.key, KEY_BYTES)?;
            within("a detail", &clearance.detail, DETAIL_BYTES)?;
            let event = Event::new(Kind::AlertCleared).detail(clearance.detail).attribute("alert", clearance.key);
            Event { state: Some(State::Cleared), ..event }
        }
        Effect::Emit(derived) => emit(derived, &cause.event)?,
        Effect::Command(asked) => {
            // Of what comes from the future nobody knows how old it is.
            let stale = origin.is_some() && age.is_none_or(|age| age > frame.stale_after);
            command(asked, format!("{}-{}-{index}", frame.plugin, cause.seq), stale)?
        }
    };
    Ok(Event {
        terminal,
        device,
        component,
        occurred_at: origin,
        received_at: Some(now),
        time_synced,
        cause: Some(id_of(cause, frame.id_prefix)),
        rule: Some(frame.plugin.to_owned()),
        ..made
    })
}

/// The id that an event was given when it was appended first; a restored store has events of more than one life.
pub(super) fn id_of(stored: &Stored, id_prefix: &str) -> String {
    stored.front().map_or_else(|| format!("{id_prefix}-{}", stored.seq), |front| front.id.to_owned())
}

/// The command that an event asks for, as it is kept beside it: it waits no longer than an event may be old that commands
/// something.
pub(super) fn command_of(event: &Event, patience: Duration) -> Option<CommandChange> {
    if event.kind != Kind::CommandRequested {
        return None;
    }
    let text = |name: &str| event.attributes.get(name).and_then(Value::as_str).map(str::to_owned);
    let asked_at = event.received_at?;
    Some(CommandChange::New(command::Command {
        id: text("command_id")?,
        source: Source::Rule,
        terminal: event.terminal.clone(),
        verb: text("verb")?,
        arguments: event.attributes.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default(),
        by: event.rule.clone()?,
        asked_at,
        expires_at: asked_at.checked_add(patience).ok()?,
        state: command::State::Requested,
        changed_at: asked_at,
        code: None,
        detail: None,
        result: None,
    }))
}

/// When the gateway read what this event, perhaps through other rules, follows from. Effects carry it as their
/// `occurred_at`, so that a chain of rules does not make an old event young again.
fn origin(event: &Event) -> Option<Timestamp> {
    match event.rule {
        Some(_) => event.occurred_at.or(event.received_at),
        None => event.received_at,
    }
}

/// How long ago the gateway read what this event follows from. Within one boot of the machine that is measured; across
/// boots the clock has to say, and where it was set back since, nobody knows.
fn age(stored: &Stored, now: Timestamp) -> Option<Duration> {
    let Stored { boot_ms, event, .. } = stored;
    let received = event.received_at?;
    let Some(boot_ms) = boot_ms.and_then(|ms| u64::try_from(ms).ok()) else {
        return Duration::try_from(now.duration_since(origin(event)?)).ok();
    };
    // The rules before have written this difference, and measured it themselves.
    let before = Duration::try_from(received.duration_since(origin(event)?)).unwrap_or_default();
    Some(clock::since_boot().saturating_sub(Duration::from_millis(boot_ms)) + before)
}

fn raise(alert: Alert) -> Result<Event, Violation> {
    within("an alert's key", &alert.key, KEY_BYTES)?;
    within("an alert's title", &alert.title, TITLE_BYTES)?;
    within("a detail", &alert.detail, DETAIL_BYTES)?;
    let event = Event::new(Kind::AlertRaised)
        .severity(severity(alert.severity)?)
        .detail(alert.detail)
        .attribute("alert", alert.key)
        .attribute("title", alert.title);
    Ok(Event { state: Some(State::Raised), ..event })
}

fn emit(derived: Derived, cause: &Event) -> Result<Event, Violation> {
    within("a detail", &derived.detail, DETAIL_BYTES)?;
    let kind = Kind::from_code(derived.kind).filter(|kind| !is_made_here(kind.code() >> 8));
    let kind =
        kind.ok_or_else(|| Violation(format!("it made an event of kind {:#06x}, which rules cannot", derived.kind)))?;
    let mut event = Event::new(kind).severity(severity(derived.severity)?).detail(derived.detail);
    event.attributes = pairs(derived.attributes)?.into_iter().collect();
    if cause.rule.is_some() {
        let hops = cause.attributes.get("hops").and_then(Value::as_u64).unwrap_or(1) + 1;
        if hops > HOPS {
            return Err(Violation(format!(
                "it is the {hops}th rule to derive an event from the one before; {HOPS} may"
            )));
        }
        event.attributes.insert("hops".to_owned(), hops.into());
    }
    Ok(event)
}

fn command(command: Command, id: String, stale: bool) -> Result<Event, Violation> {
    within("a verb", &command.verb, KEY_BYTES)?;
    let event = match stale {
        false => Event::new(Kind::CommandRequested).detail(format!("{} was asked for", command.verb)),
        true => Event::new(Kind::CommandRefused)
            .attribute("reason", "stale")
            .detail(format!("{} was not asked for: what it answers is too long ago", command.verb)),
    };
    let event = event.attribute("command_id", id).attribute("verb", command.verb);
    let arguments = pairs(command.arguments)?;
    Ok(if arguments.is_empty() { event } else { event.attribute("arguments", arguments) })
}

fn pairs(pairs: Vec<(String, String)>) -> Result<Map<String, Value>, Violation> {
    if pairs.len() > PAIRS {
        return Err(Violation(format!("it gave {} arguments or attributes; {PAIRS} are allowed", pairs.len())));
    }
    for (name, value) in &pairs {
        within("a name", name, KEY_BYTES)?;
        within("a value", value, VALUE_BYTES)?;
    }
    Ok(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}

fn within(what: &str, text: &str, bytes: usize) -> Result<(), Violation> {
    match text.len() {
        length if length > bytes => Err(Violation(format!("{what} has {length} bytes; {bytes} are allowed"))),
        _ => Ok(()),
    }
}

fn severity(code: u8) -> Result<Severity, Violation> {
    Severity::ALL.get(usize::from(code)).copied().ok_or_else(|| Violation(format!("there is no severity {code}")))
}

/// The device or part behind a number; none for 0.
fn code<T>(code: u16, known: impl Fn(u16) -> Option<T>, what: &str) -> Result<Option<T>, Violation> {
    match code {
        0 => Ok(None),
        code => known(code).map(Some).ok_or_else(|| Violation(format!("there is no {what} {code:#x}"))),
    }
}
