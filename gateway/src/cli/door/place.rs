//! Where HTTP is served, as a person writes it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use axum::http::uri::Authority;

/// The port of a gateway where nobody says otherwise.
const USUAL: u16 = 8080;

/// A host, a port, and whether TLS is spoken, where that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Place {
    /// A name or an address, without brackets.
    pub(in crate::cli) host: String,
    /// The port.
    pub(in crate::cli) port: u16,
    /// `https://` says yes, `http://` no.
    pub(in crate::cli) tls: Option<bool>,
}

impl Place {
    /// The place of a gateway on this machine that listens there.
    pub(in crate::cli) fn of(listen: SocketAddr) -> Place {
        let ip = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
        Place { host: ip.to_string(), port: listen.port(), tls: None }
    }
}

impl Default for Place {
    fn default() -> Place {
        Place::of(SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL)))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (rest, tls, usual) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, Some(true), Some(443)),
            (None, Some(rest)) => (rest, Some(false), Some(80)),
            (None, None) => (text, None, None),
        };
        let expected = || "expected HOST:PORT or https://HOST:PORT".to_owned();
        let rest = rest.strip_suffix('/').filter(|_| tls.is_some()).unwrap_or(rest);
        let authority: Authority = rest.parse().map_err(|_| expected())?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || rest.contains('@') {
            return Err(expected());
        }
        let port = authority.port_u16().or(usual).ok_or_else(expected)?;
        Ok(Place { host: host.to_owned(), port, tls })
    }
}

/// Host and port, as a request's `Host` has them.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_people_write_it() {
        for (text, shown, tls) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", None),
            ("[::1]:8080", "[::1]:8080", None),
            ("branch-7.bank.example:8080", "branch-7.bank.example:8080", None),
            ("http://127.0.0.1", "127.0.0.1:80", Some(false)),
            ("https://branch-7:8443/", "branch-7:8443", Some(true)),
            ("https://[2001:db8::7]", "[2001:db8::7]:443", Some(true)),
        ] {
            let place: Place = text.parse().expect("a place");
            assert_eq!((place.to_string().as_str(), place.tls), (shown, tls), "{text}");
        }
        for text in ["", "branch-7", ":80", "https://", "https://a/b", "ftp://a:1", "a:99999", "vst_1_2@branch-7:80"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
        assert_eq!(Place::of("0.0.0.0:99".parse().expect("an address")).to_string(), "127.0.0.1:99");
    }
}
