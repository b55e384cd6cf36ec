//! TLS to a gateway whose certificate is known, because its file is read here too: beside the gateway nobody need say whom to
//! trust.

use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error};

use crate::tls::signatures_by_provider;

/// Takes this certificate and no other.
pub(super) fn only(
    expected: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Known { expected, provider })
}

/// Its name and dates do not matter: whether it is the gateway is asked, not whether strangers trust it.
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
