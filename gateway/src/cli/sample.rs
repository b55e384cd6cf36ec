//! Recorded messages in JSON files: the bytes in `hex`, with the protocol and framing they came by.

use serde::Deserialize;

use crate::protocol::framing::{Framing, LengthForm};
use crate::protocol::journal::Dialect;
use crate::protocol::ndc::Speaker;
use crate::protocol::{Protocol, xfs4iot};

/// One recorded message. Keys that say where it comes from and what is expected of it are not read here.
#[derive(Debug, Deserialize)]
pub(super) struct Sample {
    /// Its name.
    pub(super) id: String,
    protocol: String,
    framing: String,
    hex: String,
}

impl Sample {
    /// Reads a sample file.
    pub(super) fn parse(json: &[u8]) -> Result<Sample, String> {
        serde_json::from_slice(json).map_err(|error| format!("no sample file: {error}"))
    }

    /// The protocol, or that there is no decoder for it.
    pub(super) fn protocol(&self) -> Result<Protocol, String> {
        match self.protocol.as_str() {
            "ndc_unsolicited" | "ndc_solicited" | "ndc_txn_request" | "ndc_host" | "ndc_ej_upload"
            | "ndc_encryptor" => Ok(Protocol::Ndc),
            "iso8583" => Ok(Protocol::Iso8583),
            "ej_text" | "hyosung_wince_journal" => Ok(Protocol::Journal),
            // Captures of our own name the protocol as settings do.
            other => <Protocol as clap::ValueEnum>::from_str(other, false)
                .map_err(|_| format!("no decoder for sample protocol `{other}`")),
        }
    }

    /// Who speaks in it, where the protocol has two sides that are read differently.
    pub(super) fn speaker(&self) -> Option<Speaker> {
        (self.protocol == "ndc_host").then_some(Speaker::Host)
    }

    /// The built-in profile that it is decoded by. Samples of printed journals do not name a maker: the words tell.
    pub(super) fn profile(&self, protocol: Protocol, bytes: &[u8]) -> &'static str {
        match self.protocol.as_str() {
            "ej_text" => Dialect::recognise(bytes),
            "hyosung_wince_journal" => "hyosung-moniplus",
            _ => protocol.usual_profile(),
        }
    }

    /// The framing of the bytes.
    pub(super) fn framing(&self) -> Result<Framing, String> {
        match self.framing.as_str() {
            "payload_only" | "none" => Ok(Framing::NONE),
            "upload" => Ok(Framing::UPLOAD),
            "len2be" => Ok(Framing::LENGTH),
            "len4ascii" => Ok(Framing::ASCII_LENGTH),
            "len2bcd" => Ok(Framing::length(LengthForm::Bcd2)),
            "len4visa" => Ok(Framing::length(LengthForm::Visa4)),
            "record:X+FS" => Ok(Framing::Delimiter { byte: 0x1c, max: Framing::LINE.max() }),
            "line:CR" | "line:LF" | "line:CRLF" => Ok(Framing::LINE),
            "websocket-text" => Ok(Framing::NONE.with_max(xfs4iot::MAX_MESSAGE)),
            triton if triton.starts_with("STX..ETX LRC") => Ok(Framing::TRITON),
            other => Err(format!("unknown sample framing `{other}`")),
        }
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        hex(&self.hex)
    }
}

/// Bytes from hexadecimal digits; white space between them does not matter.
pub(super) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|char| !char.is_whitespace())
        .map(|char| char.to_digit(16).ok_or_else(|| format!("`{}` is no hexadecimal digit", char.escape_default())))
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err("an odd number of hexadecimal digits".to_owned());
    }
    Ok(digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_with_white_space() {
        assert_eq!(hex("31 32\n1C"), Ok(vec![0x31, 0x32, 0x1c]));
        assert!(hex("3").is_err());
        assert!(hex("zz").is_err());
    }
}
