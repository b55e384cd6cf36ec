//! Certificates and keys from their files, made into what a handshake needs.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::pin::Pinned;
use super::{ClientCertificate, Config, Side};
use crate::tls::{self, Fault, Own};

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
        let provider = tls::provider();
        let own = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => Some(Own::read(certificate, key).map_err(sentence)?),
            _ => None,
        };
        let own_expiry = own.as_ref().and_then(Own::expiry);
        let (roots, ca_expiry) = config.ca.as_deref().map(tls::roots).transpose().map_err(sentence)?.unzip();
        let (mut server, mut client) = (None, None);
        match side {
            Side::Server => server = Some(Arc::new(server_config(config, &provider, own, roots)?)),
            Side::Client => client = Some(Arc::new(client_config(config, &provider, own, roots)?)),
        }
        Ok(Material { server, client, own_expiry, ca_expiry: ca_expiry.flatten() })
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

fn sentence(fault: Fault) -> String {
    fault.to_string()
}

fn server_config(
    config: &Config,
    provider: &Arc<CryptoProvider>,
    own: Option<Own>,
    roots: Option<Arc<RootCertStore>>,
) -> Result<ServerConfig, String> {
    let builder = tls::server(provider).map_err(sentence)?;
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
    let own = own.ok_or("`certificate` and `key` are needed where the gateway listens")?;
    own.serve(builder).map_err(sentence)
}

fn client_config(
    config: &Config,
    provider: &Arc<CryptoProvider>,
    own: Option<Own>,
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
    let builder = tls::client(provider)
        .map_err(sentence)?
        // Not less safe than the library's own: it asks for more, or for exactly one certificate.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match own {
        Some(own) => own.show(builder).map_err(sentence),
        None => Ok(builder.with_no_client_auth()),
    }
}
