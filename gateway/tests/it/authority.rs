//! Certificates for tests: an authority, and what it has issued.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use vestibule::link::Pin;

/// An authority with a folder for its files.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(crate) dir: TempDir,
}

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

fn params(name: &str, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = params("authority", 2099);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signs");
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("writes");
        Authority { certificate: certificate.der().clone(), issuer: Issuer::new(params, key), dir }
    }

    /// The file with its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for this host that ends with this year's beginning, in files of this name.
    pub(crate) fn issue_as(&self, file: &str, host: &str, until: i32) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(host, until).signed_by(&key, &self.issuer).expect("signs");
        let path = |end: &str| self.dir.path().join(format!("{file}.{end}"));
        std::fs::write(path("pem"), certificate.pem()).expect("writes");
        std::fs::write(path("key"), key.serialize_pem()).expect("writes");
        Identity { certificate: certificate.der().clone(), key, certificate_file: path("pem"), key_file: path("key") }
    }

    pub(crate) fn issue(&self, host: &str, until: i32) -> Identity {
        self.issue_as(host, host, until)
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        Arc::new(roots)
    }

    /// What connects to a server of this authority, and shows this certificate.
    pub(crate) fn connector(&self, own: Option<&Identity>) -> TlsConnector {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots());
        let config = match own {
            Some(own) => builder.with_client_auth_cert(vec![own.certificate.clone()], own.key()).expect("they fit"),
            None => builder.with_no_client_auth(),
        };
        TlsConnector::from(Arc::new(config))
    }
}

impl Identity {
    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }

    pub(crate) fn pin(&self) -> Pin {
        Pin::of(&self.certificate)
    }

    /// A server with this certificate; where there is an authority, clients must show one of it.
    pub(crate) fn acceptor(&self, clients: Option<&Authority>) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            Some(authority) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(vec![self.certificate.clone()], self.key()).expect("they fit");
        TlsAcceptor::from(Arc::new(config))
    }
}
