//! Where a link dials.

use std::fmt;

/// A host to dial: `host:port`, and for WebSocket services `wss://host:port/path`, with all but the host left out at will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Whether it is spoken to over TLS, where the address says so.
    pub(super) secure: Option<bool>,
    /// Name or number of the host; a version 6 address without its brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// With its slash.
    pub(super) path: Option<String>,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let bad = || format!("`{text}` is no address such as `host:port`");
        let (secure, rest) = match text.split_once("://") {
            Some(("wss", rest)) => (Some(true), rest),
            Some(("ws", rest)) => (Some(false), rest),
            Some(_) => return Err(bad()),
            None => (None, text),
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(format!("/{path}"))),
            None => (rest, None),
        };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, after)) => (host, Some(after.strip_prefix(':').ok_or_else(bad)?)),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(|port| port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)).transpose()?;
        let plain = |char: char| char.is_ascii_alphanumeric() || "-._:".contains(char);
        if host.is_empty()
            || !host.chars().all(plain)
            || path.iter().any(|path| !path.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(bad());
        }
        Ok(Address { secure, host: host.to_owned(), port, path })
    }
}

impl Address {
    /// The host as it stands in front of a port.
    pub(super) fn shown_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.secure {
            Some(true) => f.write_str("wss://")?,
            Some(false) => f.write_str("ws://")?,
            None => {}
        }
        f.write_str(&self.shown_host())?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.path.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_are_shown_as_they_were() {
        for text in ["atm-7.branch:4000", "10.0.0.7", "wss://atm-7:5846", "ws://[::1]:80/xfs4iot/v1.0", "[fe80::1]:9"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("[fe80::1]:9".parse::<Address>().map(|address| address.host).as_deref(), Ok("fe80::1"));
        for bad in ["", ":1", "a:", "a:0", "a:70000", "http://a", "a b:1", "ws://a/ b", "[::1", "a:1:2"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
