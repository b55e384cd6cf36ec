//! The links' part of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;

/// One way that a terminal is heard: a TCP port of its own, or a serial port.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    /// A connection that says nothing for this long is closed; 0 for never. Seconds. Not for serial ports.
    #[serde(default = "idle_timeout_s")]
    pub idle_timeout_s: u64,
    /// Longest frame or line, in bytes.
    #[serde(default = "max_frame_bytes")]
    pub max_frame_bytes: usize,
}

/// A TCP port that several terminals share; each says who it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Its name, unique among the listeners.
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Address and port to listen on.
    pub listen: SocketAddr,
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
    /// Longest frame or line, in bytes.
    #[serde(default = "max_frame_bytes")]
    pub max_frame_bytes: usize,
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

    /// What is wrong with it: key and sentence.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.listen.is_some() == self.serial.is_some() {
            faults.push(("listen", "give either `listen` or `serial`".to_owned()));
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
        faults.extend(frame_fault(self.protocol, self.max_frame_bytes));
        faults
    }
}

impl ListenerConfig {
    /// What becomes of a terminal that nobody configured.
    pub fn unknown(&self) -> Unknown {
        self.unknown.unwrap_or(match self.protocol {
            Protocol::Upload => Unknown::Accept,
            _ => Unknown::Refuse,
        })
    }

    /// What is wrong with it: key and sentence.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults: Vec<_> = frame_fault(self.protocol, self.max_frame_bytes).into_iter().collect();
        if self.max_connections == 0 {
            faults.push(("max_connections", "must not be 0".to_owned()));
        }
        faults
    }
}

/// Most bytes of a frame, and of an uploaded file: it is held whole while it is read.
const MAX_FRAME: usize = 1024 * 1024;
const MAX_UPLOAD: usize = 4 * 1024 * 1024;

fn frame_fault(protocol: Protocol, bytes: usize) -> Option<(&'static str, String)> {
    let most = if protocol == Protocol::Upload { MAX_UPLOAD } else { MAX_FRAME };
    (!(64..=most).contains(&bytes)).then(|| ("max_frame_bytes", format!("{bytes} is not between 64 and {most}")))
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

fn max_frame_bytes() -> usize {
    16 * 1024
}

fn max_connections() -> usize {
    4096
}
