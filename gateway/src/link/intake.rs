//! From decoded messages to the log: who speaks, what that means, and what is answered.

mod presence;
mod speaker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::config::{Config, ListenerConfig, Unknown};
use super::flood::Flood;
use super::tls::{Side, Tls};
use super::upload;
use crate::clock;
use crate::event::{Event, Kind};
use crate::local_time::{self, LocalTime};
use crate::log::{LogError, NewEvent, NewLine, Receipt, Submission, Undated};
use crate::normalize::{self, Context};
use crate::profile::Profile;
use crate::protocol::journal::DialectError;
use crate::protocol::upload::Document;
use crate::protocol::{Decoder, Fault, Message, Protocol, Stream};
use crate::terminals::Terminal;

/// Most connections to a port of one terminal's own.
const OWN_CONNECTIONS: usize = 64;
/// Pause between two events about handshakes that failed.
const HANDSHAKE_NOTES: Duration = Duration::from_secs(60);
/// The terminal name of events that are the gateway's own.
const GATEWAY: &str = "gateway";

/// Who may be at the other end.
enum Speakers {
    /// One terminal, whatever it calls itself.
    One(Arc<Terminal>),
    /// Whoever says who it is.
    Any { unknown: Unknown },
}

/// What a link's sessions share.
pub(super) struct Intake {
    pub(super) shared: Shared,
    pub(super) name: String,
    pub(super) protocol: Protocol,
    pub(super) idle: Option<Duration>,
    /// Never a byte is said: the link is a tap.
    pub(super) listen_only: bool,
    /// Whether commands may go out on it.
    pub(super) commands: bool,
    pub(super) max_frame_bytes: usize,
    /// Of a TCP link, where it is not in the clear.
    pub(super) tls: Option<Arc<Tls>>,
    /// What the stream is decoded by, and the name of that profile.
    profile: Arc<Profile>,
    profile_name: String,
    speakers: Speakers,
    connections: Arc<Semaphore>,
    /// Who has a session open now, or had one a moment ago.
    presence: Mutex<HashMap<String, presence::Presence>>,
    /// How long a terminal that hung up may stay away before it is lost.
    lost_after: Duration,
    /// Unknown terminals, and when each was last noted down.
    reported: Mutex<HashMap<String, Instant>>,
    /// When a handshake that failed was last an event.
    handshake_noted: Mutex<Option<Instant>>,
    /// How many faults may still become events.
    flood: Mutex<Flood>,
}

/// Where an answer to a message comes from.
pub(super) enum Answer {
    /// There is nothing to keep.
    Heard,
    /// From the log, once the event is committed.
    Pending(oneshot::Receiver<Result<Receipt, LogError>>),
    /// It is known already.
    Refused(String),
    /// The terminal may not speak here: say so, and hang up.
    Unwelcome(String),
    /// The log takes nothing any more: hang up without an answer, so that the source sends it again.
    Stopped,
}

impl Intake {
    pub(super) fn of_terminal(
        shared: &Shared,
        terminal: Arc<Terminal>,
        config: &Config,
        profile: Arc<Profile>,
    ) -> Arc<Intake> {
        Arc::new(Intake {
            shared: shared.clone(),
            name: config.name.clone(),
            protocol: config.protocol,
            // A journal printer may well be silent for a weekend; an unplugged port shows by itself.
            idle: idle(config.idle_timeout_s).filter(|_| config.serial.is_none()),
            listen_only: config.listen_only,
            commands: config.takes_commands(),
            max_frame_bytes: config.frame_limit(),
            tls: config.tls.clone().map(|tls| Arc::new(Tls::new(tls, config.side()))),
            profile_name: config.profile.clone().unwrap_or_default(),
            profile,
            speakers: Speakers::One(terminal),
            connections: Arc::new(Semaphore::new(OWN_CONNECTIONS)),
            presence: Mutex::default(),
            // An unplugged port is no calling back and forth.
            lost_after: Duration::from_secs(if config.serial.is_some() { 0 } else { config.lost_after_s }),
            reported: Mutex::default(),
            handshake_noted: Mutex::default(),
            flood: Mutex::new(Flood::new(Instant::now())),
        })
    }

