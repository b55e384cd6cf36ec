//! The settings of the HTTP interface.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tls;
use crate::auth::{self, Rate};

/// Settings of the HTTP interface.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Encryption; without it, plain HTTP.
    pub tls: Option<tls::Config>,
    /// Another address than loopback may be listened on without `tls`: something in front encrypts.
    pub plaintext: bool,
    /// Most connections at once from other machines; connections of this machine do not count.
    pub max_connections: usize,
    /// Most connections at once from one address; this machine is one.
    pub max_connections_per_address: usize,
    /// Most bytes of a request's path and headers.
    pub max_header_bytes: usize,
    /// Most headers of a request.
    pub max_headers: usize,
    /// Most bytes of a request's body.
    pub max_body_bytes: usize,
    /// Seconds for the TLS handshake, and for a request's headers from when the connection is free for them.
    pub header_timeout_s: u64,
    /// Seconds for a request's body, then for its answer to begin, and for each piece of it to be taken.
    pub request_timeout_s: u64,
    /// How often one address may ask for something that is not for everybody.
    pub address_rate: Rate,
    /// How often one token or certificate may.
    pub token_rate: Rate,
}

impl Default for Config {
    fn default() -> Self {
        let rate = Rate { per_second: 50, burst: 200 };
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
            plaintext: false,
            max_connections: 512,
            max_connections_per_address: 64,
            max_header_bytes: 16 * 1024,
            max_headers: 64,
            max_body_bytes: 64 * 1024,
            header_timeout_s: 10,
            request_timeout_s: 30,
            address_rate: rate,
            token_rate: rate,
        }
    }
}

impl Config {
    /// What is wrong, each with its key below `http`.
    pub fn faults(&self, auth: &auth::Config) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut add = |key, reason: String| faults.push((key, reason));
        if let Some((key, reason)) = self.exposed(auth) {
            add(key, reason);
        }
        for (key, value, least, most) in [
            ("max_connections", self.max_connections, 1, 65_536),
            ("max_connections_per_address", self.max_connections_per_address, 1, 65_536),
            ("max_header_bytes", self.max_header_bytes, 1024, 256 * 1024),
            ("max_headers", self.max_headers, 8, 1024),
            ("max_body_bytes", self.max_body_bytes, 1024, 16 << 20),
        ] {
            if !(least..=most).contains(&value) {
                add(key, format!("must be from {least} to {most}"));
            }
        }
        for (key, value) in [("header_timeout_s", self.header_timeout_s), ("request_timeout_s", self.request_timeout_s)]
        {
            if !(1..=3600).contains(&value) {
                add(key, "must be from 1 to 3600".to_owned());
            }
        }
        for (key, rate) in [("address_rate", self.address_rate), ("token_rate", self.token_rate)] {
            if rate.per_second > 0 && rate.burst == 0 {
                add(key, "`burst` must be 1 at least".to_owned());
            }
        }
        if !auth.certificates.is_empty() && self.tls.as_ref().is_none_or(|tls| tls.ca.is_none()) {
            add(
                "tls.ca",
                "is needed: `auth.certificates` says what the certificates it has issued are worth".to_owned(),
            );
        }
        if let Some(tls) = &self.tls {
            faults.extend(tls.faults());
        }
        faults
    }

    /// Why HTTP must not be served so: other machines reach it, and anybody there could come in or listen. With the key below
    /// `http` that says so.
    pub fn exposed(&self, auth: &auth::Config) -> Option<(&'static str, String)> {
        let address = self.listen.ip().to_canonical();
        let open = auth.loopback == auth::Loopback::Open;
        if open && self.plaintext {
            let reason = "says that something in front passes connections on, and they would all seem to come from this machine, \
                          which `auth.loopback = \"open\"` lets do everything: have tokens instead";
            return Some(("plaintext", reason.to_owned()));
        }
        let reason = self.reached(address, auth, open)?;
        Some(("listen", reason))
    }

    fn reached(&self, address: IpAddr, auth: &auth::Config, open: bool) -> Option<String> {
        if address.is_loopback() {
            None
        } else if !auth.is_configured() {
            Some(format!(
                "{address} can be reached from other machines, and nothing says who may come in: set `auth.tokens` (then \
                 `vestibule token add`) or `auth.certificates`, or listen on 127.0.0.1"
            ))
        } else if open {
            Some(format!(
                "{address} can be reached from other machines, and `auth.loopback = \"open\"` is for one that nobody else uses: \
                 take that away, or listen on 127.0.0.1"
            ))
        } else if self.tls.is_none() && !self.plaintext {
            Some(format!(
                "{address} can be reached from other machines, and tokens would cross the network as they are: set `http.tls`, \
                 or `http.plaintext = true` where something in front encrypts"
            ))
        } else {
            None
        }
    }

    /// Whether figures are for everybody.
    pub fn metrics_are_public(&self, auth: &auth::Config) -> bool {
        auth.public_metrics.unwrap_or(self.listen.ip().to_canonical().is_loopback())
    }

    pub(super) fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_s)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_needs_a_lock_and_a_wall() {
        let tls = || Some(tls::Config { certificate: "c".into(), key: "k".into(), ..tls::Config::default() });
        let tokens = || auth::Config { tokens: Some("t".into()), ..auth::Config::default() };
        let open = || auth::Config { loopback: auth::Loopback::Open, ..auth::Config::default() };
        let both = || auth::Config { loopback: auth::Loopback::Open, ..tokens() };
        for (listen, tls, plaintext, auth, fault) in [
            ("127.0.0.1:80", None, false, open(), None),
            ("127.0.0.1:80", None, true, open(), Some(("plaintext", "auth.loopback"))),
            ("127.0.0.1:80", None, true, both(), Some(("plaintext", "auth.loopback"))),
            ("192.0.2.1:80", tls(), false, both(), Some(("listen", "auth.loopback"))),
            ("127.0.0.1:80", None, false, auth::Config::default(), None),
            ("[::1]:80", None, false, auth::Config::default(), None),
            ("[::ffff:127.0.0.1]:80", None, false, auth::Config::default(), None),
            ("0.0.0.0:80", None, false, auth::Config::default(), Some(("listen", "auth.tokens"))),
            ("[::]:80", tls(), false, auth::Config::default(), Some(("listen", "auth.tokens"))),
            ("192.0.2.1:80", tls(), false, open(), Some(("listen", "auth.tokens"))),
            ("192.0.2.1:80", None, false, tokens(), Some(("listen", "http.tls"))),
            ("192.0.2.1:80", None, true, tokens(), None),
            ("192.0.2.1:80", tls(), false, tokens(), None),
        ] {
            let config = Config { listen: listen.parse().expect("an address"), tls, plaintext, ..Config::default() };
            let found = config.faults(&auth);
            match fault {
                Some((key, what)) => assert!(
                    matches!(found.as_slice(), [(at, reason)] if *at == key && reason.contains(what)),
                    "{listen}: {found:?}"
                ),
                None => assert_eq!(found, [], "{listen}"),
            }
        }
    }

    #[test]
    fn figures_are_public_on_loopback_alone_unless_somebody_says_so() {
        let (near, far) = (Config::default(), Config { listen: ([0, 0, 0, 0], 80).into(), ..Config::default() });
        let says = |public_metrics| auth::Config { public_metrics, ..auth::Config::default() };
        assert!(near.metrics_are_public(&says(None)) && !far.metrics_are_public(&says(None)));
        assert!(far.metrics_are_public(&says(Some(true))) && !near.metrics_are_public(&says(Some(false))));
    }
}
