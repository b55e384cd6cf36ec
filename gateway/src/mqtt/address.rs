//! Where the brokers are: `mqtt://host`, `mqtts://host:8884`, in the order in which they are tried.

use std::fmt;
use std::net::IpAddr;

/// One broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or address; without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether it is spoken to by TLS.
    pub tls: bool,
}

impl Address {
    /// Whether what is said to it as it is can be read on the way: it is another host, and there is no TLS.
    pub fn is_exposed(&self) -> bool {
        let loopback =
            self.host.parse::<IpAddr>().map_or(self.host == "localhost", |ip| ip.to_canonical().is_loopback());
        !self.tls && !loopback
    }

    /// Reads `mqtt://host[:port]` (port 1883) or `mqtts://host[:port]` (TLS, port 8883).
    ///
    /// # Errors
    /// With a sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Address, String> {
        let (scheme, rest) = text.split_once("://").ok_or("must begin with `mqtt://` or `mqtts://`")?;
        let tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(format!("`{scheme}` must be `mqtt` or `mqtts`")),
        };
        let usual = if tls { 8883 } else { 1883 };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = match port {
            None => usual,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("`{port}` is no port"))?,
        };
        if host.trim() != host || host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(format!("`{host}` is no host; user names and passwords have settings of their own"));
        }
        Ok(Address { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        let Address { host, port, .. } = self;
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("mqtt://a", "mqtt://a:1883"),
            ("mqtts://broker.bank.example", "mqtts://broker.bank.example:8883"),
            ("mqtts://10.0.0.1:1/", "mqtts://10.0.0.1:1"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtts://[fe80::1]:99", "mqtts://[fe80::1]:99"),
        ] {
            assert_eq!(Address::parse(text).expect(text).to_string(), shown);
        }
        for text in ["", "a:1883", "http://a", "mqtt://", "mqtt://a:0", "mqtt://a:x", "mqtt://u:p@a", "mqtt://a/b"] {
            assert!(Address::parse(text).is_err(), "{text:?}");
        }
    }
}
