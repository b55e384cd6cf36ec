//! A message from the broker made into a command, or into a word why it is none.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;

use super::Parts;
use crate::auth::{self, Auth, Credentials};
use crate::clock;
use crate::command::{Asker, Attempt, Code, Refusal, Request, Source, is_id};
use crate::commands::accept::Freshness;
use crate::commands::payload::{self, Payload};
use crate::commands::{Counter, Trust};
use crate::log::{CommandChange, Log, LogError, Submission};
use crate::mask;
use crate::mqtt::{Delivery, MAX_INCOMING, level};

/// Longest level of a terminal that is there not, on whose topic something is said: its name says nothing to us.
const LEVEL_BYTES: usize = 256;

/// What became of a message that came in.
pub(super) struct Dealt {
    /// What it is acknowledged by.
    pub(super) id: Option<u16>,
    /// Why it became no command. It is acknowledged once this is said.
    pub(super) refusal: Option<Word>,
    /// Whether it is dealt with for good: what could not be kept must come again.
    pub(super) kept: bool,
}

/// A word on a message that became no command.
#[derive(Clone)]
pub(super) struct Word {
    /// The terminal that it named.
    pub(super) terminal: String,
    /// The id that it gave.
    pub(super) id: String,
    /// Where it is said.
    pub(super) topic: String,
    /// What is said.
    pub(super) payload: String,
}

/// What makes commands of messages.
struct Reading {
    front: String,
    counter: Arc<Counter>,
    log: Log,
    auth: Auth,
    trust: Trust,
}

/// Makes a command of a message. The answer comes behind the commit.
pub(super) fn deal(delivery: Delivery, parts: &Parts) -> BoxFuture<'static, Dealt> {
    let reading = Reading {
        front: parts.front.clone(),
        counter: Arc::clone(&parts.counter),
        log: parts.log.clone(),
        auth: parts.auth.clone(),
        trust: parts.config.mqtt_trust,
    };
    Box::pin(async move { reading.deal(delivery).await })
}

impl Reading {
    async fn deal(&self, delivery: Delivery) -> Dealt {
        let done = Dealt { id: delivery.id, refusal: None, kept: true };
        // What an older subscription brings is nothing of ours.
        let Some((level, id)) = payload::address(&self.front, &delivery.topic) else { return done };
        let terminal = self.terminal(level);
        let freshness = if delivery.retained { Freshness::Retained } else { Freshness::Fresh };
        let outcome = match self.request(&delivery, &terminal, id) {
            Ok(request) => self.counter.take(request, freshness).await,
            Err(refusal) => {
                let attempt = Attempt {
                    id: Some(id.to_owned()),
                    terminal: Some(terminal.clone()),
                    ..Attempt::unread(Source::Mqtt, &Asker::Nobody, None)
                };
                self.counter.refusals().note(&attempt, &refusal);
                Err(refusal)
            }
        };
        match outcome {
            // One that had ended before is told once more.
            Ok((command, true)) if command.state.is_final() => {
                let commands = vec![CommandChange::Untold(command.source, command.id)];
                let again = self.log.submit(Submission { commands, ..Submission::default() }).await;
                Dealt { kept: !matches!(again, Err(LogError::Stopped | LogError::NoRoom(_))), ..done }
            }
            Ok(_) => done,
            Err(refusal) if matches!(refusal.code, Code::Unavailable | Code::DiskFull) => Dealt { kept: false, ..done },
            // What has no id has no topic to be told on.
            Err(_) if !is_id(id) || terminal.is_empty() || level.len() > LEVEL_BYTES => done,
            // What may be a card number goes out on none.
            Err(_) if mask::names_card(level) || mask::names_card(&terminal) => done,
            Err(refusal) => {
                let topic = match self.counter.knows(&terminal) {
                    true => payload::result_topic(&self.front, &terminal, id),
                    false => format!("{}/result", delivery.topic),
                };
                let payload = payload::refusal(&terminal, id, &refusal);
                Dealt { refusal: Some(Word { terminal, id: id.to_owned(), topic, payload }), ..done }
            }
        }
    }

    /// The terminal of a level: the one that is called so, or else the one whose level it is.
    fn terminal(&self, level: &str) -> String {
        let decoded = level::decoded(level).filter(|_| !self.counter.knows(level));
        decoded.unwrap_or_else(|| level.to_owned())
    }

    fn request(&self, delivery: &Delivery, terminal: &str, id: &str) -> Result<Request, Refusal> {
        let bad = |why: String| Refusal::new(Code::BadRequest, why);
        let bytes = delivery
            .payload
            .as_ref()
            .map_err(|bytes| bad(format!("a command has {MAX_INCOMING} bytes at most, and this {bytes}")))?;
        let payload = Payload::parse(bytes).map_err(bad)?;
        let shown = Credentials { token: payload.token.as_deref(), subject: None, local: false };
        let asker = match (self.trust, &payload.token) {
            (Trust::Broker, None) => Asker::Broker,
            _ => match self.auth.identify(shown, clock::judged()) {
                Ok(identity) => Asker::Known(Arc::new(identity)),
                Err(why) => self.nobody(&why)?,
            },
        };
        Ok(Request {
            source: Source::Mqtt,
            asker,
            address: None,
            id: Some(id.to_owned()),
            terminal: terminal.to_owned(),
            deadline: payload.deadline(),
            verb: payload.verb,
            arguments: payload.args,
        })
    }

    /// Who somebody is that is nobody here. Guessing is slowed for all who show what is not good, and for nobody else.
    fn nobody(&self, why: &auth::Refusal) -> Result<Asker, Refusal> {
        let asker = match why {
            auth::Refusal::Missing | auth::Refusal::Unmapped(_) => return Ok(Asker::Nobody),
            auth::Refusal::Invalid => Asker::Stranger,
            auth::Refusal::Expired(id) => Asker::Former(id.clone()),
        };
        match self.counter.refusals().bad_token(Instant::now()) {
            None => Ok(asker),
            Some(pause) => {
                let seconds = pause.as_secs().saturating_add(1);
                let why = format!(
                    "too many bad tokens came from the broker: show no other for {seconds} s; a good one is taken at any time"
                );
                Err(Refusal::new(Code::Unauthorised, why))
            }
        }
    }
}
