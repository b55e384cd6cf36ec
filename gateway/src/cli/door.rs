//! The way to a running gateway: where its HTTP interface is, whom to trust there, and what is shown.
//!
//! One for all verbs. A token leaves this machine encrypted, or because somebody has said that it may.

mod known;
mod place;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::complain;
use super::exit::Exit;
use crate::config::Config;
use crate::tls::{self, Own};

pub(super) use self::place::Place;

/// Longest that a connection may take to come about.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What opens a running gateway's HTTP interface.
#[derive(Debug, Default, Args)]
pub(super) struct Key {
    /// Where the gateway's HTTP interface listens, `HOST:PORT` or `https://HOST:PORT`; without it, where the configuration says,
    /// else 127.0.0.1:8080.
    #[arg(long, global = true, value_name = "ADDR")]
    pub(super) http: Option<Place>,
    /// File with the certificates of those who have issued the gateway's (PEM), where it speaks TLS; the one that a
    /// configuration names is known without.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// File with a certificate of ours, and those that lead to its issuer (PEM), where the gateway asks for one.
    #[arg(long, global = true, value_name = "FILE", requires = "client_key")]
    pub(super) client_certificate: Option<PathBuf>,
    /// File with its private key (PEM).
    #[arg(long, global = true, value_name = "FILE", requires = "client_certificate")]
    pub(super) client_key: Option<PathBuf>,
    /// File with a token and nothing else; without it, the one in the environment's VESTIBULE_TOKEN, or none.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Send the token to another machine as it is, where something else encrypts.
    #[arg(long, global = true)]
    pub(super) plaintext: bool,
}

/// A way to a running gateway.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) place: Place,
    pub(super) token: Option<String>,
    tls: Option<Arc<ClientConfig>>,
    plaintext: bool,
}

/// A connection, encrypted or not.
pub(super) trait Line: Read + Write {}

impl<T: Read + Write> Line for T {}

impl Key {
    /// The door that it opens.
    ///
    /// # Errors
    /// Where a file cannot be used, or nothing says whom to trust.
    pub(super) fn door(&self, config: Option<&Config>) -> Result<Door, Exit> {
        let door = self.door_without_token(config)?;
        Ok(Door { token: self.token()?, ..door })
    }

    /// The same for what is for everybody.
    ///
    /// # Errors
    /// As [`Key::door`].
    pub(super) fn door_without_token(&self, config: Option<&Config>) -> Result<Door, Exit> {
        let place = self.http.clone().or(config.map(|config| Place::of(config.http.listen))).unwrap_or_default();
        let served = config.and_then(|config| config.http.tls.as_ref()).map(|tls| tls.certificate.as_path());
        let meant = served.is_some() || self.ca.is_some() || self.client_certificate.is_some();
        let tls = place.tls.unwrap_or(meant).then(|| self.trust(served)).transpose()?;
        Ok(Door { place, token: None, tls, plaintext: self.plaintext })
    }

    /// What speaks TLS to whoever `ca` has issued a certificate to, or else to the one who has the certificate that is served.
    fn trust(&self, served: Option<&Path>) -> Result<Arc<ClientConfig>, Exit> {
        let unusable = |fault: tls::Fault| Exit::no_input(fault.to_string());
        let provider = tls::provider();
        let builder = tls::client(&provider).map_err(unusable)?;
        let builder = match (&self.ca, served) {
            (Some(ca), _) => builder.with_root_certificates(tls::roots(ca).map_err(unusable)?.0),
            (None, Some(certificate)) => {
                let expected = tls::certificates(certificate).map_err(unusable)?.into_iter().next();
                builder.dangerous().with_custom_certificate_verifier(known::only(expected, provider))
            }
            (None, None) => {
                let sentence =
                    "say who has issued the gateway's certificate: --ca FILE, or --config FILE beside the gateway";
                return Err(Exit::usage(sentence));
            }
        };
        let config = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let own = Own::read(certificate, key).map_err(unusable)?;
                own.show(builder).map_err(unusable)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn token(&self) -> Result<Option<String>, Exit> {
        let token = match &self.token_file {
            Some(path) => Some(read_token(path)?),
            None => std::env::var("VESTIBULE_TOKEN").ok(),
        };
        Ok(token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()))
    }
}

/// The text of a token's file; others who may read it are a reason to say so.
fn read_token(path: &Path) -> Result<String, Exit> {
    let failed = |error: io::Error| Exit::no_input(format!("the token file {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(failed)?;
    if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o077 != 0) {
        complain(&format!("the token file {0} can be read by others: chmod 600 {0}", path.display()));
    }
    Ok(text)
}

impl Door {
    /// A connection on which a word must come within `silence`.
    ///
    /// # Errors
    /// Where nobody is there, or nobody who is trusted; and where the token would cross a network as it is.
    pub(super) fn connect(&self, silence: Duration) -> Result<Box<dyn Line>, Exit> {
        let absent = |error: io::Error| Exit::unavailable(format!("no gateway answers at {}: {error}", self.place));
        let mut stream = self.reach(silence.min(TIMEOUT)).map_err(absent)?;
        stream.set_read_timeout(Some(silence)).map_err(absent)?;
        let Some(config) = &self.tls else {
            if self.token.is_some() && !self.plaintext && !stays_here(ip(stream.local_addr()), ip(stream.peer_addr())) {
                return Err(Exit::usage(format!(
                    "the token would cross the network to {} as it is: use https:// (and --ca), or --plaintext where something \
                     else encrypts",
                    self.place
                )));
            }
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(self.place.host.clone()).map_err(|error| absent(io::Error::other(error)))?;
        let mut session =
            ClientConnection::new(Arc::clone(config), name).map_err(|error| absent(io::Error::other(error)))?;
        while session.is_handshaking() {
            session.complete_io(&mut stream).map_err(absent)?;
        }
        Ok(Box::new(StreamOwned::new(session, stream)))
    }

    /// The first of its addresses that can be reached.
    fn reach(&self, patience: Duration) -> io::Result<TcpStream> {
        let mut last = io::Error::other("the name has no address");
        for address in (self.place.host.as_str(), self.place.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn ip(address: io::Result<SocketAddr>) -> Option<IpAddr> {
    address.ok().map(|address| address.ip().to_canonical())
}

/// Whether both ends of a connection are on this machine.
fn stays_here(own: Option<IpAddr>, peer: Option<IpAddr>) -> bool {
    peer.is_some_and(|peer| peer.is_loopback() || own == Some(peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_here_may_be_said_aloud() {
        for (own, peer, stays) in [
            (Some("127.0.0.1"), Some("127.0.0.1"), true),
            (Some("::1"), Some("::1"), true),
            (Some("192.0.2.7"), Some("192.0.2.7"), true),
            (Some("192.0.2.7"), Some("192.0.2.8"), false),
            (None, Some("192.0.2.8"), false),
            (None, None, false),
        ] {
            let parsed = |text: Option<&str>| text.map(|text| text.parse().expect("an address"));
            assert_eq!(stays_here(parsed(own), parsed(peer)), stays, "{own:?} {peer:?}");
        }
    }

    #[test]
    fn tls_needs_somebody_to_trust() {
        let key = Key { http: Some("https://branch-7:8443".parse().expect("a place")), ..Key::default() };
        assert!(key.door_without_token(None).is_err_and(|exit| exit.sentence.contains("--ca FILE")));
        let plain = Key { http: Some("http://branch-7:8443".parse().expect("a place")), ..Key::default() };
        assert!(plain.door_without_token(None).is_ok_and(|door| door.tls.is_none()));
    }
}
