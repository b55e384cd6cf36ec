//! TLS on TCP links, of the side that listens and of the side that dials.
//!
//! **Who is trusted.** With `ca`, a certificate must have been issued by it, be valid today and, for a server, name the
//! host. With `pin_sha256`, its SHA-256 must be one of those; that alone is enough where there is no `ca`, so that a
//! terminal's self-signed certificate can be pinned (its dates are then not asked for: whoever pins one has decided).
//! With both, both must hold.
//!
//! **Renewal.** The files are looked at every few seconds and taken once they stand still. A file that cannot be used
//! leaves the certificate before in force, and an event says why. Connections that are open stay as they are.

mod config;
mod material;
mod pin;
mod renewal;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use config::{ClientCertificate, Config};
pub use pin::Pin;
pub(super) use renewal::begin;

use material::Material;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::clock;
use crate::tls::{self, expiry};

/// A handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Which side of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The terminal connects to us.
    Server,
    /// We connect to the terminal.
    Client,
}

/// A link's TLS: what is in force now.
pub(super) struct Tls {
    config: Config,
    side: Side,
    current: RwLock<Option<Arc<Material>>>,
}

/// A connection with the certificate that the other side has shown.
pub(super) struct Secured<S> {
    pub(super) stream: S,
    pub(super) peer: Option<Pin>,
    /// When that certificate expires, in seconds of Unix time.
    pub(super) expiry: Option<i64>,
}

impl<S> Secured<S> {
    fn new(stream: S, leaf: Option<&CertificateDer<'_>>) -> Secured<S> {
        Secured { peer: leaf.map(Pin::of), expiry: leaf.and_then(expiry), stream }
    }
}

impl Tls {
    pub(super) fn new(config: Config, side: Side) -> Tls {
        Tls { config, side, current: RwLock::default() }
    }

    fn material(&self) -> Result<Arc<Material>, String> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or_else(|| "there is no certificate that can be used".to_owned())
    }

    /// Reads the files, and takes them where they can be used.
    fn load(&self) -> Result<Arc<Material>, String> {
        let material = Arc::new(Material::load(&self.config, self.side)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&material));
        Ok(material)
    }

    /// The server's part of a handshake.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<Secured<tokio_rustls::server::TlsStream<TcpStream>>, String> {
        let material = self.material()?;
        let acceptor = TlsAcceptor::from(material.server.clone().ok_or("this side does not listen")?);
        let stream = within(acceptor.accept(stream)).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        Ok(Secured::new(stream, leaf.as_ref()))
    }

    /// The client's part, to the host of this name.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<Secured<tokio_rustls::client::TlsStream<TcpStream>>, String> {
        let material = self.material()?;
        let connector = TlsConnector::from(material.client.clone().ok_or("this side does not dial")?);
        let name = self.config.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let stream = within(connector.connect(name, stream)).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        Ok(Secured::new(stream, leaf.as_ref()))
    }
}

async fn within<T>(handshake: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match timeout(HANDSHAKE, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match tls::dates_of(&error) {
            Some(dates) => format!("no TLS: the other side's certificate {dates}"),
            None => format!("no TLS: {error}"),
        }),
        Err(_) => Err(format!("no TLS within {HANDSHAKE:?}")),
    }
}

/// What is wrong with a configuration's files now: missing, not fitting together, expired.
pub(super) fn check(config: &Config, side: Side) -> Vec<String> {
    match Material::load(config, side) {
        Ok(material) => material.expired(clock::judged().as_second()),
        Err(reason) => vec![reason],
    }
}
