//! XFS4IoT: the services of a terminal, found by asking its publisher, each heard on a WebSocket of its own.
//!
//! Nothing is ever sent but the questions of [`Query`], which change nothing, and on a link with `commands = true` a
//! [`Reset`](crate::protocol::xfs4iot::Reset) that somebody has asked for; a service sends its unsolicited events to every
//! client that is connected.

mod reset;
mod socket;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::PAUSES;
use super::address::Address;
use super::dial::Missing;
use super::intake::Intake;
use super::session::End;
use crate::backoff::Backoff;
use crate::event::{Event, Kind};
use crate::protocol::xfs4iot::{Query, Service};
use reset::Board;
use socket::{Heard, Socket};

/// Where a publisher is, under every port.
const PUBLISHER: &str = "/xfs4iot/v1.0";
/// The ports that a publisher may be at, plain and secure alike.
const PORTS: std::ops::RangeInclusive<u16> = 5846..=5856;
/// How long a publisher may take to answer.
const ANSWER: Duration = Duration::from_secs(20);
/// Failures in a row after which a service is looked for anew, where no other is connected either.
const FAILURES: u32 = 3;

/// Hears a terminal's services until the gateway stops; what is not there is tried again after a growing pause.
pub(super) async fn run(address: Address, intake: Arc<Intake>) {
    let mut backoff = Backoff::new(PAUSES);
    let mut missing = Missing::default();
    intake.show_up(false);
    while !intake.stop().is_cancelled() {
        let discovered = tokio::select! {
            discovered = discover(&address, &intake) => discovered,
            () = intake.stop().cancelled() => return,
        };
        match discovered {
            Ok(services) => {
                tracing::info!(link = intake.name, %address, services = services.len(), "The terminal's services are known.");
                let begun = Instant::now();
                if hear_all(&address, services, &intake).await {
                    missing = Missing::default();
                    backoff.reset_after(begun.elapsed());
                }
            }
            Err(reason) => missing.note(&intake, &address, &reason),
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = intake.stop().cancelled() => {}
        }
    }
}

/// Asks every publisher of the terminal for its services.
async fn discover(address: &Address, intake: &Intake) -> Result<BTreeSet<Service>, String> {
    let publishers = publishers(address, intake.tls.is_some());
    let answers = join_all(publishers.iter().map(|publisher| timeout(ANSWER, ask(address, publisher, intake)))).await;
    let mut services = BTreeSet::new();
    let mut reason = None;
    for answer in answers {
        match answer.unwrap_or_else(|_| Err(format!("no answer within {ANSWER:?}"))) {
            Ok(found) => services.extend(found),
            Err(why) => reason = reason.or(Some(why)),
        }
    }
    if services.is_empty() { Err(reason.unwrap_or_else(|| "it has no services".to_owned())) } else { Ok(services) }
}

/// Where publishers may be: at the port that the address names, else at all that there are.
fn publishers(address: &Address, tls: bool) -> Vec<Service> {
    let secure = address.secure.unwrap_or(tls);
    let path = address.path.clone().unwrap_or_else(|| PUBLISHER.to_owned());
    let ports: Vec<u16> = match address.port {
        Some(port) => vec![port],
        None => std::iter::once(if secure { 443 } else { 80 }).chain(PORTS).collect(),
    };
    ports.into_iter().map(|port| Service { secure, port, path: path.clone() }).collect()
}

async fn ask(address: &Address, publisher: &Service, intake: &Intake) -> Result<Vec<Service>, String> {
    let mut socket = Socket::open(address, publisher, intake).await?;
    socket.ask(Query::GetServices).await.map_err(|end| end.to_string())?;
    let mut services = Vec::new();
    loop {
        let message = match socket.next().await.map_err(|end| end.to_string())? {
            Heard::Said(Ok(message), _) => message,
            Heard::Said(Err(fault), _) => return Err(fault.reason),
            Heard::Alive => continue,
        };
        for uri in &message.services {
            // Whoever is asked over TLS cannot send us to a service without.
            match Service::parse(uri).filter(|service| service.secure || !publisher.secure) {
                Some(service) => services.push(service),
                None => tracing::warn!(link = intake.name, uri, "The address of a service is not used."),
            }
        }
        if socket.answers_us(&message) {
            return Ok(services);
        }
    }
}

