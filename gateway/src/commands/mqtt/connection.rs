//! One connection for commands, from its welcome to its end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{self, MissedTickBehavior};

use super::deal::{Dealt, deal};
use super::{AT_ONCE, Left, Lost, Parts, Wanted};
use crate::command::Source;
use crate::commands::payload;
use crate::log::{CommandChange, LogError, Submission};
use crate::mqtt::{Broken, Client, Delivery, Limits, Publication, Verdict, Word};
use crate::watch::Watch;

/// How often we look at files, at the ping and at what is late.
const CHECK: Duration = Duration::from_secs(1);
/// Pause before a subscription that the broker has refused is tried again: an access list is mended by people.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(60);
/// Pause after something that the broker did not take.
const PUT_OFF: Duration = Duration::from_secs(1);
/// Most refusals that wait for their turn although nobody waits for an acknowledgement of theirs (QoS 0).
const UNASKED: usize = 64;

/// What is under way to the broker.
enum Flight {
    /// How a command ended.
    Result(Source, String),
    /// Why the first of the answers became none.
    Refusal,
    /// Somebody's message.
    Wanted(oneshot::Sender<Verdict>),
}

/// How far the subscription is.
enum Subscription {
    /// It is made at this time.
    Due(Instant),
    /// It was asked for under this packet id, and is answered until then.
    Asked(u16, Instant),
    /// It is in force, or none is wanted.
    Settled,
}

/// A connection.
pub(super) struct Connection<'a> {
    parts: &'a Parts,
    client: Client,
    subscription: Subscription,
    /// Messages that are made into commands, in the order in which they came.
    dealing: FuturesOrdered<BoxFuture<'static, Dealt>>,
    /// Those that are dealt with, and not yet acknowledged: that is done in their order, too.
    answers: VecDeque<Dealt>,
    /// What is under way: its packet id, and until when it is to be acknowledged.
    flight: Option<(u16, Flight, Instant)>,
    last_id: u16,
    max_packet: usize,
    watch: Watch,
    /// Nothing is told before this: the broker has put something off.
    quiet_until: Instant,
    leaving: bool,
    carried: bool,
}

impl<'a> Connection<'a> {
    /// Behind the broker's welcome.
    pub(super) fn new(parts: &'a Parts, client: Client, limits: Limits, watch: Watch) -> Connection<'a> {
        let packet = parts.broker.max_packet_bytes.min(limits.packet);
        parts.metrics.commands_connected.set(i64::from(!parts.config.mqtt));
        Connection {
            parts,
            client,
            // Whatever the broker says that it has kept: a line may have been cut between a session's begin and its
            // subscription, and saying it again changes nothing.
            subscription: if parts.config.mqtt { Subscription::Due(Instant::now()) } else { Subscription::Settled },
            dealing: FuturesOrdered::new(),
            answers: VecDeque::new(),
            flight: None,
            last_id: 0,
            max_packet: usize::try_from(packet).unwrap_or(usize::MAX),
            watch,
            quiet_until: Instant::now(),
            leaving: false,
            carried: false,
        }
    }

    /// Whether the broker has brought or taken something.
    pub(super) fn carried(&self) -> bool {
        self.carried
    }

    /// Says farewell.
    pub(super) async fn leave(self) {
        self.client.leave().await;
    }

    /// Serves until its end.
    pub(super) async fn serve(&mut self, wanted: &mut mpsc::Receiver<Wanted>) -> Result<Left, Lost> {
        let stop = self.parts.stop.clone();
        let mut rows = self.parts.log.command_changes();
        let mut check = time::interval(CHECK.min(self.parts.broker.patience() / 4));
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.acknowledge();
            if self.leaving && self.flight.is_none() {
                return Ok(Left::ForNewFiles);
            }
            if self.flight.is_none() && Instant::now() >= self.quiet_until {
                rows.mark_unchanged();
                while self.flight.is_none() && self.tell_next().await? {
                    self.acknowledge();
                }
            }
            // While enough is being dealt with, the rest waits at the broker or on the line.
            let hears = self.dealing.len() < usize::from(AT_ONCE);
            let idle = self.flight.is_none() && !self.leaving;
            tokio::select! {
                word = self.client.hear(), if hears => self.hear(word?).await?,
                Some(dealt) = self.dealing.next(), if !self.dealing.is_empty() => self.dealt(dealt)?,
                Some(wanted) = wanted.recv(), if idle => self.say(wanted).await?,
                changed = rows.changed(), if idle => changed.map_err(|_| LogError::Stopped)?,
                _ = check.tick() => self.check(Instant::now()).await?,
                () = stop.cancelled() => return Ok(Left::Stopped),
            }
        }
    }

    /// Says somebody's message, unless it was given up meanwhile.
    async fn say(&mut self, Wanted { topic, payload, begun }: Wanted) -> Result<(), Lost> {
        let (has, verdict) = oneshot::channel();
        match begun.send(verdict) {
            Ok(()) => self.publish(topic, payload, Flight::Wanted(has)).await,
            Err(_) => Ok(()),
        }
    }

