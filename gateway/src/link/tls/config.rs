//! The TLS part of a link's configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Pin, Side};

/// TLS of one link or listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// File with our certificate and, below it, those that lead to its issuer (PEM). Needed where we listen.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// File with its private key (PEM: PKCS #8, PKCS #1 or SEC 1).
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// File with the certificates of those that may have issued the other side's (PEM).
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Where we listen: whether a terminal must show a certificate.
    #[serde(default)]
    pub client: ClientCertificate,
    /// SHA-256 of the certificates that the other side may show, of their DER form: 64 hexadecimal digits, with or
    /// without colons. `openssl x509 -noout -fingerprint -sha256` prints one.
    #[serde(default)]
    pub pin_sha256: Vec<Pin>,
    /// Where we dial: the name that the certificate must have, where it is not the host that is dialled.
    #[serde(default)]
    pub server_name: Option<String>,
}

/// Whether a terminal that connects must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It must, and it must be one that is trusted.
    #[default]
    Required,
    /// It is not asked for one: the connection is private, but anybody may make it.
    None,
}

impl Config {
    /// What is wrong with it: key and sentence. The files are not looked at.
    pub fn faults(&self, side: Side) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut add = |key, reason: &str| faults.push((key, reason.to_owned()));
        if self.certificate.is_some() != self.key.is_some() {
            add("tls.key", "`certificate` and `key` belong together");
        }
        let trusts = self.ca.is_some() || !self.pin_sha256.is_empty();
        match side {
            Side::Server => {
                if self.certificate.is_none() {
                    add("tls.certificate", "is needed where the gateway listens");
                }
                if self.client == ClientCertificate::Required && !trusts {
                    add("tls.client", "`required` needs `ca` or `pin_sha256`; `none` lets anybody connect");
                }
                if self.client == ClientCertificate::None && trusts {
                    add("tls.client", "with `none` no certificate is asked for: `ca` and `pin_sha256` say nothing");
                }
                if self.server_name.is_some() {
                    add("tls.server_name", "is for links that dial");
                }
            }
            Side::Client => {
                if !trusts {
                    add("tls.ca", "give `ca` or `pin_sha256`: without one, anybody can answer");
                }
            }
        }
        faults
    }
}