/// Hears all services until none is left; true where one was connected at all.
async fn hear_all(address: &Address, services: BTreeSet<Service>, intake: &Arc<Intake>) -> bool {
    let live = Arc::new(AtomicUsize::new(0));
    let board = Board::new();
    let _takes_resets = AbortOnDropHandle::new(tokio::spawn(reset::serve(Arc::clone(&board), Arc::clone(intake))));
    let stop = CancellationToken::new();
    let _ends_them = stop.clone().drop_guard();
    let mut tasks = JoinSet::new();
    let start = |service: Service, first: Duration| {
        let (address, intake, stop) = (address.clone(), Arc::clone(intake), stop.clone());
        let (live, board) = (Arc::clone(&live), Arc::clone(&board));
        async move {
            tokio::select! {
                () = stop.cancelled() => (service, false),
                was_up = sleep_then_keep(first, &address, &service, &intake, (&live, &board)) => (service, was_up),
            }
        }
    };
    for service in services {
        tasks.spawn(start(service, Duration::ZERO));
    }
    let mut was_up = false;
    while let Some(ended) = tasks.join_next().await {
        let Ok((service, up)) = ended else { continue };
        was_up |= up;
        if live.load(Ordering::Relaxed) > 0 && !intake.stop().is_cancelled() {
            tasks.spawn(start(service, PAUSES.1));
        }
    }
    was_up
}

async fn sleep_then_keep(
    first: Duration,
    address: &Address,
    service: &Service,
    intake: &Arc<Intake>,
    shared: (&AtomicUsize, &Arc<Board>),
) -> bool {
    tokio::select! {
        () = sleep(first) => keep(address, service, intake, shared).await,
        () = intake.stop().cancelled() => false,
    }
}

/// Keeps one service connected, until it has failed too often while no other is.
async fn keep(
    address: &Address,
    service: &Service,
    intake: &Arc<Intake>,
    (live, board): (&AtomicUsize, &Arc<Board>),
) -> bool {
    let mut backoff = Backoff::new(PAUSES);
    let (mut was_up, mut failures) = (false, 0);
    loop {
        let opened = tokio::select! {
            opened = Socket::open(address, service, intake) => opened,
            () = intake.stop().cancelled() => return was_up,
        };
        match opened {
            Ok(socket) => {
                (was_up, failures) = (true, 0);
                let begun = Instant::now();
                if let End::Stopping = hear(socket, service, intake, (live, board)).await {
                    return true;
                }
                backoff.reset_after(begun.elapsed());
            }
            Err(reason) => {
                tracing::debug!(link = intake.name, service = service.name(), reason, "The service cannot be reached.");
                failures += 1;
            }
        }
        if failures >= FAILURES && live.load(Ordering::Relaxed) == 0 {
            return was_up;
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = intake.stop().cancelled() => return was_up,
        }
    }
}

/// Hears one connection to its end.
async fn hear(
    mut socket: Socket,
    service: &Service,
    intake: &Arc<Intake>,
    (live, board): (&AtomicUsize, &Arc<Board>),
) -> End {
    let Some(terminal) = intake.expected() else { return End::Unwelcome("a link of no terminal".to_owned()) };
    live.fetch_add(1, Ordering::Relaxed);
    intake.begin(&terminal, &format!("service {} connected", service.name()));
    let end = socket.hear(service, intake, &terminal, board).await;
    let left = live.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
    intake.shared.metrics.link_reconnects.with_label_values(&intake.labels()).inc();
    tracing::info!(link = intake.name, service = service.name(), %end, "The connection to a service has ended.");
    if left > 0 && !intake.stop().is_cancelled() {
        let detail = format!("link {}: service {}: {end}", intake.name, service.name());
        intake.note(&terminal.name, Event::new(Kind::CommsDegraded).detail(detail));
    }
    intake.end(&terminal, false, &format!("service {}: {end}", service.name()));
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_alone_is_looked_for_at_every_port() {
        let ports = |text: &str, tls: bool| -> (Vec<u16>, bool) {
            let services = publishers(&text.parse().expect("an address"), tls);
            let secure = services.iter().all(|service| service.secure);
            (services.iter().map(|service| service.port).collect(), secure)
        };
        let (plain, secure) = ports("atm", false);
        assert_eq!((plain.len(), plain[0], plain[11], secure), (12, 80, 5856, false));
        assert_eq!(ports("atm", true).0[0], 443);
        assert_eq!(ports("wss://atm:5850", true), (vec![5850], true));
        let own = publishers(&"ws://atm:1/own".parse().expect("an address"), false);
        assert_eq!(own[0].path, "/own");
    }
}
