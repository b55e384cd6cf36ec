//! Kills at random moments of a gateway's whole life, and starts again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use vestibule::simulate::Random;

use crate::Figures;
use crate::branch::Branch;
use crate::branch::process::FINE;
use crate::seen::{Seen, Witness};

/// Lines answered while the broker is away: the gateway goes on without it.
const BROKER_AWAY: u64 = 200;
/// Most of the wait between an answer and the kill.
const JITTER: Duration = Duration::from_millis(20);
/// The same between the begin of a checkpoint and the kill.
const COPYING: Duration = Duration::from_millis(2);
/// How long a checkpoint is waited for; then the kill falls where it falls, and counts as that.
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked for: it lasts some milliseconds.
const LOOK: Duration = Duration::from_micros(200);
/// Starts and stops that are measured before the first kill.
const MEASURED: usize = 3;

/// Where in its life the gateway is to be killed. Where it was is another question: [`Seen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// Just after an answer.
    Running,
    /// It has just been started.
    Starting,
    /// It writes its log back into the store.
    Checkpoint,
    /// It was asked to end.
    Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    BrokerBack,
    KillBroker,
    KillGateway(Moment),
}

/// When each blow falls: after so many answered lines.
fn plan(figures: Figures, random: &mut Random) -> Vec<(u64, Blow)> {
    use Moment::{Checkpoint, Running, Starting, Stopping};
    const MOMENTS: [Moment; 8] = [Running, Running, Running, Running, Starting, Starting, Checkpoint, Stopping];
    // Not in the very last lines: something has to be left to be lost.
    let end = figures.events * 95 / 100;
    let kills = (0..figures.gateway_kills).map(|_| (below(random, end), Blow::KillGateway(*random.pick(&MOMENTS))));
    let mut blows: Vec<(u64, Blow)> = kills.collect();
    let slice = end / figures.broker_kills.max(1);
    for kill in 0..figures.broker_kills {
        let at = kill * slice + below(random, slice / 2);
        blows.push((at, Blow::KillBroker));
        blows.push((at + BROKER_AWAY.min(slice / 2), Blow::BrokerBack));
    }
    blows.sort_unstable();
    blows
}

fn below(random: &mut Random, bound: u64) -> u64 {
    u64::from(random.below(u32::try_from(bound.max(1)).unwrap_or(u32::MAX)))
}

/// Lets all blows fall; says where in its life the gateway was seen at each.
pub(crate) async fn rage(figures: Figures, branch: &mut Branch, store: &Path) -> String {
    let mut random = Random::new(figures.seed);
    let blows = plan(figures, &mut random);
    let (start, stop) = measure(branch).await;
    let mut rage = Rage { branch, witness: Witness::of(store), random, start, stop, seen: BTreeMap::new() };
    for (at, blow) in &blows {
        rage.branch.load.reaches(*at, &mut rage.branch.gateway).await;
        match blow {
            Blow::KillGateway(moment) => rage.kill(*moment).await,
            Blow::KillBroker => rage.branch.broker.kill(),
            Blow::BrokerBack => rage.branch.broker.restart().await,
        }
    }
    for (moment, wanted) in
        [(Moment::Starting, Seen::Starting), (Moment::Checkpoint, Seen::Checkpoint), (Moment::Stopping, Seen::Stopping)]
    {
        let planned = blows.iter().filter(|(_, blow)| *blow == Blow::KillGateway(moment)).count();
        // A checkpoint may be waited for in vain, where the load is over; all else is done until it is seen.
        let least = if moment == Moment::Checkpoint { planned / 4 } else { planned };
        let seen = rage.seen.get(&wanted).copied().unwrap_or_default();
        assert!(seen >= least, "{planned} kills were to fall where it was {wanted:?}: {:?}", rage.seen);
    }
    format!("a start took {start:?}, a stop {stop:?}; seen at the kills: {:?}", rage.seen)
}

/// How long a start and a stop take here and now: the longest of some.
async fn measure(branch: &mut Branch) -> (Duration, Duration) {
    let (mut start, mut stop) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..MEASURED {
        let begun = Instant::now();
        branch.gateway.terminate();
        branch.gateway.ends(FINE).await;
        stop = stop.max(begun.elapsed());
        let begun = Instant::now();
        branch.again();
        branch.gateway.ready_every(FINE).await;
        start = start.max(begun.elapsed());
    }
    (start, stop)
}

struct Rage<'a> {
    branch: &'a mut Branch,
    witness: Witness,
    random: Random,
    start: Duration,
    stop: Duration,
    seen: BTreeMap<Seen, usize>,
}

impl Rage<'_> {
    async fn kill(&mut self, moment: Moment) {
        match moment {
            // An answer comes just after a commit; a random moment more lets the blow fall anywhere in the next cycle.
            Moment::Running => {
                self.branch.gateway.ready().await;
                self.pause(JITTER).await;
                self.strike().await;
            }
            Moment::Starting => self.kill_starting().await,
            Moment::Checkpoint => self.kill_in_a_checkpoint().await,
            Moment::Stopping => self.kill_stopping().await,
        }
    }

    /// Kills it as it is, and starts it again, until it is seen not to be ready when it dies.
    async fn kill_starting(&mut self) {
        self.strike().await;
        let mut most = self.start;
        loop {
            self.pause(most).await;
            if self.strike().await == Seen::Starting {
                return;
            }
            most /= 2;
        }
    }

    async fn kill_in_a_checkpoint(&mut self) {
        self.branch.gateway.ready().await;
        let begun = Instant::now();
        while begun.elapsed() < CHECKPOINT_WITHIN {
            if !self.witness.is_checkpoint() {
                tokio::task::block_in_place(|| std::thread::sleep(LOOK));
                continue;
            }
            let within = Duration::from_micros(below(&mut self.random, u64::try_from(COPYING.as_micros()).unwrap()));
            tokio::task::block_in_place(|| std::thread::sleep(within));
            if self.witness.is_checkpoint() {
                return self.fall(Seen::Checkpoint);
            }
        }
        self.strike().await;
    }

    /// Asks it to end and kills it, until it is seen to be there still when it dies.
    async fn kill_stopping(&mut self) {
        let mut most = self.stop;
        loop {
            self.branch.gateway.ready().await;
            self.branch.gateway.terminate();
            self.pause(most).await;
            match self.branch.gateway.ended() {
                None => return self.fall(Seen::Stopping),
                Some(status) => assert!(status.success(), "it ended with {status}:\n{}", self.branch.gateway.tail()),
            }
            self.fall(Seen::Ended);
            most /= 2;
        }
    }

    /// Kills it where it is, which it must not have ended before.
    async fn strike(&mut self) -> Seen {
        let seen = self.witness.look(&self.branch.gateway).await;
        self.branch.gateway.assert_alive();
        self.fall(seen);
        seen
    }

    /// Kills it, notes at what, and starts it again.
    fn fall(&mut self, seen: Seen) {
        self.branch.gateway.end();
        *self.seen.entry(seen).or_default() += 1;
        self.branch.again();
    }

    async fn pause(&mut self, most: Duration) {
        let most = u64::try_from(most.as_micros()).unwrap();
        tokio::time::sleep(Duration::from_micros(below(&mut self.random, most))).await;
    }
}
