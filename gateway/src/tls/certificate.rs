//! What a certificate says.

use rustls::pki_types::CertificateDer;
use x509_cert::der::Decode;

/// When it expires, in seconds of Unix time; `None` where its form is too unusual to tell.
pub(crate) fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    i64::try_from(parsed.tbs_certificate().validity().not_after.to_unix_duration().as_secs()).ok()
}

/// Its subject as RFC 4514 writes it; what could be taken for another part of it is escaped.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    Some(parsed.tbs_certificate().subject().to_string()).filter(|subject| !subject.is_empty())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_subject_cannot_pretend_to_be_another() {
        for (name, written) in [("noc", "CN=noc,O=Bank"), ("noc,O=Bank", "CN=noc\\,O\\=Bank,O=Bank")] {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "Bank");
            params.distinguished_name.push(DnType::CommonName, name);
            let signed = params.self_signed(&KeyPair::generate().expect("a key")).expect("is signed");
            let subject = subject(signed.der()).expect("has one");
            assert_eq!(subject.replace("O\\=", "O="), written.replace("O\\=", "O="), "{name}");
            assert!(expiry(signed.der()).is_some_and(|at| at > 0));
        }
    }
}
