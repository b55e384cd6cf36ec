//! TCP: a port that terminals connect to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::PAUSES;
use super::intake::Intake;
use super::session::{End, serve};
use super::tls::Tls;
use crate::backoff::Backoff;
use crate::event::{Event, Kind};

/// The pause after a connection could not be accepted (no more file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Listens until the gateway stops. A port in use is an event and a new try.
pub(super) async fn listen(address: SocketAddr, intake: Arc<Intake>) {
    let sessions = TaskTracker::new();
    intake.show_up(false);
    if let Some(listener) = bind(address, &intake).await {
        accept(&listener, &intake, &sessions).await;
    }
    sessions.close();
    sessions.wait().await;
}

async fn bind(address: SocketAddr, intake: &Intake) -> Option<TcpListener> {
    let mut backoff = Backoff::new(PAUSES);
    let mut failed = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                if failed {
                    let event = Event::new(Kind::GatewayLinkRestored);
                    intake.note(intake.owner(), event.detail(format!("link {}: listens on {address}", intake.name)));
                }
                tracing::info!(link = intake.name, %address, "Listening.");
                return Some(listener);
            }
            Err(error) => {
                tracing::warn!(link = intake.name, %address, %error, "The link's port cannot be opened.");
                if !failed {
                    let detail = format!("link {}: cannot listen on {address}: {error}", intake.name);
                    intake.note(intake.owner(), Event::new(Kind::GatewayLinkFault).detail(detail));
                }
                failed = true;
            }
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = intake.stop().cancelled() => return None,
        }
    }
}

async fn accept(listener: &TcpListener, intake: &Arc<Intake>, sessions: &TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = intake.stop().cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => match intake.admit() {
                Some(place) => {
                    let intake = Arc::clone(intake);
                    sessions.spawn(async move {
                        connection(stream, peer, intake).await;
                        drop(place);
                    });
                }
                None => {
                    intake.shared.metrics.link_refused.with_label_values(&["too_many_connections"]).inc();
                    tracing::warn!(link = intake.name, %peer, "Too many connections; this one is refused.");
                }
            },
            Err(error) => {
                tracing::warn!(link = intake.name, %error, "A connection could not be accepted.");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The handshake, and the conversation behind it; the reason where there is none.
async fn secured(stream: TcpStream, tls: &Tls, intake: &Arc<Intake>, opened: &str) -> Result<End, String> {
    let secured = tokio::select! {
        secured = tls.accept(stream) => secured?,
        () = intake.stop().cancelled() => return Err("the gateway stops".to_owned()),
    };
    intake.show_peer(secured.expiry);
    Ok(serve(secured.stream, Arc::clone(intake), opened, secured.peer).await)
}

async fn connection(stream: TcpStream, peer: SocketAddr, intake: Arc<Intake>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "The connection had gone before it was served.");
    }
    let metrics = Arc::clone(&intake.shared.metrics);
    let name = intake.name.clone();
    metrics.link_connections.inc();
    let opened = format!("connected from {peer}");
    let end = match &intake.tls {
        None => Ok(serve(stream, Arc::clone(&intake), &opened, None).await),
        // In a box: connections in the clear do not pay for what TLS needs.
        Some(tls) => Box::pin(secured(stream, tls, &intake, &opened)).await,
    };
    metrics.link_connections.dec();
    match end {
        Ok(end) => {
            metrics.link_reconnects.with_label_values(&intake.labels()).inc();
            tracing::info!(link = name, %peer, %end, "The connection has ended.");
        }
        Err(reason) => intake.refuse_handshake(peer, &reason),
    }
}
