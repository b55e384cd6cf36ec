//! Kills at random moments, and starts again.

use std::time::Duration;

use vestibule::simulate::Random;
use vestibule::simulate::journal::Printer;

use crate::Figures;
use crate::broker::Broker;
use crate::gateway::Gateway;
use crate::load::Load;

/// Lines answered while the broker is away: the gateway goes on without it.
const BROKER_AWAY: u64 = 200;
/// Most of the wait between an answer and the kill, in microseconds.
const JITTER_US: u32 = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    BrokerBack,
    KillBroker,
    KillGateway,
}

/// When each blow falls: after so many answered lines.
fn plan(figures: Figures, random: &mut Random) -> Vec<(u64, Blow)> {
    let mut below = |bound: u64| u64::from(random.below(u32::try_from(bound.max(1)).unwrap_or(u32::MAX)));
    // Not in the very last lines: something has to be left to be lost.
    let end = figures.events * 95 / 100;
    let mut blows: Vec<(u64, Blow)> = (0..figures.gateway_kills).map(|_| (below(end), Blow::KillGateway)).collect();
    let slice = end / figures.broker_kills.max(1);
    for kill in 0..figures.broker_kills {
        let at = kill * slice + below(slice / 2);
        blows.push((at, Blow::KillBroker));
        blows.push((at + BROKER_AWAY.min(slice / 2), Blow::BrokerBack));
    }
    blows.sort_unstable();
    blows
}

/// Lets all blows fall.
pub(crate) async fn rage(figures: Figures, load: &Load, gateway: &mut Gateway, broker: &mut Broker, printer: &Printer) {
    let mut random = Random::new(figures.seed);
    for (at, blow) in plan(figures, &mut random) {
        load.reaches(at, gateway).await;
        // An answer comes just after a commit; a random moment more lets the blow fall anywhere in the next cycle.
        tokio::time::sleep(Duration::from_micros(u64::from(random.below(JITTER_US)))).await;
        match blow {
            Blow::KillGateway => gateway.kill_and_restart(|| printer.replug().unwrap()),
            Blow::KillBroker => broker.kill(),
            Blow::BrokerBack => broker.restart().await,
        }
    }
}
