//! Certificates and keys from PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WantsServerCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig};

use super::{Fault, expiry};

/// The certificates of a file, in their order. Blocks for the time of a small read, as all here does.
///
/// # Errors
/// Where the file cannot be read, or there is none in it.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found = read.map_err(|error| Fault::Unreadable(shown(path), error.to_string()))?;
    if found.is_empty() { Err(Fault::Empty(shown(path))) } else { Ok(found) }
}

/// The issuers of a file, every one of which must be fit to be one.
///
/// # Errors
/// As [`certificates`], and where one is not.
pub(crate) fn roots(path: &Path) -> Result<(Arc<RootCertStore>, Option<i64>), Fault> {
    let issuers = certificates(path)?;
    let first_expiry = issuers.iter().filter_map(expiry).min();
    let mut roots = RootCertStore::empty();
    for issuer in issuers {
        roots.add(issuer).map_err(|error| Fault::Issuer(shown(path), error))?;
    }
    Ok((Arc::new(roots), first_expiry))
}

/// A certificate of our own, those that lead to its issuer, and its private key.
pub(crate) struct Own {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    names: (String, String),
}

impl Own {
    /// Reads both files.
    ///
    /// # Errors
    /// Where one cannot be read. Whether they fit shows where they are used.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Own, Fault> {
        let chain = certificates(certificate)?;
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|error| Fault::Unreadable(shown(key), error.to_string()))?;
        Ok(Own { chain, key: private, names: (shown(certificate), shown(key)) })
    }

    /// When the certificate expires, in seconds of Unix time.
    pub(crate) fn expiry(&self) -> Option<i64> {
        self.chain.first().and_then(expiry)
    }

    /// Shows it to whoever connects.
    ///
    /// # Errors
    /// Where certificate and key do not fit.
    pub(crate) fn serve(&self, builder: ConfigBuilder<ServerConfig, WantsServerCert>) -> Result<ServerConfig, Fault> {
        builder.with_single_cert(self.chain.clone(), self.key.clone_key()).map_err(|error| self.fault(error))
    }

    /// Shows it to whom we connect.
    ///
    /// # Errors
    /// Where certificate and key do not fit.
    pub(crate) fn show(&self, builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> Result<ClientConfig, Fault> {
        builder.with_client_auth_cert(self.chain.clone(), self.key.clone_key()).map_err(|error| self.fault(error))
    }

    fn fault(&self, error: rustls::Error) -> Fault {
        let (certificate, key) = self.names.clone();
        match error {
            rustls::Error::InconsistentKeys(_) => Fault::Mismatch(certificate, key),
            error => Fault::Unusable(certificate, key, error),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_with_its_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        for name in ["one", "two"] {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
            let certificate = params.self_signed(&key).expect("is signed");
            std::fs::write(path(name), certificate.pem()).expect("is written");
            std::fs::write(path(&format!("{name}.key")), key.serialize_pem()).expect("is written");
        }
        let sentence = |fault: Option<Fault>| fault.map(|fault| fault.to_string()).unwrap_or_default();
        assert!(sentence(certificates(&path("three")).err()).contains("three cannot be read: "));
        assert!(sentence(certificates(&path("one.key")).err()).ends_with("one.key: holds no certificate"));
        assert!(sentence(Own::read(&path("one"), &path("two")).err()).contains("two cannot be read: "));
        let builder = || super::super::server(&super::super::provider()).expect("a provider").with_no_client_auth();
        assert!(Own::read(&path("one"), &path("one.key")).is_ok_and(|own| own.serve(builder()).is_ok()));
        let mixed = Own::read(&path("one"), &path("two.key")).expect("both are read");
        let sentence = sentence(mixed.serve(builder()).err());
        assert!(sentence.contains("one and ") && sentence.ends_with("the key does not belong to the certificate"));
        assert!(roots(&path("one")).is_ok_and(|(roots, expiry)| roots.len() == 1 && expiry.is_some()));
    }
}
