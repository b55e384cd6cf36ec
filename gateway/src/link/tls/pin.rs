//! Certificates that are known by their hash, and the verifiers that ask for one.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::tls::signatures_by_provider;

/// The SHA-256 of a certificate's DER form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of this certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Pin {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut pin = [0; 32];
        pin.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Pin(pin)
    }
}

impl std::str::FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Pin, String> {
        let digits: Option<Vec<u32>> = text.chars().filter(|char| *char != ':').map(|char| char.to_digit(16)).collect();
        let bytes: Option<Vec<u8>> = digits
            .filter(|digits| digits.len() == 64)
            .map(|digits| digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect());
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Pin)
            .ok_or_else(|| "a SHA-256 has 64 hexadecimal digits".to_owned())
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Asks for a pinned certificate and, where there is an issuer to ask, for its signature too.
#[derive(Debug)]
pub(super) struct Pinned<V: ?Sized> {
    pub(super) pins: Vec<Pin>,
    pub(super) issuer: Option<Arc<V>>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl<V: ?Sized> Pinned<V> {
    fn known(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.pins.is_empty() || self.pins.contains(&Pin::of(certificate)) {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }
}

impl ServerCertVerifier for Pinned<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.known(leaf)?;
        match &self.issuer {
            Some(issuer) => issuer.verify_server_cert(leaf, chain, name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    signatures_by_provider!();
}

impl ClientCertVerifier for Pinned<dyn ClientCertVerifier> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.issuer.as_ref().map_or(&[], |issuer| issuer.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.known(leaf)?;
        match &self.issuer {
            Some(issuer) => issuer.verify_client_cert(leaf, chain, now),
            None => Ok(ClientCertVerified::assertion()),
        }
    }

    signatures_by_provider!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_reads_as_openssl_prints_it() {
        let pin = Pin::of(&CertificateDer::from(b"abc".to_vec()));
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(pin.to_string(), text);
        let colons: Vec<String> =
            text.to_uppercase().as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
        assert_eq!(colons.join(":").parse(), Ok(pin));
        for bad in ["", "ba78", "zz", &text[1..]] {
            assert!(bad.parse::<Pin>().is_err(), "{bad}");
        }
    }
}
