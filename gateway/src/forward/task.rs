//! The forwarder's task: connect, forward until the connection ends, wait, again.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::{self, MissedTickBehavior};

use super::connection::Connection;
use super::flow;
use super::health::Status;
use super::session::{Left, Lost, Session};
use crate::log::LogError;
use crate::mqtt::{Broken, Client, Door, Greeting, Limits, Resume, Unfit, chance};

/// A connection that lasted this long was a good one; so was one that took a whole window of events.
const STABLE: Duration = Duration::from_secs(10);
/// How often the gauges are brought up to date while nothing happens.
const REFRESH: Duration = Duration::from_secs(1);

impl Session {
    /// Forwards until stopped, or until the log has stopped.
    pub(super) async fn run(mut self) {
        match self.log.follow().await {
            Ok((progress, moves)) => (self.progress, self.moves) = (progress, moves),
            Err(error) => return tracing::error!(%error, "the forwarder's position cannot be read"),
        }
        self.refresh(0);
        while !self.stop.is_cancelled() {
            self.show_broker(false);
            let mut good = false;
            let mut connected = false;
            let end = self.connect(&mut connected, &mut good).await;
            self.metrics.forward_connected.set(0);
            self.show_broker(false);
            self.refresh(0);
            match end {
                Ok(Left::Stopped) => return,
                Ok(Left::ForNewFiles) => continue,
                Err(Lost::Log(LogError::Stopped)) => {
                    return tracing::error!("the forwarder ends: the event log has stopped");
                }
                Err(lost) => self.complain(&lost, connected),
            }
            if let Some(pause) = self.round.next(good)
                && self.pause(pause).await.is_err()
            {
                return tracing::error!("the forwarder ends: the event log has stopped");
            }
        }
    }

    /// One connection from its first byte to its end. `connected` tells whether the broker had accepted us, `good`
    /// whether it took something from us or lasted for a while.
    async fn connect(&mut self, connected: &mut bool, good: &mut bool) -> Result<Left, Lost> {
        self.catch_up(None).await?;
        self.refused.retain(|seq, _| !self.progress.is_settled(*seq));
        let Some(address) = self.round.current().cloned() else { return Err(Lost::Unsuitable("it has no address")) };
        let broker = self.broker.clone();
        let door = tokio::task::spawn_blocking(move || broker.door(address)).await;
        let door = door.map_err(|error| Unfit("internal", error.to_string()))??;
        // Half of the random number: what every JSON reader can hold.
        let number = u32::try_from(chance() >> 32).unwrap_or_default();
        let greeting = Greeting {
            client_id: self.broker.client_id.clone(),
            keep_alive_s: self.broker.keep_alive_s,
            will: Some(self.health(Status::Offline, number)),
            session: Resume::Never,
        };
        let Some((client, limits)) = self.welcome(&door, &greeting).await? else { return Ok(Left::Stopped) };
        if !limits.acknowledges {
            return Err(Lost::Unsuitable("it takes no QoS 1"));
        }
        let mut connection = Connection::new(self, client, limits, door.watch, number);
        let since = Instant::now();
        *connected = true;
        self.metrics.forward_connections.with_label_values(&["connected"]).inc();
        self.metrics.forward_connected.set(1);
        self.show_broker(true);
        let pending = self.progress.pending(*self.head.borrow());
        self.round.connected();
        if let Some(address) = self.round.current() {
            tracing::info!(broker = %address, version = self.config.version.name(), pending, "connected to the broker");
        }
        self.publish_health(&mut connection, Status::Online)?;
        let end = self.forward(&mut connection).await;
        self.save(&connection);
        *good = since.elapsed() >= STABLE || connection.accepted() >= u64::from(self.config.window);
        if end.is_ok() {
            connection.client.leave().await;
        }
        end
    }

    /// Waits for the broker's acceptance; `None` where we were asked to stop first.
    async fn welcome(&self, door: &Door, greeting: &Greeting) -> Result<Option<(Client, Limits)>, Broken> {
        let mut connect = pin!(door.open(greeting));
        let mut refresh = time::interval(REFRESH);
        loop {
            tokio::select! {
                connected = &mut connect => return connected.map(Some),
                () = self.stop.cancelled() => return Ok(None),
                _ = refresh.tick() => self.refresh(0),
            }
        }
    }

    async fn forward(&mut self, connection: &mut Connection) -> Result<Left, Lost> {
        let mut check = time::interval(
            (Duration::from_secs(u64::from(self.config.ack_timeout_s)) / 10).clamp(Duration::from_millis(100), REFRESH),
        );
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(left) = self.fill(connection, Instant::now())? {
                return Ok(left);
            }
            let (goes_on, reads) = (connection.goes_on(), connection.may_read());
            let due = self.batch_due(connection);
            tokio::select! {
                word = connection.client.hear() => {
                    let now = Instant::now();
                    self.hear(connection, word?, now)?;
                    // What has arrived with it is taken in the same round.
                    while let Some(word) = connection.client.heard()? {
                        self.hear(connection, word, now)?;
                    }
                }
                rows = flow::read(&mut connection.reading) => {
                    let (read, rows) = rows?;
                    self.take_rows(connection, read, rows);
                }
                changed = self.head.changed(), if reads => changed.map_err(|_| LogError::Stopped)?,
                Some(moved) = self.moves.recv(), if reads => {
                    let revived = self.catch_up(Some(moved)).await?;
                    self.revive(connection, revived);
                }
                () = time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() && connection.has_room() => {}
                () = self.stop.cancelled(), if goes_on => self.drain(connection),
                _ = check.tick() => self.check(connection, Instant::now()).await?,
            }
            self.save(connection);
        }
    }

    /// Tells the log what was dealt with, and shows it.
    fn save(&mut self, connection: &Connection) {
        if !self.unsaved.is_empty() {
            self.log.settle(std::mem::take(&mut self.unsaved));
        }
        self.metrics.forward_held.set(i64::try_from(connection.held()).unwrap_or(i64::MAX));
        self.refresh(connection.in_flight());
    }

    /// Counts an attempt that failed, and says what is wrong when it was not said before.
    fn complain(&mut self, lost: &Lost, connected: bool) {
        if !connected {
            let outcome = match lost {
                Lost::Client(broken) => broken.outcome(),
                Lost::Unsuitable(_) => "refused",
                _ => "failed",
            };
            self.metrics.forward_connections.with_label_values(&[outcome]).inc();
        }
        if matches!(lost, Lost::AckTimeout(_)) {
            self.limit = (self.limit / 2).max(1);
        }
        let reason = lost.to_string();
        if let Some(address) = self.round.complain(&reason) {
            let what = if connected { "lost the broker" } else { "not connected to the broker" };
            tracing::warn!(broker = %address, reason, "{what}; events are kept");
        }
    }

    /// Waits before the next attempt, or until we are asked to stop.
    async fn pause(&mut self, pause: Duration) -> Result<(), LogError> {
        let mut pause = pin!(time::sleep(pause));
        let mut refresh = time::interval(REFRESH);
        loop {
            tokio::select! {
                () = &mut pause => return Ok(()),
                () = self.stop.cancelled() => return Ok(()),
                _ = refresh.tick() => {
                    self.catch_up(None).await?;
                    self.refresh(0);
                }
            }
        }
    }
}