    /// What is due now and then: what is late, the ping, the subscription, changed files.
    async fn check(&mut self, now: Instant) -> Result<(), Lost> {
        let patience = self.parts.broker.patience();
        let late = match (&self.flight, &self.subscription) {
            (Some((.., until)), _) if now >= *until => true,
            (_, Subscription::Asked(_, until)) => now >= *until,
            _ => false,
        };
        if late {
            return Err(Lost::AckTimeout(patience));
        }
        self.client.keep_alive(now, patience)?;
        if let Subscription::Due(at) = self.subscription
            && now >= at
        {
            let id = self.next_id();
            self.client.subscribe(format!("{}+/command/+", self.parts.front), id)?;
            self.subscription = Subscription::Asked(id, now + patience);
        }
        if !self.leaving {
            self.leaving = self.parts.broker.changed_files(&mut self.watch).await == Some(true);
        }
        Ok(())
    }

    async fn hear(&mut self, word: Word) -> Result<(), Lost> {
        match word {
            Word::Delivery(delivery) => self.take(delivery),
            Word::Ack(id, verdict) => match self.flight.take_if(|(flying, ..)| *flying == id) {
                Some((_, flight, _)) => self.landed(flight, verdict).await?,
                // Twice, or late from another life of the line: nothing waits for it.
                None => tracing::debug!(id, "The broker acknowledges what is not under way."),
            },
            Word::Subscribed(id, granted) => {
                if matches!(self.subscription, Subscription::Asked(asked, _) if asked == id) {
                    self.subscription = if granted {
                        tracing::info!("Commands are heard from the broker.");
                        self.parts.metrics.commands_connected.set(1);
                        Subscription::Settled
                    } else {
                        // The connection may still carry results and relays.
                        tracing::error!(again_in = ?SUBSCRIBE_AGAIN, "The broker lets us hear no commands.");
                        Subscription::Due(Instant::now() + SUBSCRIBE_AGAIN)
                    };
                }
            }
            Word::Pong => {}
            Word::Goodbye(why) => return Err(Broken::Ended(why).into()),
            Word::Welcome(_) | Word::Refusal(_) => {
                return Err(Broken::Ended("it answered our greeting twice".to_owned()).into());
            }
        }
        Ok(())
    }

    fn take(&mut self, delivery: Delivery) {
        self.carried = true;
        let deal = deal(delivery, self.parts);
        self.dealing.push_back(deal);
    }

    /// What could not be kept comes again with the next connection.
    fn dealt(&mut self, dealt: Dealt) -> Result<(), Lost> {
        if !dealt.kept {
            return Err(Lost::NotKept);
        }
        if dealt.id.is_some() || self.answers.len() < UNASKED {
            self.answers.push_back(dealt);
        }
        Ok(())
    }

    /// Acknowledges what is dealt with, in the order in which it came, up to the first of which it is still to be said
    /// why it became no command.
    fn acknowledge(&mut self) {
        while let Some(dealt) = self.answers.pop_front_if(|dealt| dealt.refusal.is_none()) {
            if let Some(id) = dealt.id {
                self.client.acknowledge(id);
            }
        }
    }

    /// Tells the next thing that there is to tell; false where there is none.
    async fn tell_next(&mut self) -> Result<bool, Lost> {
        if let Some(word) = self.answers.front().and_then(|first| first.refusal.clone()) {
            // A command's topic tells of that command alone, whoever else has used its id.
            let known = self.parts.log.command(Source::Mqtt, &word.id)?;
            if known.is_some_and(|command| command.terminal == word.terminal) {
                self.said();
            } else {
                self.publish(word.topic, word.payload, Flight::Refusal).await?;
            }
            return Ok(true);
        }
        let untold = self.parts.log.untold_commands(1)?;
        let Some(kept) = untold.into_iter().next() else { return Ok(false) };
        let topic = payload::result_topic(&self.parts.front, &kept.command.terminal, &kept.command.id);
        let flight = Flight::Result(kept.command.source, kept.command.id.clone());
        self.publish(topic, payload::result(&kept.command), flight).await?;
        Ok(true)
    }

    async fn publish(&mut self, topic: String, payload: String, flight: Flight) -> Result<(), Lost> {
        let packet = self.parts.broker.version.packet(Publication {
            topic,
            payload: payload.into(),
            retain: false,
            content: None,
        });
        if packet.size() > self.max_packet {
            return self.landed(flight, Verdict::Never("it is larger than the broker takes")).await;
        }
        let id = self.next_id();
        self.flight = Some((id, flight, Instant::now() + self.parts.broker.patience()));
        Ok(self.client.say(packet, id)?)
    }

    /// The broker has it, or will not have it.
    async fn landed(&mut self, flight: Flight, verdict: Verdict) -> Result<(), Lost> {
        let taken = verdict == Verdict::Accepted;
        self.carried |= taken;
        if !taken {
            tracing::warn!(?verdict, "The broker does not take what the commands' connection says.");
            self.quiet_until = Instant::now() + PUT_OFF;
        }
        match flight {
            // It is told again.
            Flight::Result(..) | Flight::Refusal if matches!(verdict, Verdict::Later(_)) => {}
            // What the broker will not have would be told for ever: its event is in the log all the same.
            Flight::Result(source, id) => {
                let commands = vec![CommandChange::Told(source, id)];
                self.parts.log.submit(Submission { commands, ..Submission::default() }).await?;
            }
            Flight::Refusal => self.said(),
            Flight::Wanted(has) => {
                // Whoever wanted it may have gone.
                let _ = has.send(verdict);
            }
        }
        Ok(())
    }

    /// There is nothing more to say of the first of the answers.
    fn said(&mut self) {
        if let Some(first) = self.answers.front_mut() {
            first.refusal = None;
        }
    }

    /// Ids go round through all that there are, so that an acknowledgement that comes twice finds nothing.
    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }
}
