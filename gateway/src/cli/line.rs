//! An event as a line for people.

use crate::event::State;
use crate::log::Stored;

/// Time (as `format` says, in UTC), place, terminal, severity, kind, where it comes from, what it says.
pub(super) fn event(stored: &Stored, format: &str) -> String {
    let event = &stored.event;
    let time = event.received_at.map_or_else(String::new, |time| time.strftime(format).to_string());
    let source = match (&event.rule, &event.protocol) {
        (Some(rule), _) => format!("rule {rule}"),
        (None, protocol) => protocol.clone().unwrap_or_default(),
    };
    let state = event.state.map_or("", |state| match state {
        State::Raised => " ▲",
        State::Cleared => " ▼",
    });
    let what = match (&event.detail, event.component) {
        (detail, _) if !detail.is_empty() => detail.clone(),
        (_, Some(component)) => component.to_string(),
        _ => String::new(),
    };
    let kind = format!("{}{state}", event.kind);
    let line = format!(
        "{time} {:>5}  {:<19} {:<8} {kind:<29} {source:<21} {what}",
        stored.seq,
        event.terminal,
        event.severity.name()
    );
    // What a terminal or a person wrote must not write on somebody's screen by itself.
    line.trim_end().replace(|c: char| c.is_control(), " ")
}
