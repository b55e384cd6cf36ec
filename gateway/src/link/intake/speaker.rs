//! Who speaks on a link that several share: a terminal that is configured, or one that is not, which is noted down.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::{GATEWAY, Intake, Speakers};
use crate::clock;
use crate::event::{Event, Kind};
use crate::link::config::Unknown;
use crate::link::tls::Pin;
use crate::log::{RegisterKind, RegisterRow, Submission};
use crate::terminals::Terminal;

/// Most unknown terminals remembered, so that each is reported once.
const MAX_UNKNOWN: usize = 1024;
/// What stands for a name that cannot be used.
const NAMELESS: &str = "-";
/// How often it is noted down that an unknown terminal still speaks.
const NOTED_EVERY: Duration = Duration::from_secs(60);

impl Intake {
    /// The terminal that calls itself so, or why it may not speak here. One whose certificate is pinned must have shown it.
    pub(in crate::link) fn identify(&self, name: &str, peer: Option<Pin>) -> Result<Arc<Terminal>, String> {
        let unknown = match &self.speakers {
            Speakers::One(terminal) => return Ok(Arc::clone(terminal)),
            Speakers::Any { unknown } => *unknown,
        };
        if let Some(terminal) = self.shared.inventory.calling_itself(name) {
            if terminal.pins.is_empty() || peer.is_some_and(|peer| terminal.pins.contains(&peer)) {
                return Ok(terminal);
            }
            self.report_unknown(&terminal.name, "speaks with a certificate that is not its own", "refused");
            return Err(format!("terminal `{}` must show its own certificate", terminal.name));
        }
        // Left out or replaced, a strange character would make two terminals one.
        if !is_name(name) {
            self.report_unknown(NAMELESS, "gives no name that can be used", "refused");
            return Err("no name of a terminal: 1 to 32 letters, digits, `-`, `_` or `.`".to_owned());
        }
        let outcome = match unknown {
            Unknown::Refuse => "refused",
            Unknown::Accept => "accepted",
        };
        self.report_unknown(name, "is not configured", outcome);
        match unknown {
            Unknown::Refuse => Err(format!("terminal `{name}` is not configured here")),
            Unknown::Accept => Ok(Arc::new(Terminal {
                name: format!("unknown-{name}"),
                profile: Arc::clone(&self.profile),
                time_zone: TimeZone::UTC,
                luno: None,
                reports_requests: false,
                pins: Vec::new(),
            })),
        }
    }

    /// Notes down that an unknown terminal speaks: at most once a minute, with an event the first time.
    pub(super) fn report_unknown(&self, name: &str, why: &str, outcome: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let before = reported.get(name).copied();
        if before.is_some_and(|at| at.elapsed() < NOTED_EVERY) || (before.is_none() && reported.len() >= MAX_UNKNOWN) {
            return;
        }
        reported.insert(name.to_owned(), Instant::now());
        drop(reported);
        let mut events = Vec::new();
        if before.is_none() {
            let event = Event::new(Kind::GatewayUnknownTerminal)
                .detail(format!("`{name}` speaks on {} and {why}: {outcome}", self.name))
                .attribute("name", name)
                .attribute("outcome", outcome);
            events.push(self.stamp(GATEWAY, event).into());
        }
        let now = clock::now().0.to_string();
        let heard = serde_json::json!({
            "first_seen": now, "last_seen": now, "times": 1, "protocol": self.protocol, "link": self.name,
            "profile": self.profile_name, "outcome": outcome,
        });
        let row = RegisterRow { kind: RegisterKind::Heard, key: name.to_owned(), body: heard.as_object().cloned() };
        // Whoever has no name cannot be adopted.
        let register = if name == NAMELESS { Vec::new() } else { vec![row] };
        self.pass_on(Submission { events, register, ..Submission::default() });
    }
}

/// Whether a name that a terminal gives itself can be a level of a topic; a long number may be a card's.
fn is_name(name: &str) -> bool {
    let digits = name.chars().filter(char::is_ascii_digit).count();
    (1..=32).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && digits < 12
}
