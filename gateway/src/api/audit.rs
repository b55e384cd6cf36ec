//! What is written down of who came in, who did not, and who may.
//!
//! No event names a path, a header or anything else that somebody has sent: there may be account or card numbers in it.

use std::time::{Duration, Instant};

use crate::auth::{Change, Failures, Identity, Record, Refusal, Source};
use crate::clock;
use crate::event::{Event, Kind};
use crate::log::{Log, Submission};

/// Writes it.
pub(super) struct Audit {
    log: Log,
    failures: Failures,
}

impl Audit {
    pub(super) fn new(log: Log) -> Audit {
        Audit { log, failures: Failures::default() }
    }

    /// Somebody is nobody. Gives how long they have to pause, where they already had to before this.
    pub(super) fn refused(&self, source: Source, why: &Refusal, detail: &str, now: Instant) -> Option<Duration> {
        let pausing = self.failures.pause(source, now).is_some();
        let failed = matches!(why, Refusal::Invalid | Refusal::Expired(_));
        if let Some(count) = self.failures.note(source, failed, now) {
            let event = refusal(Some(source), count, detail);
            self.write(match why {
                Refusal::Expired(id) => event.attribute("token", id.as_str()),
                Refusal::Unmapped(subject) => event.attribute("subject", subject.as_str()),
                Refusal::Missing | Refusal::Invalid => event,
            });
        }
        self.failures.pause(source, now).filter(|_| pausing)
    }

    /// Somebody who is known may not do this.
    pub(super) fn forbidden(&self, source: Source, who: &Identity, now: Instant) {
        if let Some(count) = self.failures.note(source, false, now) {
            let detail = format!("{} ({}) asked for what a {} may not do", who.name, who.id, who.role);
            self.write(refusal(Some(source), count, &detail).attribute("identity", &*who.id));
        }
    }

    /// What has not been told yet of bursts of refusals.
    pub(super) fn tell_due(&self, now: Instant) {
        for (source, count) in self.failures.due(now) {
            self.write(refusal(source, count, "more were refused"));
        }
    }

    /// Tokens that have come, changed or gone.
    pub(super) fn changed(&self, changes: Vec<Change>) {
        for change in changes {
            let (kind, what, record) = match &change {
                Change::Added(record) => (Kind::GatewayTokenAdded, "took effect", record),
                Change::Changed(record) => (Kind::GatewayTokenChanged, "was changed", record),
                Change::Revoked(record) => (Kind::GatewayTokenRevoked, "was revoked", record),
            };
            tracing::info!(id = record.id, name = record.name, role = %record.role, "A token {what}.");
            self.write(of_token(kind, what, record));
        }
    }

    fn write(&self, mut event: Event) {
        let (now, synced) = clock::now();
        event.terminal = "gateway".to_owned();
        event.received_at = Some(now);
        event.time_synced = synced;
        // Nobody waits for the answer: a request is refused whether or not that is written down. A log that has stopped ends
        // the process, and says so itself.
        let _ = self.log.enqueue(Submission { events: vec![event.into()], ..Submission::default() });
    }
}

fn refusal(source: Option<Source>, count: u64, detail: &str) -> Event {
    let from = source.map_or_else(|| "several addresses".to_owned(), |source| source.to_string());
    let times = if count == 1 { String::new() } else { format!(" ({count} times)") };
    Event::new(Kind::GatewayAuthRefused)
        .detail(format!("HTTP from {from}: {detail}{times}"))
        .attribute("address", from)
        .attribute("count", count)
}

fn of_token(kind: Kind, what: &str, record: &Record) -> Event {
    let event = Event::new(kind)
        .detail(format!("the token `{}` ({}, {}) {what}", record.name, record.id, record.role))
        .attribute("token", record.id.as_str())
        .attribute("name", record.name.as_str())
        .attribute("role", record.role.name());
    let event = match record.terminals.patterns() {
        [] => event,
        patterns => event.attribute("terminals", patterns.to_vec()),
    };
    match record.expires {
        Some(expires) => event.attribute("expires", expires.to_string()),
        None => event,
    }
}