    pub(super) fn shared(shared: &Shared, config: &ListenerConfig, profile: Arc<Profile>) -> Arc<Intake> {
        Arc::new(Intake {
            shared: shared.clone(),
            name: config.name.clone(),
            protocol: config.protocol,
            idle: idle(config.idle_timeout_s),
            listen_only: false,
            commands: config.commands,
            max_frame_bytes: config.frame_limit(),
            tls: config.tls.clone().map(|tls| Arc::new(Tls::new(tls, Side::Server))),
            profile_name: config.profile.clone().unwrap_or_else(|| config.protocol.usual_profile().to_owned()),
            profile,
            speakers: Speakers::Any { unknown: config.unknown() },
            connections: Arc::new(Semaphore::new(config.max_connections)),
            presence: Mutex::default(),
            lost_after: Duration::from_secs(config.lost_after_s),
            reported: Mutex::default(),
            handshake_noted: Mutex::default(),
            flood: Mutex::new(Flood::new(Instant::now())),
        })
    }

    /// The decoder of a conversation that begins.
    pub(super) fn stream(&self) -> Result<Stream, DialectError> {
        let framing = self.profile.framing.with_max(self.max_frame_bytes);
        Ok(Stream::new(framing, Decoder::new(self.protocol, &self.profile)?))
    }

