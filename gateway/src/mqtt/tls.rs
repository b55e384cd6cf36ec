//! TLS to the broker: settings from files, and what is wrong in words that name the file or the clock to mend.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

use crate::tls::{self, Fault, Own, certificates};

/// Settings of TLS. The files are read again at every connection, and when they change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file with the certificates of the authorities that may have signed the broker's. Default: the system's.
    pub ca: PathBuf,
    /// PEM file with our own certificate, and those between it and its authority; needs `key`. Default: none.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of our certificate. Default: none.
    pub key: Option<PathBuf>,
    /// The name that the broker's certificate must bear, where it is not the one we connect to. Default: none.
    pub server_name: Option<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Tls { ca: "/etc/ssl/certs/ca-certificates.crt".into(), certificate: None, key: None, server_name: None }
    }
}

impl Tls {
    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.ca), self.certificate.as_ref(), self.key.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Reads the files; with it, when our own certificate ends, in seconds of Unix time. Blocks for the time of a small read.
    pub(crate) fn read(&self) -> Result<(Arc<ClientConfig>, Option<i64>), String> {
        let sentence = |fault: Fault| fault.to_string();
        let mut roots = RootCertStore::empty();
        // A system's bundle may have some that are too old to be read.
        let (added, _) = roots.add_parsable_certificates(certificates(&self.ca).map_err(sentence)?);
        if added == 0 {
            return Err(format!("no certificate in {} can be used", self.ca.display()));
        }
        let builder = tls::client(&tls::provider()).map_err(sentence)?.with_root_certificates(roots);
        let (config, expiry) = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let own = Own::read(certificate, key).map_err(sentence)?;
                (own.show(builder).map_err(sentence)?, own.expiry())
            }
            _ => (builder.with_no_client_auth(), None),
        };
        Ok((Arc::new(config), expiry))
    }
}

/// A fault of TLS in words for whoever must mend it; `None` where the error is another's.
pub(crate) fn explain(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(fault) => certificate(fault),
        rustls::Error::AlertReceived(alert) => format!("the broker refuses: {}", refused(*alert)),
        rustls::Error::InvalidMessage(_) => "it does not speak TLS on this port".to_owned(),
        other => other.to_string(),
    })
}

fn certificate(fault: &CertificateError) -> String {
    if let Some(dates) = tls::dates(fault) {
        return format!("the broker's certificate {dates}");
    }
    match fault {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the broker's certificate is signed by nobody in the file of `tls.ca`".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("the broker's certificate is for {}, not for {}", presented.join(", "), expected.to_str())
        }
        CertificateError::NotValidForName => "the broker's certificate is for another name".to_owned(),
        other => format!("the broker's certificate is no good: {other}"),
    }
}

fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "it does not know the authority of our certificate".to_owned(),
        AlertDescription::CertificateRequired => "it wants a certificate of ours (tls.certificate)".to_owned(),
        AlertDescription::CertificateExpired => "our certificate has expired".to_owned(),
        AlertDescription::CertificateRevoked => "our certificate is revoked".to_owned(),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => "it does not accept our certificate".to_owned(),
        AlertDescription::AccessDenied => "access denied".to_owned(),
        AlertDescription::HandshakeFailure => "no cipher in common, or it wants a certificate of ours".to_owned(),
        AlertDescription::ProtocolVersion => "it speaks no version of TLS that is safe".to_owned(),
        AlertDescription::UnrecognisedName => "it does not know the name that we call it".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_other_kinds_are_not_explained() {
        assert_eq!(explain(&io::Error::from(io::ErrorKind::ConnectionReset)), None);
        let unknown = io::Error::other(rustls::Error::AlertReceived(AlertDescription::UnknownCA));
        let sentence = explain(&unknown).expect("a fault of TLS");
        assert_eq!(sentence, "the broker refuses: it does not know the authority of our certificate");
    }

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let dir = tempfile::tempdir().expect("temp dir");
        let ca = dir.path().join("ca.pem");
        let tls = Tls { ca: ca.clone(), ..Tls::default() };
        assert!(tls.read().expect_err("is not there").contains("ca.pem cannot be read"));
        std::fs::write(&ca, "nothing of the kind").expect("writes");
        assert!(tls.read().expect_err("is empty").ends_with("holds no certificate"));
    }
}
