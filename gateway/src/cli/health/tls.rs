//! The health check of a gateway that speaks TLS: it knows the one certificate that must answer, because it reads the same file.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConnection, Error, StreamOwned};

use crate::tls::{self, signatures_by_provider};

/// Speaks TLS on a connection to whoever holds the key of the certificate in this file.
pub(in crate::cli) fn wrap(
    stream: TcpStream,
    address: SocketAddr,
    certificate: &Path,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let expected = tls::certificates(certificate).map_err(io::Error::other)?.into_iter().next();
    let provider = tls::provider();
    let config = tls::client(&provider)
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Known { expected, provider }))
        .with_no_client_auth();
    let name = ServerName::IpAddress(address.ip().into());
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?, stream))
}

/// Takes one certificate and no other. Its name and dates do not matter: whether it runs is asked, not whether strangers trust
/// it.
#[derive(Debug)]
struct Known {
    expected: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let known = self.expected.as_ref().is_some_and(|expected| expected.as_ref() == shown.as_ref());
        let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        if known { Ok(ServerCertVerified::assertion()) } else { Err(refused) }
    }

    signatures_by_provider!();
}
