//! TLS of the HTTP interface: 1.2 at least, client certificates where there is an issuer, files that are renewed while it runs.
//!
//! With `client = "required"` a connection without a good certificate ends in the handshake, before a byte of HTTP is
//! read. This machine's own connections are let off that, so that health checks need no certificate; what they may do is for
//! `auth` to say, as for everybody.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

use crate::tls::{self, Own, roots};
use crate::watch::Watch;

/// Encryption of the HTTP interface.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// File with the certificate and, below it, those that lead to its issuer (PEM).
    pub certificate: PathBuf,
    /// File with its private key (PEM).
    pub key: PathBuf,
    /// File with the certificates of those that issue client certificates (PEM); without it none is asked for.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether other machines must show a certificate, where there is a `ca`.
    #[serde(default)]
    pub client: Client,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// It may; a token will do as well.
    #[default]
    Optional,
    /// Without one there is no connection.
    Required,
}

impl Config {
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.client == Client::Required && self.ca.is_none() {
            faults.push(("tls.ca", "is needed where client certificates are required".to_owned()));
        }
        faults
    }

    /// What is wrong with the files now.
    ///
    /// # Errors
    /// With the first that cannot be used, and why.
    pub fn check(&self) -> Result<(), String> {
        Material::load(self).map(|_| ())
    }

    fn watch(&self) -> Watch {
        Watch::new(
            [Some(&self.certificate), Some(&self.key), self.ca.as_ref()].into_iter().flatten().cloned().collect(),
        )
    }
}

/// What is in force.
struct Material {
    others: TlsAcceptor,
    local: TlsAcceptor,
    expires: i64,
}

impl Material {
    fn load(config: &Config) -> Result<Material, String> {
        let own = Own::read(&config.certificate, &config.key).map_err(sentence)?;
        let expires = own.expiry().ok_or_else(|| format!("{}: is no certificate", config.certificate.display()))?;
        let issuers = config.ca.as_deref().map(roots).transpose().map_err(sentence)?;
        let provider = tls::provider();
        let make = |client: Client| -> Result<TlsAcceptor, String> {
            let builder = tls::server(&provider).map_err(sentence)?;
            let builder = match &issuers {
                Some((roots, _)) => builder.with_client_cert_verifier(verifier(roots, &provider, client)?),
                None => builder.with_no_client_auth(),
            };
            let mut server = own.serve(builder).map_err(sentence)?;
            server.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(TlsAcceptor::from(Arc::new(server)))
        };
        Ok(Material { others: make(config.client)?, local: make(Client::Optional)?, expires })
    }
}

fn verifier(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    client: Client,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider));
    let builder = if client == Client::Optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| format!("http.tls.ca: {error}"))
}

fn sentence(fault: tls::Fault) -> String {
    fault.to_string()
}

/// The TLS side of the interface.
pub struct Tls {
    config: Config,
    current: RwLock<Arc<Material>>,
    watch: Mutex<Watch>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Where one cannot be used, and why.
    pub fn open(config: Config) -> Result<Tls, String> {
        let watch = Mutex::new(config.watch());
        let material = Material::load(&config)?;
        Ok(Tls { config, current: RwLock::new(Arc::new(material)), watch })
    }

    /// What accepts a connection.
    pub(super) fn acceptor(&self, local: bool) -> TlsAcceptor {
        let current = self.current();
        if local { current.local.clone() } else { current.others.clone() }
    }

    /// When the certificate ends, in seconds of Unix time.
    pub(super) fn expires(&self) -> i64 {
        self.current().expires
    }

    fn current(&self) -> Arc<Material> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the files where they have changed and stand still: they are written in pieces, the key after the certificate.
    /// Open connections stay as they are. `None` where there is nothing new.
    ///
    /// # Errors
    /// Where they cannot be used: why. Those before stay in force.
    pub(super) fn reload(&self) -> Option<Result<(), String>> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if !watch.has_changed() {
            return None;
        }
        watch.take();
        Some(Material::load(&self.config).map(|material| {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(material);
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn write(dir: &Path, common_name: &str) -> Config {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Bank");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("is signed");
        let config = Config { certificate: dir.join("cert.pem"), key: dir.join("key.pem"), ..Config::default() };
        std::fs::write(&config.certificate, certificate.pem()).expect("is written");
        std::fs::write(&config.key, key.serialize_pem()).expect("is written");
        config
    }

    #[test]
    fn new_files_are_taken_once_they_stand_still_and_bad_ones_never() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = write(dir.path(), "one");
        let tls = Tls::open(config.clone()).expect("opens");
        let first = tls.current();
        assert!(tls.expires() > 0 && tls.reload().is_none());
        std::fs::write(&config.key, "half a key").expect("is written");
        assert!(tls.reload().is_none(), "it may still be written");
        assert!(tls.reload().is_some_and(|taken| taken.is_err()));
        assert!(tls.reload().is_none(), "once is enough");
        assert!(Arc::ptr_eq(&first, &tls.current()), "those before stay in force");
        write(dir.path(), "two");
        assert!(tls.reload().is_none());
        assert_eq!(tls.reload(), Some(Ok(())));
        assert!(!Arc::ptr_eq(&first, &tls.current()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (good, other) = (write(one.path(), "one"), write(two.path(), "two"));
        assert_eq!(good.check(), Ok(()));
        let mixed = Config { key: other.key.clone(), ..good.clone() };
        assert!(mixed.check().is_err_and(|reason| reason.contains("cert.pem and")));
        let absent = Config { certificate: "/nowhere".into(), ..good.clone() };
        assert!(absent.check().is_err_and(|reason| reason.starts_with("/nowhere cannot be read: ")));
        let empty = Config { certificate: good.key.clone(), ..good.clone() };
        assert!(empty.check().is_err_and(|reason| reason.ends_with("holds no certificate")));
        let with_ca = Config { ca: Some(other.certificate), client: Client::Required, ..good };
        assert_eq!(with_ca.check(), Ok(()));
    }

    #[tokio::test]
    async fn where_certificates_are_required_only_this_machine_comes_without() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = write(dir.path(), "one");
        let (roots, _) = roots(&config.certificate).expect("is a root");
        let client = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("the provider has it")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        for (required, local, accepted) in
            [(Client::Required, false, false), (Client::Required, true, true), (Client::Optional, false, true)]
        {
            let config = Config { ca: Some(config.certificate.clone()), client: required, ..config.clone() };
            let tls = Tls::open(config).expect("opens");
            let (near, far) = tokio::io::duplex(4096);
            let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
            let (server, _client) = tokio::join!(tls.acceptor(local).accept(near), connector.connect(name, far));
            assert_eq!(server.is_ok(), accepted, "{required:?} {local} {:?}", server.err());
        }
    }
}
