//! Kills at random moments of a gateway's whole life, and starts again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use vestibule::simulate::Random;

use crate::Figures;
use crate::branch::Branch;

/// Lines answered while the broker is away: the gateway goes on without it.
const BROKER_AWAY: u64 = 200;
/// Most of the wait between an answer and the kill, in microseconds.
const JITTER_US: u32 = 20_000;
/// The same between a start and the kill: some come before the gateway is ready, some before its rules are in force.
const STARTING_US: u32 = 150_000;
/// The same between SIGTERM and the kill.
const STOPPING_US: u32 = 60_000;
/// How long a checkpoint is waited for; then the kill falls where it falls.
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(1);

/// Where in its life the gateway is when it is killed.
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

/// Lets all blows fall; says how many of each.
pub(crate) async fn rage(figures: Figures, branch: &mut Branch, store: &Path) -> String {
    let mut random = Random::new(figures.seed);
    let mut fallen: BTreeMap<Moment, u64> = BTreeMap::new();
    for (at, blow) in plan(figures, &mut random) {
        branch.load.reaches(at, &mut branch.gateway).await;
        match blow {
            Blow::KillGateway(moment) => {
                kill(moment, branch, store, &mut random).await;
                *fallen.entry(moment).or_default() += 1;
            }
            Blow::KillBroker => branch.broker.kill(),
            Blow::BrokerBack => branch.broker.restart().await,
        }
    }
    format!("kills: {fallen:?}")
}

async fn kill(moment: Moment, branch: &mut Branch, store: &Path, random: &mut Random) {
    let mut pause = |most| tokio::time::sleep(Duration::from_micros(u64::from(random.below(most))));
    match moment {
        // An answer comes just after a commit; a random moment more lets the blow fall anywhere in the next cycle.
        Moment::Running => pause(JITTER_US).await,
        Moment::Starting => {
            branch.gateway.kill();
            branch.again();
            pause(STARTING_US).await;
        }
        Moment::Checkpoint => {
            checkpoint(store).await;
            pause(JITTER_US / 10).await;
        }
        Moment::Stopping => {
            branch.gateway.terminate();
            pause(STOPPING_US).await;
            // It may have been faster.
            branch.gateway.end();
            return branch.again();
        }
    }
    branch.gateway.kill();
    branch.again();
}

/// Waits until the store's own file is written, which happens only when the write-ahead log is written back into it.
async fn checkpoint(store: &Path) {
    let written = || std::fs::metadata(store).and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let (before, begun) = (written(), Instant::now());
    while written() == before && begun.elapsed() < CHECKPOINT_WITHIN {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
