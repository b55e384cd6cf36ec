//! The links' part of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::tls::{self, Side};
use crate::protocol::framing::Framing;
use crate::protocol::{Protocol, xfs4iot};

/// One way that a terminal is heard: a TCP port of its own, a TCP connection to it, or a serial port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name, unique within the terminal.
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The device profile it is decoded by, where that is not the terminal's: a folder's name under `devices/`.
    #[serde(default)]
    pub profile: Option<String>,
    /// Address and port to listen on.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// Host and port of the terminal, where the gateway connects to it: `host:port`. For XFS4IoT the publisher,
    /// `wss://host:port`; a host alone is looked for at every port that a publisher may have.
    #[serde(default)]
    pub dial: Option<String>,
    /// TLS of `listen` or `dial`; in the clear where absent.
    #[serde(default)]
    pub tls: Option<tls::Config>,
    /// Serial device, best by its name under `/dev/serial/by-id`.
    #[serde(default)]
    pub serial: Option<PathBuf>,
    /// Bits a second of the serial port.
    #[serde(default = "baud")]
    pub baud: u32,
    /// Parity of the serial port.
    #[serde(default)]
    pub parity: Parity,
    /// Data bits of the serial port: 5 to 8.
    #[serde(default = "data_bits")]
    pub data_bits: u8,
    /// Stop bits of the serial port: 1 or 2.
    #[serde(default = "stop_bits")]
    pub stop_bits: u8,
    /// A connection that says nothing for this long is closed; 0 for never. Seconds. Not for serial ports, and not for
    /// XFS4IoT, whose services are asked for signs of life.
    #[serde(default)]
    pub idle_timeout_s: u64,
    /// A terminal that has hung up in good order is lost once it has stayed away for this long, so that one that calls for
    /// each message is not lost at each. Seconds; 0 for at once.
    #[serde(default = "lost_after_s")]
    pub lost_after_s: u64,
    /// Longest frame or line, in bytes; what is usual for the protocol where absent.
    #[serde(default)]
    pub max_frame_bytes: Option<usize>,
    /// Whether the gateway never says a byte on it: a tap on a line between others.
    #[serde(default)]
    pub listen_only: bool,
    /// Whether commands may be sent to the terminal on it.
    #[serde(default)]
    pub commands: bool,
}

/// A TCP port that several terminals share; each says who it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Its name, unique among the listeners.
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// TLS of its connections; in the clear where absent. A terminal's own `pin_sha256` counts besides.
    #[serde(default)]
    pub tls: Option<tls::Config>,
    /// What becomes of a terminal that nobody configured; `refuse` where absent, but `accept` for uploads, which bring
    /// their terminals with them.
    #[serde(default)]
    pub unknown: Option<Unknown>,
    /// The device profile it is decoded by, and of such a terminal where it is accepted; the protocol's usual one where
    /// absent.
    #[serde(default)]
    pub profile: Option<String>,
    /// Most connections at once.
    #[serde(default = "max_connections")]
    pub max_connections: usize,
    /// A connection that says nothing for this long is closed; 0 for never. Seconds.
    #[serde(default = "idle_timeout_s")]
    pub idle_timeout_s: u64,
    /// A terminal that has hung up in good order is lost once it has stayed away for this long, so that one that calls for
    /// each message is not lost at each. Seconds; 0 for at once.
    #[serde(default = "lost_after_s")]
    pub lost_after_s: u64,
    /// Longest frame, line or file, in bytes; what is usual for the protocol where absent.
    #[serde(default)]
    pub max_frame_bytes: Option<usize>,
    /// Whether commands may be sent to the terminals on it.
    #[serde(default)]
    pub commands: bool,
}

/// Parity of a serial line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Parity {
    /// No parity bit.
    #[default]
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// What becomes of a terminal that nobody configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// Its connection is closed, and an event says so.
    #[default]
    Refuse,
    /// Its events are kept under `unknown-` and the name it gave, and an event says so.
    Accept,
}

/// A serial line's settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) baud: u32,
    pub(super) parity: Parity,
    pub(super) data_bits: u8,
    pub(super) stop_bits: u8,
}

impl Config {
    pub(super) fn line(&self) -> Line {
        Line { baud: self.baud, parity: self.parity, data_bits: self.data_bits, stop_bits: self.stop_bits }
    }

