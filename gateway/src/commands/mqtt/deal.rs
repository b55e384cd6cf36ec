//! A message from the broker made into a command, or into a word why it is none.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Parts;
use crate::auth::{Auth, Credentials};
use crate::clock;
use crate::command::{Asker, Code, Refusal, Request, Source};
use crate::commands::payload::{self, Payload};
use crate::commands::{Counter, Trust};
use crate::log::{CommandChange, Log, LogError, Submission};
use crate::mqtt::{Delivery, MAX_INCOMING};

/// What became of a message that came in.
pub(super) struct Dealt {
    /// What it is acknowledged by.
    pub(super) id: Option<u16>,
    /// Where, and in which words, it is said why it became no command. It is acknowledged once this is said.
    pub(super) refusal: Option<(String, String)>,
    /// Whether it is dealt with for good: what could not be kept must come again.
    pub(super) kept: bool,
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
        let Some((terminal, id)) = payload::address(&self.front, &delivery.topic) else { return done };
        let outcome = match self.request(&delivery, terminal, id) {
            Ok(request) => self.counter.take(request).await,
            Err(refusal) => Err(refusal),
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
            Err(refusal) => {
                let told = (payload::result_topic(&self.front, terminal, id), payload::refusal(terminal, id, &refusal));
                // What cannot be a level of a topic has no topic to be told on.
                let named = crate::command::is_id(terminal) && crate::command::is_id(id);
                Dealt { refusal: named.then_some(told), ..done }
            }
        }
    }

    fn request(&self, delivery: &Delivery, terminal: &str, id: &str) -> Result<Request, Refusal> {
        let bad = |why: String| Refusal::new(Code::BadRequest, why);
        if delivery.retained {
            return Err(bad("a retained message is no command".to_owned()));
        }
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
                Err(_) => Asker::Nobody,
            },
        };
        Ok(Request {
            source: Source::Mqtt,
            asker,
            id: Some(id.to_owned()),
            terminal: terminal.to_owned(),
            deadline: payload.deadline(),
            verb: payload.verb,
            arguments: payload.args,
        })
    }
}
