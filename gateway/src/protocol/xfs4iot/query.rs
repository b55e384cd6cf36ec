//! What the gateway asks a terminal's services: four questions, and there is no way to build a fifth. What it may tell them to
//! do, where a link takes commands, is [`super::Reset`].

use serde::Serialize;
use serde_json::Value;

use super::leaves;
use crate::event::Device;

/// Most services of one terminal.
const MAX_SERVICES: usize = 64;

/// A question. None of them changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Which services there are; asked of the publisher.
    GetServices,
    /// How the device is.
    Status,
    /// What the device can do.
    Capabilities,
    /// How the storage units are.
    GetStorage,
}

impl Query {
    /// What is asked of every service once it is connected.
    pub const OF_A_SERVICE: [Query; 3] = [Query::Status, Query::Capabilities, Query::GetStorage];

    /// The command's name.
    pub fn name(self) -> &'static str {
        match self {
            Query::GetServices => "ServicePublisher.GetServices",
            Query::Status => "Common.Status",
            Query::Capabilities => "Common.Capabilities",
            Query::GetStorage => "Storage.GetStorage",
        }
    }

    /// The message to send, with this request number (from 1).
    pub fn message(self, request_id: u32) -> String {
        command(self.name(), request_id, &serde_json::json!({}))
    }
}

/// A command as a client says it.
pub(super) fn command(name: &'static str, request_id: u32, payload: &Value) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Header {
        r#type: &'static str,
        name: &'static str,
        request_id: u32,
        version: &'static str,
        timeout: u32,
    }
    let header = Header { r#type: "command", name, request_id, version: "2.0", timeout: 0 };
    serde_json::json!({ "header": header, "payload": payload }).to_string()
}

/// A service of a terminal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Whether it is spoken to over TLS.
    pub secure: bool,
    /// Its port.
    pub port: u16,
    /// Its path, with the slash: `/xfs4iot/v1.0/CardReader`.
    pub path: String,
}

impl Service {
    /// Reads an address such as `wss://atm.example:5847/xfs4iot/v1.0/CardReader`. The host in it is not kept: a gateway
    /// speaks to the terminal it was told of, and to no other because of what that terminal says.
    pub fn parse(uri: &str) -> Option<Service> {
        let (secure, rest) = match uri.split_once("://")? {
            ("wss", rest) => (true, rest),
            ("ws", rest) => (false, rest),
            _ => return None,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let after_host = authority.rsplit_once(']').map_or(authority, |(_, port)| port);
        let port = match after_host.rsplit_once(':') {
            Some((_, port)) => port.parse().ok().filter(|port| *port != 0)?,
            None if secure => 443,
            None => 80,
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%:@!$&'()*+,;=".contains(&byte);
        path.bytes().all(plain).then(|| Service { secure, port, path: format!("/{path}") })
    }

    /// The last part of its path: what the terminal calls it.
    pub fn name(&self) -> &str {
        self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// The device it is of, as far as its name says so.
    pub fn device(&self) -> Option<Device> {
        const WORDS: [(&str, Device); 15] = [
            ("cardreader", Device::CardReader),
            ("acceptor", Device::NoteAcceptor),
            ("recycler", Device::CashHandler),
            ("dispenser", Device::CashHandler),
            ("cash", Device::CashHandler),
            ("journal", Device::JournalPrinter),
            ("statement", Device::StatementPrinter),
            ("passbook", Device::Passbook),
            ("printer", Device::ReceiptPrinter),
            ("crypto", Device::Encryptor),
            ("pinpad", Device::Encryptor),
            ("encryptor", Device::Encryptor),
            ("auxiliar", Device::Sensors),
            ("barcode", Device::BarcodeReader),
            ("camera", Device::Camera),
        ];
        let name = self.name().to_ascii_lowercase();
        WORDS.iter().find(|(word, _)| name.contains(word)).map(|row| row.1)
    }
}

/// The addresses in an answer of the publisher.
///
/// # Errors
/// Where the payload is no JSON.
pub fn services(payload: &str) -> Result<Vec<String>, serde_json::Error> {
    let mut found = Vec::new();
    leaves::each(payload, |path, value| {
        let last = path.rsplit('.').next().unwrap_or_default();
        if last.eq_ignore_ascii_case("serviceURI") && found.len() < MAX_SERVICES && value.len() <= 512 {
            found.push(value.to_owned());
        }
    })?;
    Ok(found)
}
