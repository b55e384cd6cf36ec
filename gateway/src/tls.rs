//! What TLS is made of, whoever speaks it: certificates and keys from their files, when they expire, whose they are.
//!
//! One provider of cryptography, ring, for all; no system trust store is asked. Who is trusted for what is for those to
//! say who use it: HTTP, the links, the connections to the broker.

mod certificate;
mod material;
mod signatures;
mod time;

use std::sync::Arc;

use self::time::Judged;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier};

pub(crate) use self::certificate::{expiry, subject};
pub(crate) use self::material::{Own, certificates, roots};
pub(crate) use self::signatures::signatures_by_provider;
pub(crate) use self::time::{dates, dates_of};

/// Why a file of certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It is not there, may not be read, or its text is broken.
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, String),
    /// There is none in it.
    #[error("{0}: holds no certificate")]
    Empty(String),
    /// There is one in it that no issuer could have.
    #[error("{0}: {1}")]
    Issuer(String, rustls::Error),
    /// Certificate and key are not of one pair.
    #[error("{0} and {1}: the key does not belong to the certificate")]
    Mismatch(String, String),
    /// Nothing can be signed with them.
    #[error("{0} and {1}: {2}")]
    Unusable(String, String, rustls::Error),
    /// The provider has no version of TLS: a bug.
    #[error("{0}")]
    Provider(rustls::Error),
}

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The side that listens: TLS 1.2 and 1.3.
pub(crate) fn server(provider: &Arc<CryptoProvider>) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, Fault> {
    ServerConfig::builder_with_details(Arc::clone(provider), Arc::new(Judged))
        .with_safe_default_protocol_versions()
        .map_err(Fault::Provider)
}

/// The side that dials: TLS 1.2 and 1.3.
pub(crate) fn client(provider: &Arc<CryptoProvider>) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Fault> {
    ClientConfig::builder_with_details(Arc::clone(provider), Arc::new(Judged))
        .with_safe_default_protocol_versions()
        .map_err(Fault::Provider)
}
