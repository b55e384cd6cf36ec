//! Certificates and keys from their files, made into what a handshake needs.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_cert::der::Decode;

use super::pin::Pinned;
use super::{ClientCertificate, Config, Side};

/// What is in force for one side of a link.
pub(super) struct Material {
    pub(super) server: Option<Arc<ServerConfig>>,
    pub(super) client: Option<Arc<ClientConfig>>,
    /// When our certificate expires, in seconds of Unix time.
    pub(super) own_expiry: Option<i64>,
    /// When the first of the issuers expires.
    pub(super) ca_expiry: Option<i64>,
}

impl Material {
    /// Reads all files.
    ///
    /// # Errors
    /// A sentence that names the file, or says what does not fit.
    pub(super) fn load(config: &Config, side: Side) -> Result<Material, String> {
        let provider = Arc::new(ring::default_provider());
        let own = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => Some((certificates(certificate)?, private_key(key)?)),
            _ => None,
        };
        let issuers = config.ca.as_deref().map(certificates).transpose()?;
        let own_expiry = own.as_ref().and_then(|(chain, _)| chain.first()).and_then(expiry);
        let ca_expiry = issuers.iter().flatten().filter_map(expiry).min();
        let roots = issuers.map(roots).transpose()?;
        let (mut server, mut client) = (None, None);
        match side {
            Side::Server => server = Some(Arc::new(server_config(config, &provider, own, roots)?)),
            Side::Client => client = Some(Arc::new(client_config(config, &provider, own, roots)?)),
        }
        Ok(Material { server, client, own_expiry, ca_expiry })
    }

    /// What of it has expired, at this second of Unix time.
    pub(super) fn expired(&self, now: i64) -> Vec<String> {
        let past = |expiry: Option<i64>, what: &str| {
            let at = expiry.filter(|at| *at < now)?;
            let shown = jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |time| time.to_string());
            Some(format!("{what} expired at {shown}"))
        };
        past(self.own_expiry, "the certificate")
            .into_iter()
            .chain(past(self.ca_expiry, "the issuer's certificate"))
            .collect()
    }
}

type Own = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

fn server_config(
    config: &Config,
    provider: &Arc<CryptoProvider>,
    own: Own,
    roots: Option<Arc<RootCertStore>>,
) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match config.client {
        ClientCertificate::None => builder.with_no_client_auth(),
        ClientCertificate::Required => {
            let issuer = roots.map(|roots| {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
                verifier.map_err(|error| format!("ca: {error}"))
            });
            builder.with_client_cert_verifier(Arc::new(Pinned::<dyn ClientCertVerifier> {
                pins: config.pin_sha256.clone(),
                issuer: issuer.transpose()?,
                provider: Arc::clone(provider),
            }))
        }
    };
    let (chain, key) = own.ok_or("`certificate` and `key` are needed where the gateway listens")?;
    builder.with_single_cert(chain, key).map_err(mismatch)
}

fn client_config(
    config: &Config,
    provider: &Arc<CryptoProvider>,
    own: Own,
    roots: Option<Arc<RootCertStore>>,
) -> Result<ClientConfig, String> {
    let issuer = roots.map(|roots| -> Result<Arc<dyn ServerCertVerifier>, String> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
        verifier.map(|verifier| verifier as Arc<dyn ServerCertVerifier>).map_err(|error| format!("ca: {error}"))
    });
    let issuer = issuer.transpose()?;
    if issuer.is_none() && config.pin_sha256.is_empty() {
        return Err("neither `ca` nor `pin_sha256`: anybody could answer".to_owned());
    }
    let verifier =
        Pinned::<dyn ServerCertVerifier> { pins: config.pin_sha256.clone(), issuer, provider: Arc::clone(provider) };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        // Not less safe than the library's own: it asks for more, or for exactly one certificate.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(mismatch),
        None => Ok(builder.with_no_client_auth()),
    }
}

fn mismatch(error: rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "the key does not belong to the certificate".to_owned(),
        error => format!("the certificate cannot be used: {error}"),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| fault(&error))?.collect();
    let found = read.map_err(|error| fault(&error))?;
    if found.is_empty() { Err(fault(&"holds no certificate")) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn roots(issuers: Vec<CertificateDer<'static>>) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for issuer in issuers {
        roots.add(issuer).map_err(|error| format!("ca: {error}"))?;
    }
    Ok(Arc::new(roots))
}

/// When a certificate expires; `None` where its form is too unusual to tell.
pub(super) fn expiry(certificate: &CertificateDer<'static>) -> Option<i64> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    i64::try_from(parsed.tbs_certificate().validity().not_after.to_unix_duration().as_secs()).ok()
}
