//! The forwarder's task: connect, forward until the connection ends, wait, again.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::{self, MissedTickBehavior};

use super::connection::Connection;
use super::flow;
use super::health::Status;
use super::session::{Left, Lost, Session};
use crate::backoff::chance;
use crate::log::LogError;
use crate::mqtt::{Ended, Greeting, Keeper, Opened, Resume};

/// How often the gauges are brought up to date while nothing happens.
const REFRESH: Duration = Duration::from_secs(1);

impl Session {
    /// Forwards until stopped, or until the log has stopped.
    pub(super) async fn run(mut self) {
        match self.log.follow().await {
            Ok((progress, moves)) => (self.progress, self.moves) = (progress, moves),
            Err(error) => return tracing::error!(%error, "the forwarder's position cannot be read"),
        }
        let attempts = self.metrics.forward_connections.clone();
        let mut keeper = Keeper::new(self.broker.clone(), attempts, "events are kept", self.stop.clone());
        loop {
            self.metrics.forward_connected.set(0);
            self.show_broker(&keeper, false);
            self.refresh(0);
            // Half of the random number: what every JSON reader can hold.
            let number = u32::try_from(chance() >> 32).unwrap_or_default();
            let end = match self.opened(&mut keeper, number).await {
                Ok(None) => return,
                Ok(Some(opened)) => {
                    self.metrics.forward_connected.set(1);
                    self.show_broker(&keeper, true);
                    self.serve(opened, number).await
                }
                Err(error) => Err((error.into(), false)),
            };
            match end {
                Ok(Left::Stopped) => return,
                Ok(Left::ForNewFiles) => {}
                Err((Lost::Log(LogError::Stopped), _)) => {
                    return tracing::error!("the forwarder ends: the event log has stopped");
                }
                Err((lost, good)) => {
                    if matches!(lost, Lost::AckTimeout(_)) {
                        self.limit = (self.limit / 2).max(1);
                    }
                    keeper.lost(&Ended { why: lost.to_string(), cut: lost.is_cut(), good });
                }
            }
        }
    }

    /// The next connection that a broker accepts; meanwhile the gauges are kept. `None` where we are asked to stop.
    async fn opened(&mut self, keeper: &mut Keeper, number: u32) -> Result<Option<Opened>, LogError> {
        let greeting = Greeting {
            client_id: self.broker.client_id.clone(),
            keep_alive_s: self.broker.keep_alive_s,
            will: Some(self.health(Status::Offline, number)),
            session: Resume::Never,
        };
        let mut connecting = pin!(keeper.connect(&greeting));
        let mut refresh = time::interval(REFRESH);
        loop {
            tokio::select! {
                opened = &mut connecting => return Ok(opened),
                _ = refresh.tick() => {
                    self.catch_up(None).await?;
                    self.refresh(0);
                }
            }
        }
    }

    /// One connection from the broker's welcome to its end; with a loss, whether it was a good one.
    async fn serve(&mut self, opened: Opened, number: u32) -> Result<Left, (Lost, bool)> {
        let Opened { client, limits, watch, address, is_news } = opened;
        self.catch_up(None).await.map_err(|error| (error.into(), false))?;
        self.refused.retain(|seq, _| !self.progress.is_settled(*seq));
        self.doubts.retain(|seq| !self.progress.is_settled(seq));
        self.show_certificates(client.expiries());
        let mut connection = Connection::new(self, client, limits, watch, number);
        if is_news {
            let pending = self.progress.pending(*self.head.borrow());
            tracing::info!(broker = %address, version = self.config.version.name(), pending, "connected to the broker");
        }
        let end = match self.publish_health(&mut connection, Status::Online) {
            Ok(()) => self.forward(&mut connection).await,
            Err(lost) => Err(lost),
        };
        match end {
            Ok(left) => {
                self.save(&connection);
                connection.client.leave().await;
                Ok(left)
            }
            Err(lost) => {
                let good = self.was_good(&connection, &lost, Instant::now()) | self.learn(&mut connection, &lost);
                self.save(&connection);
                Err((lost, good))
            }
        }
    }

    /// Whether the broker did what it is there for: it took a whole window of events, or left nothing unanswered for a while.
    /// To have accepted us, and to stay, is not enough: another broker may take what this one does not.
    fn was_good(&self, connection: &Connection, lost: &Lost, now: Instant) -> bool {
        !matches!(lost, Lost::TakesNothing(_))
            && (connection.accepted() >= u64::from(self.config.window) || Keeper::is_good(connection.served(now)))
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
            let may_send = connection.has_room() && !self.waits(connection);
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
                () = time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() && may_send => {}
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
        self.metrics
            .forward_held
            .set(i64::try_from(connection.held() + self.doubts.accused().count()).unwrap_or(i64::MAX));
        self.refresh(connection.in_flight());
    }
}
