//! TCP: a terminal that the gateway connects to.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::PAUSES;
use super::address::Address;
use super::intake::Intake;
use super::session::{End, serve};
use crate::backoff::Backoff;
use crate::event::{Event, Kind};

/// How long name lookup and connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Keeps a connection until the gateway stops; a terminal that is not there is tried again after a growing pause.
pub(super) async fn run(address: Address, intake: Arc<Intake>) {
    let mut backoff = Backoff::new(PAUSES);
    let mut missing = Missing::default();
    intake.show_up(false);
    while !intake.stop().is_cancelled() {
        let begun = Instant::now();
        match session(&address, &intake).await {
            Ok(End::Stopping) => return,
            Ok(end) => {
                missing = Missing::default();
                backoff.reset_after(begun.elapsed());
                intake.shared.metrics.link_reconnects.with_label_values(&intake.labels()).inc();
                tracing::info!(link = intake.name, %address, %end, "The connection has ended.");
            }
            Err(reason) => missing.note(&intake, &address, &reason),
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = intake.stop().cancelled() => {}
        }
    }
}

/// One connection, from dialling to its end; or why there is none.
async fn session(address: &Address, intake: &Arc<Intake>) -> Result<End, String> {
    let stream = tokio::select! {
        stream = connect(address, address.port.unwrap_or_default()) => stream?,
        () = intake.stop().cancelled() => return Ok(End::Stopping),
    };
    let opened = format!("connected to {address}");
    match &intake.tls {
        None => Ok(serve(stream, Arc::clone(intake), &opened, None).await),
        Some(tls) => {
            let secured = tokio::select! {
                secured = tls.connect(&address.host, stream) => secured?,
                () = intake.stop().cancelled() => return Ok(End::Stopping),
            };
            intake.show_peer(secured.expiry);
            Ok(serve(secured.stream, Arc::clone(intake), &opened, secured.peer).await)
        }
    }
}

/// A TCP connection, or why there is none.
pub(super) async fn connect(address: &Address, port: u16) -> Result<TcpStream, String> {
    let connecting = TcpStream::connect((address.host.as_str(), port));
    let stream = match timeout(CONNECT, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no connection within {CONNECT:?}")),
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "The connection had gone before it was used.");
    }
    Ok(stream)
}

/// Whether it has been said that the terminal is not there; it is said once.
#[derive(Default)]
pub(super) struct Missing(bool);

impl Missing {
    pub(super) fn note(&mut self, intake: &Intake, address: &Address, reason: &str) {
        tracing::debug!(link = intake.name, %address, reason, "The terminal cannot be reached.");
        if !std::mem::replace(&mut self.0, true) {
            let detail = format!("link {}: {address} cannot be reached: {reason}", intake.name);
            intake.note(intake.owner(), Event::new(Kind::CommsLost).detail(detail));
        }
    }
}