    /// The labels of this link's metrics.
    pub(super) fn labels(&self) -> [&str; 2] {
        match &self.speakers {
            Speakers::One(terminal) => [&terminal.name, &self.name],
            Speakers::Any { .. } => ["", &self.name],
        }
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// A place for one more connection, if there is one.
    pub(super) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// Who is at the other end before anything was said.
    pub(super) fn expected(&self) -> Option<Arc<Terminal>> {
        match &self.speakers {
            Speakers::One(terminal) => Some(Arc::clone(terminal)),
            Speakers::Any { .. } => None,
        }
    }

    /// Sets the gauge of links that belong to one terminal.
    pub(super) fn show_up(&self, up: bool) {
        if let Speakers::One(_) = self.speakers {
            self.shared.metrics.link_up.with_label_values(&self.labels()).set(i64::from(up));
        }
    }

    /// Sets the gauge of a certificate's end.
    pub(super) fn show_expiry(&self, role: &str, expiry: Option<i64>) {
        if let Some(expiry) = expiry {
            let [terminal, link] = self.labels();
            self.shared.metrics.tls_expiry.with_label_values(&[terminal, link, role]).set(expiry);
        }
    }

    /// The same for that of the other side, where that is one terminal.
    pub(super) fn show_peer(&self, expiry: Option<i64>) {
        if let Speakers::One(_) = self.speakers {
            self.show_expiry("peer", expiry);
        }
    }

    /// Counts a connection that came to no TLS; one a minute is an event, for a port scan is no flood of them.
    pub(super) fn refuse_handshake(&self, peer: std::net::SocketAddr, reason: &str) {
        self.shared.metrics.link_refused.with_label_values(&["tls"]).inc();
        tracing::warn!(link = self.name, %peer, reason, "A connection is refused.");
        let mut noted = self.handshake_noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_none_or(|noted| noted.elapsed() > HANDSHAKE_NOTES) {
            *noted = Some(Instant::now());
            let detail = format!("link {}: {peer} is refused: {reason}", self.name);
            self.note(self.owner(), Event::new(Kind::ProtocolError).detail(detail));
        }
    }

    /// Appends an event of the link itself; nobody waits for it.
    pub(super) fn note(&self, terminal: &str, event: Event) {
        let event = self.stamp(terminal, event);
        self.pass_on(Submission { events: vec![event.into()], ..Submission::default() });
    }

    fn pass_on(&self, submission: Submission) {
        if self.shared.log.enqueue(submission).is_err() {
            tracing::debug!(link = self.name, "The log has stopped; an event of the link is not kept.");
        }
    }

    /// The terminal or, for a link that several share, the gateway: whose trouble a fault of the port is.
    pub(super) fn owner(&self) -> &str {
        match &self.speakers {
            Speakers::One(terminal) => &terminal.name,
            Speakers::Any { .. } => GATEWAY,
        }
    }

    /// Submits what a message of this terminal says.
    pub(super) fn take(&self, terminal: &Terminal, message: &Message) -> Answer {
        let context = Context { profile: &terminal.profile, time_zone: &terminal.time_zone };
        let mut events: Vec<NewEvent> = normalize::normalize(message, &context)
            .into_iter()
            .map(|event| self.stamp(&terminal.name, event).into())
            .collect();
        events.extend(
            normalize::good(message, &context)
                .into_iter()
                .map(|event| NewEvent { reading: true, ..self.stamp(&terminal.name, event).into() }),
        );
        let (now, synced) = clock::now();
        // A clock that is known to be wrong dates nothing.
        for NewEvent { event, .. } in events.iter_mut().filter(|_| synced != Some(false)) {
            normalize::date_by_arrival(event, message, now, &terminal.time_zone);
        }
        if let (Some(first), Some(id)) = (events.first_mut(), message.source_id()) {
            first.source_id = Some(id.to_owned());
        }
        self.submit(terminal, events, self.journal(terminal, message))
    }

    /// The printed lines that a message holds, each with the day it is found under.
    fn journal(&self, terminal: &Terminal, message: &Message) -> Vec<NewLine> {
        let (received_at, synced) = clock::now();
        let text = message.journal_text().into_owned();
        let lines = text.into_iter().map(|line| NewLine {
            terminal: terminal.name.clone(),
            link: self.name.clone(),
            received_at,
            day: local_time::day(line.printed_at, received_at, &terminal.time_zone),
            printed_at: line.printed_at.map(|time| time.to_string()),
            text: line.text,
            event: None,
            undated: (synced == Some(false)).then(|| match line.printed_at {
                Some(LocalTime::Known(_) | LocalTime::Again(_)) => Undated::Arrival,
                Some(LocalTime::TimeOfDay(_)) | None => Undated::ArrivalAndDay(terminal.time_zone.clone()),
            }),
        });
        lines.collect()
    }

    /// Submits a whole uploaded file: all of it is committed, or nothing.
    pub(super) fn take_upload(&self, document: &Document) -> Answer {
        let accepts = match &self.speakers {
            Speakers::One(_) => true,
            Speakers::Any { unknown } => *unknown == Unknown::Accept,
        };
        let names = match upload::Names::new(document, &self.shared.inventory, accepts) {
            Ok(names) => names,
            Err(unknown) => {
                self.report_unknown(&unknown, "is not configured", "refused");
                return Answer::Refused(format!("terminal `{unknown}` is not configured here"));
            }
        };
        let stamp = |terminal: &str, event: Event| self.stamp(terminal, event);
        let submission = upload::submission(document, &self.profile, &names, stamp);
        let now = jiff::Timestamp::now().as_second();
        for name in names.configured() {
            self.shared.metrics.terminal_last_seen.with_label_values(&[name]).set(now);
        }
        match self.shared.log.enqueue(submission) {
            Ok(answer) => Answer::Pending(answer),
            Err(_) => Answer::Stopped,
        }
    }

    /// Submits the event that a frame nobody understands is; of a flood of them a part, with the number of the rest.
    pub(super) fn take_fault(&self, terminal: Option<&Terminal>, fault: &Fault) -> Answer {
        let said = self.flood.lock().unwrap_or_else(PoisonError::into_inner).say(Instant::now());
        if let Some(unsaid) = said {
            let owner = terminal.map_or(self.owner(), |terminal| &terminal.name);
            let mut event = normalize::fault(fault);
            if unsaid > 0 {
                event = event.attribute("unsaid", unsaid);
            }
            self.note(owner, event);
        }
        // Whether or not the event is kept, the source is told what was wrong.
        Answer::Refused(fault.reason.clone())
    }

    fn submit(&self, terminal: &Terminal, events: Vec<NewEvent>, journal: Vec<NewLine>) -> Answer {
        let now = jiff::Timestamp::now().as_second();
        if self.shared.inventory.named(&terminal.name).is_some() {
            self.shared.metrics.terminal_last_seen.with_label_values(&[&terminal.name]).set(now);
        }
        match self.shared.log.enqueue(Submission { events, journal, ..Submission::default() }) {
            Ok(answer) => Answer::Pending(answer),
            Err(_) => Answer::Stopped,
        }
    }

    fn stamp(&self, terminal: &str, mut event: Event) -> Event {
        let (now, synced) = clock::now();
        event.terminal = terminal.to_owned();
        event.received_at = Some(now);
        event.time_synced = synced;
        event.link = Some(self.name.clone());
        event.protocol = Some(self.protocol.name().to_owned());
        event
    }
}

fn idle(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}