    /// Whether commands may go out on it.
    pub(super) fn takes_commands(&self) -> bool {
        self.commands && !self.listen_only
    }

    /// What is wrong with it: key and sentence.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        faults.extend(self.commands.then(|| commands_fault(self.protocol)).flatten());
        if self.commands && self.listen_only {
            faults.push(("commands", "a link that is `listen_only` takes none".to_owned()));
        }
        match (&self.listen, &self.serial, &self.dial) {
            (Some(_), None, None) if self.protocol == Protocol::Xfs4iot => {
                faults.push(("listen", "XFS4IoT services are dialled: give `dial`".to_owned()));
            }
            (None, Some(_), None) if self.protocol == Protocol::Xfs4iot => {
                faults.push(("serial", "XFS4IoT services are dialled: give `dial`".to_owned()));
            }
            (Some(_), None, None) | (None, Some(_), None) => {}
            (None, None, Some(dial)) => faults.extend(self.dial_fault(dial).map(|reason| ("dial", reason))),
            _ => faults.push(("listen", "give one of `listen`, `dial` and `serial`".to_owned())),
        }
        if let Some(tls) = &self.tls {
            faults.extend(tls.faults(self.side()));
            if self.serial.is_some() {
                faults.push(("tls", "is for `listen` and `dial`".to_owned()));
            }
        }
        if !(5..=8).contains(&self.data_bits) {
            faults.push(("data_bits", format!("{} is not 5, 6, 7 or 8", self.data_bits)));
        }
        if !(1..=2).contains(&self.stop_bits) {
            faults.push(("stop_bits", format!("{} is not 1 or 2", self.stop_bits)));
        }
        if !(50..=4_000_000).contains(&self.baud) {
            faults.push(("baud", format!("{} is no speed of a serial port", self.baud)));
        }
        if self.protocol == Protocol::Upload {
            faults.push(("protocol", "files speak for several terminals: they come by a [[listener]]".to_owned()));
        }
        faults.extend(self.max_frame_bytes.and_then(|bytes| frame_fault(self.protocol, bytes)));
        faults
    }

    fn dial_fault(&self, dial: &str) -> Option<String> {
        let address: Address = match dial.parse() {
            Ok(address) => address,
            Err(reason) => return Some(reason),
        };
        if self.protocol == Protocol::Xfs4iot {
            return match (address.secure, &self.tls) {
                (Some(true), None) => Some("`wss` needs a `tls` table: whom to trust".to_owned()),
                (Some(false), Some(_)) => Some("`ws` is in the clear, and the link has a `tls` table".to_owned()),
                _ => None,
            };
        }
        (address.port.is_none() || address.secure.is_some() || address.path.is_some())
            .then(|| format!("`{dial}` must be `host:port`"))
    }

    /// Which side of its TLS we are.
    pub(super) fn side(&self) -> Side {
        if self.dial.is_some() { Side::Client } else { Side::Server }
    }

    /// What is wrong with the files that it names, now.
    pub fn file_faults(&self) -> Vec<String> {
        self.tls.as_ref().map(|tls| tls::check(tls, self.side())).unwrap_or_default()
    }

    /// Longest frame or line, in bytes.
    pub fn frame_limit(&self) -> usize {
        self.max_frame_bytes.unwrap_or_else(|| usual_frame_bytes(self.protocol))
    }
}

impl ListenerConfig {
    /// Longest frame, line or file, in bytes.
    pub fn frame_limit(&self) -> usize {
        self.max_frame_bytes.unwrap_or_else(|| usual_frame_bytes(self.protocol))
    }

    /// What becomes of a terminal that nobody configured.
    pub fn unknown(&self) -> Unknown {
        self.unknown.unwrap_or(match self.protocol {
            Protocol::Upload => Unknown::Accept,
            _ => Unknown::Refuse,
        })
    }

    /// What is wrong with it: key and sentence.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let own_limit = self.max_frame_bytes.and_then(|bytes| frame_fault(self.protocol, bytes));
        let mut faults: Vec<_> = own_limit.into_iter().collect();
        faults.extend(self.commands.then(|| commands_fault(self.protocol)).flatten());
        if self.max_connections == 0 {
            faults.push(("max_connections", "must not be 0".to_owned()));
        }
        faults.extend(self.tls.iter().flat_map(|tls| tls.faults(Side::Server)));
        if self.protocol == Protocol::Xfs4iot {
            faults.push(("protocol", "XFS4IoT services are dialled: give the terminal a link with `dial`".to_owned()));
        }
        faults
    }

    /// What is wrong with the files that it names, now.
    pub fn file_faults(&self) -> Vec<String> {
        self.tls.as_ref().map(|tls| tls::check(tls, Side::Server)).unwrap_or_default()
    }
}

