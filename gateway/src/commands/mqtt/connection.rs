//! One connection for commands, from its welcome to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, Filter, Packet, PubAckReason, Publish, RetainForwardRule, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{Parts, Wanted};
use crate::auth::Credentials;
use crate::clock;
use crate::command::{Asker, Code, Desk, Refusal, Request, Source};
use crate::commands::payload::Payload;
use crate::commands::{Trust, payload};
use crate::log::{CommandChange, Log, LogError, Submission};

/// Words of the broker that wait for us: more than it may send before we answer.
const WORDS: usize = 64;
/// Longest wait for a farewell to leave.
const FAREWELL: Duration = Duration::from_millis(500);

/// What became of a message that came in.
struct Dealt {
    publish: Publish,
    /// Why it became no command.
    refusal: Option<(String, String)>,
    /// Whether it is dealt with for good, and may be acknowledged.
    kept: bool,
}

/// What is under way to the broker.
enum Flight {
    /// How a command ended.
    Result(Source, String),
    /// Why something became none.
    Refusal,
    /// Somebody's message.
    Wanted(oneshot::Sender<()>),
}

/// A connection.
pub(super) struct Connection<'a> {
    parts: &'a Parts,
    client: AsyncClient,
    words: mpsc::Receiver<Result<Packet, ConnectionError>>,
    pump: JoinHandle<()>,
    dealing: FuturesOrdered<BoxFuture<'static, Dealt>>,
    refusals: VecDeque<(String, String)>,
    flight: Option<(Flight, Instant)>,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl<'a> Connection<'a> {
    pub(super) fn new(parts: &'a Parts, client: AsyncClient, mut eventloop: EventLoop) -> Connection<'a> {
        let (sender, words) = mpsc::channel(WORDS);
        // A task of its own: a wait for the library that is given up could lose what it had begun.
        let pump = tokio::spawn(async move {
            loop {
                let word = match eventloop.poll().await {
                    Ok(Event::Incoming(packet)) => Ok(packet),
                    Ok(Event::Outgoing(_)) => continue,
                    Err(error) => Err(error),
                };
                let last = word.is_err();
                if sender.send(word).await.is_err() || last {
                    return;
                }
            }
        });
        let dealing = FuturesOrdered::new();
        Connection { parts, client, words, pump, dealing, refusals: VecDeque::new(), flight: None }
    }

    /// Serves until its end; whether it ever was up, and why it ended.
    pub(super) async fn run(
        mut self,
        wanted: &mut mpsc::Receiver<Wanted>,
        connected: &watch::Sender<bool>,
    ) -> (bool, String) {
        match self.welcome().await {
            Err(end) => (false, end),
            Ok(()) => {
                connected.send_replace(true);
                self.parts.metrics.commands_connected.set(1);
                tracing::info!("Commands are heard from the broker.");
                let end = self.serve(wanted).await.err().unwrap_or_default();
                (true, end)
            }
        }
    }

    async fn word(words: &mut mpsc::Receiver<Result<Packet, ConnectionError>>) -> Result<Packet, String> {
        match words.recv().await {
            Some(word) => word.map_err(|error| error.to_string()),
            None => Err("the connection ended".to_owned()),
        }
    }

    async fn welcome(&mut self) -> Result<(), String> {
        let stop = self.parts.stop.clone();
        let word = tokio::select! {
            word = Self::word(&mut self.words) => word?,
            () = stop.cancelled() => return Err("the gateway stops".to_owned()),
        };
        let Packet::ConnAck(welcome) = word else { return Err("the broker did not answer our greeting".to_owned()) };
        if welcome.code != ConnectReturnCode::Success {
            return Err(format!("the broker refused us: {:?}", welcome.code));
        }
        if self.parts.config.mqtt {
            let mut filter = Filter::new(format!("{}+/command/+", self.parts.broker.front), QoS::AtLeastOnce);
            // A command that was kept for whoever comes is no command.
            filter.retain_forward_rule = RetainForwardRule::Never;
            self.client.try_subscribe_many([filter]).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn serve(&mut self, wanted: &mut mpsc::Receiver<Wanted>) -> Result<(), String> {
        let stop = self.parts.stop.clone();
        let mut rows = self.parts.log.command_changes();
        loop {
            if self.flight.is_none() {
                rows.mark_unchanged();
                self.tell_next()?;
            }
            let late = self.flight.as_ref().map(|(_, late)| *late);
            tokio::select! {
                word = Self::word(&mut self.words) => self.hear(word?).await?,
                Some(dealt) = self.dealing.next(), if !self.dealing.is_empty() => self.dealt(dealt)?,
                Some(Wanted { topic, payload, has }) = wanted.recv(), if late.is_none() => {
                    self.publish(topic, payload, Flight::Wanted(has))?;
                }
                changed = rows.changed(), if late.is_none() => changed.map_err(|_| "the event log has stopped".to_owned())?,
                () = at(late) => return Err("the broker did not acknowledge in time".to_owned()),
                () = stop.cancelled() => {
                    let _ = self.client.try_disconnect();
                    let _ = tokio::time::timeout(FAREWELL, &mut self.pump).await;
                    return Ok(());
                }
            }
        }
    }

    async fn hear(&mut self, word: Packet) -> Result<(), String> {
        match word {
            Packet::Publish(publish) => {
                let deal = deal(publish, self.parts);
                self.dealing.push_back(deal);
            }
            Packet::PubAck(ack) => match self.flight.take() {
                Some((flight, _)) => self.landed(flight, ack.reason).await?,
                None => return Err("the broker acknowledged what it was not given".to_owned()),
            },
            Packet::SubAck(ack) => {
                let taken = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                if !ack.return_codes.iter().all(taken) {
                    // An access list is mended by people: the connection may still carry results and relays.
                    tracing::error!(codes = ?ack.return_codes, "The broker lets us hear no commands.");
                }
            }
            Packet::Disconnect(end) => return Err(format!("the broker ended the connection: {:?}", end.reason_code)),
            _ => {}
        }
        Ok(())
    }

    /// Acknowledges what is kept, in the order in which it came. What could not be kept comes again with the next
    /// connection.
    fn dealt(&mut self, dealt: Dealt) -> Result<(), String> {
        if !dealt.kept {
            return Err("a command could not be kept".to_owned());
        }
        self.refusals.extend(dealt.refusal);
        self.client.try_ack(&dealt.publish).map_err(|error| error.to_string())
    }

    /// Tells the next thing that there is to tell.
    fn tell_next(&mut self) -> Result<(), String> {
        if let Some((topic, payload)) = self.refusals.pop_front() {
            return self.publish(topic, payload, Flight::Refusal);
        }
        let untold = self.parts.log.untold_commands(1).map_err(|error| error.to_string())?;
        let Some(kept) = untold.into_iter().next() else { return Ok(()) };
        let topic = payload::result_topic(&self.parts.broker.front, &kept.command.terminal, &kept.command.id);
        self.publish(topic, payload::result(&kept.command), Flight::Result(kept.command.source, kept.command.id))
    }

    fn publish(&mut self, topic: String, payload: String, flight: Flight) -> Result<(), String> {
        self.client.try_publish(topic, QoS::AtLeastOnce, false, payload).map_err(|error| error.to_string())?;
        let late = Duration::from_secs(u64::from(self.parts.broker.ack_timeout_s.max(1)));
        self.flight = Some((flight, Instant::now() + late));
        Ok(())
    }

    /// The broker has it, or will not have it.
    async fn landed(&mut self, flight: Flight, reason: PubAckReason) -> Result<(), String> {
        let taken = matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
        if !taken {
            tracing::error!(?reason, "The broker does not take what the commands' connection says.");
        }
        match flight {
            // What the broker will not have would be told for ever: its event is in the log all the same.
            Flight::Result(source, id) => told(&self.parts.log, source, id).await,
            Flight::Wanted(has) if taken => {
                // Whoever wanted it may have gone.
                let _ = has.send(());
                Ok(())
            }
            Flight::Wanted(_) | Flight::Refusal => Ok(()),
        }
    }
}

async fn told(log: &Log, source: Source, id: String) -> Result<(), String> {
    let commands = vec![CommandChange::Told(source, id)];
    log.submit(Submission { commands, ..Submission::default() }).await.map(drop).map_err(|error| error.to_string())
}

/// Makes a command of a message.
fn deal(publish: Publish, parts: &Parts) -> BoxFuture<'static, Dealt> {
    let (front, counter, log) = (parts.broker.front.clone(), Arc::clone(&parts.counter), parts.log.clone());
    let (auth, trust) = (parts.auth.clone(), parts.config.mqtt_trust);
    Box::pin(async move {
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let Some((terminal, id)) = payload::address(&front, &topic) else {
            return Dealt { publish, refusal: None, kept: true };
        };
        let outcome = match request(&publish, terminal, id, trust, &auth) {
            Ok(request) => counter.ask(request).await,
            Err(refusal) => Err(refusal),
        };
        match outcome {
            // One that had ended before is told once more.
            Ok(command) if command.state.is_final() => {
                let commands = vec![CommandChange::Untold(command.source, command.id)];
                let again = log.submit(Submission { commands, ..Submission::default() }).await;
                Dealt { publish, refusal: None, kept: !matches!(again, Err(LogError::Stopped | LogError::NoRoom(_))) }
            }
            Ok(_) => Dealt { publish, refusal: None, kept: true },
            Err(refusal) if matches!(refusal.code, Code::Unavailable | Code::DiskFull) => {
                Dealt { publish, refusal: None, kept: false }
            }
            Err(refusal) => {
                let told = (payload::result_topic(&front, terminal, id), payload::refusal(terminal, id, &refusal));
                // What cannot be a level of a topic has no topic to be told on.
                let named = crate::command::is_id(terminal) && crate::command::is_id(id);
                Dealt { publish, refusal: named.then_some(told), kept: true }
            }
        }
    })
}

fn request(
    publish: &Publish,
    terminal: &str,
    id: &str,
    trust: Trust,
    auth: &crate::auth::Auth,
) -> Result<Request, Refusal> {
    if publish.retain {
        return Err(Refusal::new(Code::BadRequest, "a retained message is no command"));
    }
    let payload = Payload::parse(&publish.payload).map_err(|why| Refusal::new(Code::BadRequest, why))?;
    let shown = Credentials { token: payload.token.as_deref(), subject: None, local: false };
    let asker = match (trust, &payload.token) {
        (Trust::Broker, None) => Asker::Broker,
        _ => match auth.identify(shown, clock::judged()) {
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

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
