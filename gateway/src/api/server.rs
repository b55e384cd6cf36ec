//! Connections: how many there are, from where, for how long; what is in a request is for the layers to say.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::stall::Stall;
use super::tls::Tls;
use crate::auth::Source;
use crate::metrics::Metrics;

/// After an accept that failed for want of something (files, memory), which other connections may give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end: in each request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) source: Source,
    /// They came by the loopback interface.
    pub(super) loopback: bool,
    /// The subject of the client certificate that the handshake has verified.
    pub(super) subject: Option<Arc<str>>,
}

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) config: Arc<Config>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: CancellationToken,
}

impl Server {
    /// Serves until it is stopped and the requests that were under way are answered.
    pub(super) async fn run(self, listener: Arc<TcpListener>, routes: Router) {
        let (mut connections, places) = (JoinSet::new(), Arc::<Places>::default());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = self.stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    let own = stream.local_addr().ok().map(|own| own.ip());
                    let source = Source::met(address.ip(), own);
                    match places.clone().take(source, &self.config) {
                        Ok(place) => {
                            connections.spawn(self.clone().connection(stream, address, source, place, routes.clone()));
                        }
                        // Closed without a word: an answer would cost what is short.
                        Err(reason) => self.reject(reason),
                    }
                }
                Err(error) if of_the_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "No HTTP connection can be accepted.");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn connection(self, stream: TcpStream, address: SocketAddr, source: Source, _place: Place, routes: Router) {
        // Answers are small and complete; a socket that cannot be told so still works.
        let _ = stream.set_nodelay(true);
        let loopback = address.ip().to_canonical().is_loopback();
        let Some(tls) = &self.tls else {
            return self.serve(stream, Peer { source, loopback, subject: None }, routes).await;
        };
        let handshake = tls.acceptor(source.is_local()).accept(stream);
        let why = match timeout(self.config.header_timeout(), handshake).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let subject = shown.and_then(crate::tls::subject).map(Arc::from);
                return self.serve(stream, Peer { source, loopback, subject }, routes).await;
            }
            Ok(Err(error)) => match crate::tls::dates_of(&error) {
                Some(dates) => {
                    tracing::warn!(%address, "A client of HTTP is refused: its certificate {dates}.");
                    dates
                }
                None => error.to_string(),
            },
            Err(_) => "it took too long".to_owned(),
        };
        self.reject("tls");
        tracing::debug!(%address, why, "A TLS handshake failed.");
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, routes: Router) {
        let routes = TowerToHyperService::new(routes);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            routes.call(request)
        });
        let stream = TokioIo::new(Stall::new(stream, self.config.request_timeout()));
        // Twice what is allowed is read, so that who exceeds it a little is told so by the layers, as a problem; who exceeds it
        // by far gets the bare status.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_timeout())
            .max_headers(2 * self.config.max_headers)
            .max_buf_size((2 * self.config.max_header_bytes).max(8192))
            .serve_connection(stream, service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            if error.is_timeout() {
                self.reject("slow");
            }
            tracing::debug!(%error, "An HTTP connection ended.");
        }
    }

    fn reject(&self, reason: &str) {
        self.metrics.http_rejected.with_label_values(&[reason]).inc();
    }
}

/// Whether an accept failed because of the connection that it would have been, which is already gone.
fn of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The connections that there are, by where they come from.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<Source, usize>>);

/// A connection's place; given back when this goes.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    source: Source,
}

impl Places {
    /// This machine has places of its own: strangers cannot take those of the health check.
    fn take(self: Arc<Self>, source: Source, config: &Config) -> Result<Place, &'static str> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others: usize = taken.iter().filter(|(source, _)| !source.is_local()).map(|(_, count)| count).sum();
        if !source.is_local() && others >= config.max_connections {
            return Err("full");
        }
        let count = taken.entry(source).or_default();
        if *count >= config.max_connections_per_address {
            return Err("address");
        }
        *count += 1;
        drop(taken);
        Ok(Place { places: self, source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let config = Config { max_connections: 3, max_connections_per_address: 2, ..Config::default() };
        let places = Arc::<Places>::default();
        let take = |address: &str| {
            let source = Source::of(address.parse().expect("an address"));
            places.clone().take(source, &config)
        };
        let held = [take("192.0.2.1"), take("192.0.2.1"), take("192.0.2.2")].map(|place| place.expect("is free"));
        assert_eq!(take("192.0.2.1").err(), Some("full"));
        assert_eq!(take("192.0.2.3").err(), Some("full"));
        let near = [take("127.0.0.1"), take("::1")].map(|place| place.expect("this machine has its own"));
        assert_eq!(take("127.0.0.2").err(), Some("address"));
        drop(held);
        let own = "192.0.2.9".parse().expect("an address");
        let met = |from: &str| Source::met(from.parse().expect("an address"), Some(own));
        assert_eq!(
            places.clone().take(met("192.0.2.9"), &config).err(),
            Some("address"),
            "this machine, by its own address"
        );
        assert!(places.clone().take(met("192.0.2.8"), &config).is_ok(), "somebody else");
        let _one = [take("192.0.2.1"), take("192.0.2.1")].map(|place| place.expect("is free again"));
        assert_eq!(take("192.0.2.1").err(), Some("address"));
        drop(near);
        assert!(take("127.0.0.2").is_ok());
    }
}