/// Most bytes of a frame, and of an uploaded file: it is held whole while it is read.
const MAX_FRAME: usize = 1024 * 1024;
const MAX_UPLOAD: usize = 4 * 1024 * 1024;

fn frame_fault(protocol: Protocol, bytes: usize) -> Option<(&'static str, String)> {
    let most = if protocol == Protocol::Upload { MAX_UPLOAD } else { MAX_FRAME };
    (!(64..=most).contains(&bytes)).then(|| ("max_frame_bytes", format!("{bytes} is not between 64 and {most}")))
}

/// Protocols that have no words for a terminal, and those of which we only read what they say.
fn commands_fault(protocol: Protocol) -> Option<(&'static str, String)> {
    (!matches!(protocol, Protocol::Ndc | Protocol::Xfs4iot))
        .then(|| ("commands", format!("terminals of protocol {} are only listened to", protocol.name())))
}

fn baud() -> u32 {
    9600
}

fn data_bits() -> u8 {
    8
}

fn stop_bits() -> u8 {
    1
}

fn idle_timeout_s() -> u64 {
    900
}

fn lost_after_s() -> u64 {
    10
}

fn usual_frame_bytes(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Xfs4iot => xfs4iot::MAX_MESSAGE,
        Protocol::Upload => Framing::UPLOAD.max(),
        _ => 16 * 1024,
    }
}

fn max_connections() -> usize {
    4096
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        let config: Config = toml::from_str(&format!("name = \"x\"\n{text}")).expect("of the right types");
        config.faults().iter().map(|(key, _)| *key).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_link_has_one_place_and_tls_says_whom_to_trust() {
        let own = "certificate = \"c\", key = \"k\"";
        for (text, expected) in [
            ("protocol = \"ndc\"\nlisten = \"0.0.0.0:1\"".to_owned(), ""),
            ("protocol = \"ndc\"\ndial = \"atm:1\"".to_owned(), ""),
            ("protocol = \"ndc\"".to_owned(), "listen"),
            ("protocol = \"ndc\"\nlisten = \"0.0.0.0:1\"\ndial = \"atm:1\"".to_owned(), "listen"),
            ("protocol = \"ndc\"\ndial = \"atm\"".to_owned(), "dial"),
            ("protocol = \"ndc\"\ndial = \"ws://atm:1\"".to_owned(), "dial"),
            ("protocol = \"xfs4iot\"\ndial = \"atm\"".to_owned(), ""),
            ("protocol = \"xfs4iot\"\ndial = \"wss://atm\"".to_owned(), "dial"),
            ("protocol = \"xfs4iot\"\nlisten = \"0.0.0.0:1\"".to_owned(), "listen"),
            ("protocol = \"xfs4iot\"\ndial = \"ws://atm\"\ntls = { ca = \"c\" }".to_owned(), "dial"),
            ("protocol = \"xfs4iot\"\ndial = \"wss://atm\"\ntls = { ca = \"c\" }".to_owned(), ""),
            ("protocol = \"ndc\"\ndial = \"atm:1\"\ntls = {}".to_owned(), "tls.ca"),
            (
                "protocol = \"ndc\"\nserial = \"/dev/x\"\ntls = { certificate = \"c\" }".to_owned(),
                "tls.key tls.client tls",
            ),
            (format!("protocol = \"ndc\"\nlisten = \"0.0.0.0:1\"\ntls = {{ {own} }}"), "tls.client"),
            (format!("protocol = \"ndc\"\nlisten = \"0.0.0.0:1\"\ntls = {{ {own}, client = \"none\" }}"), ""),
            (
                format!("protocol = \"ndc\"\nlisten = \"0.0.0.0:1\"\ntls = {{ {own}, client = \"none\", ca = \"a\" }}"),
                "tls.client",
            ),
            (format!("protocol = \"ndc\"\nlisten = \"0.0.0.0:1\"\ntls = {{ {own}, ca = \"a\" }}"), ""),
        ] {
            assert_eq!(faults(&text), expected, "{text}");
        }
    }
}
