//! A backlog: made while there is no broker, and drained a part at a time, against the same messages published straight.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::broker::Broker;
use super::figures::float;
use super::gateway::Gateway;
use super::process::{until, worked};
use super::publisher::{publish, publish_barely};
use super::source::Source;
use super::subscriber::Subscriber;

/// Events that the gateway may have of its own while it drains: that it is connected, say.
const OWN: usize = 16;

/// Terminals that send, and rules that answer them.
pub(crate) const TERMINALS: usize = 16;
pub(crate) const RULES: usize = 6;

/// Messages a second of one part: out of the gateway, by the client library, and on a bare socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) drained: f64,
    pub(crate) library: f64,
    pub(crate) bare: f64,
}

impl Rates {
    /// The gateway against the client library: what is promised.
    pub(crate) fn ratio(&self) -> f64 {
        self.drained / self.library
    }

    pub(crate) fn bare_ratio(&self) -> f64 {
        self.drained / self.bare
    }
}

/// What was measured.
pub(crate) struct Drained {
    pub(crate) parts: Vec<Rates>,
    /// What processors did for all messages, the three ways.
    pub(crate) costs: [Duration; 3],
    /// Most memory that was resident in the gateway meanwhile.
    pub(crate) most_kib: usize,
}

/// Has so many events kept while there is no broker, each with so many bytes more than it needs; how many wait then, with what
/// rules have answered.
pub(crate) async fn fill(gateway: &Gateway, events: usize, more: usize) -> usize {
    let mut sources = Vec::new();
    for link in &gateway.links {
        sources.push(Source::connect(*link).await);
    }
    let lines = 0..events / gateway.links.len();
    futures_util::future::join_all(sources.iter_mut().map(|source| source.flood_with(lines.clone(), more))).await;
    // The rules answer what came; then nothing moves any more.
    let mut pending = 0;
    until("an end of the answers", Duration::from_secs(1), async || {
        let before = std::mem::replace(&mut pending, gateway.metric("vestibule_forward_pending_events").await);
        (before == pending && gateway.behind().await == 0).then_some(())
    })
    .await;
    pending
}

/// Drains what is pending in so many parts, and has each shown.
pub(crate) async fn drain(
    gateway: &Gateway,
    broker: &Broker,
    subscriber: &Subscriber,
    pending: usize,
    parts: usize,
    mut show: impl FnMut(usize, &Rates),
) -> Drained {
    gateway.forget_peak();
    // What processors do for one message is what is left of a rate where others use them too.
    let others_worked = || broker.worked() + worked(std::process::id());
    let (mut all, mut costs, mut drained_in_all) = (Vec::new(), [Duration::ZERO; 3], 0);
    for part in 1..=parts {
        let count = if part == parts { pending.saturating_sub(drained_in_all) } else { pending / parts };
        let (resumed, before) = (Instant::now(), others_worked() + gateway.worked());
        gateway.signal(Signal::SIGCONT);
        let heard = subscriber.take(count).await;
        gateway.signal(Signal::SIGSTOP);
        // What was under way belongs to the next part.
        drained_in_all += heard.len() + subscriber.settle().await;
        costs[0] += others_worked() + gateway.worked() - before;
        // The first part begins when the gateway has found the broker, the others when it goes on.
        let begun = if part == 1 { heard[0].1 } else { resumed };
        let drained = float(heard.len()) / (heard[heard.len() - 1].1 - begun).as_secs_f64();
        let (count, messages) = (heard.len(), heard.into_iter().map(|(message, _)| message).collect::<Vec<_>>());
        let before = others_worked();
        let library = straight(publish(broker.port, messages.clone()), count, subscriber).await;
        let between = others_worked();
        let bare = straight(publish_barely(broker.port, messages), count, subscriber).await;
        costs[1] += between - before;
        costs[2] += others_worked() - between;
        let rates = Rates { drained, library, bare };
        show(part, &rates);
        all.push(rates);
    }
    let too_many = drained_in_all.checked_sub(pending).expect("the last part ends when all have come");
    assert!(too_many <= OWN, "{too_many} more than {pending} came: some twice");
    Drained { parts: all, costs, most_kib: gateway.peak_kib() }
}

/// How many of these messages, published now, come out a second.
async fn straight(published: impl Future<Output = ()>, count: usize, subscriber: &Subscriber) -> f64 {
    let begun = Instant::now();
    let ((), heard) = tokio::join!(published, subscriber.take(count));
    float(count) / (heard[heard.len() - 1].1 - begun).as_secs_f64()
}
