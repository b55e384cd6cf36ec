//! ISO 8583: the card messages between a terminal, its acquirer and the issuer. One frame, one message.
//!
//! The standard fixes which fields there are and leaves to every network how it writes them. So how is data: a
//! [`Spec`] is a table of fields (`devices/*/specs/*.toml`), and the same table reads and writes. Where no spec is named
//! the one that explains the whole message is found among those that are part of the program.
//!
//! Reading has two steps: the wire to a message in [`Clear`], in buffers that are zeroed, and that to a [`Message`],
//! which holds no card data.

mod bitmap;
mod clear;
pub mod codes;
mod digits;
mod ebcdic;
mod field;
mod header;
mod keep;
mod mti;
mod notation;
mod recognise;
mod redact;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Fault;
pub use clear::Clear;
pub use header::{Header, HeaderKind};
pub use keep::HIDDEN;
pub use mti::{Class, Mti};
pub use notation::{Content, Length, Notation};
pub use redact::redacted;
pub use spec::{Encoding, Field, Fill, Keep, Side, Spec, SpecError};

/// What differs by network and link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The spec: the name of a built-in one, or a file (`spec.toml`) beside the profile. Without it the spec of every
    /// message is found among the built-in ones.
    pub spec: Option<String>,
    /// What stands before the message type.
    pub header: HeaderKind,
    /// The spec that `spec` names, once it was looked up.
    #[serde(skip)]
    named: Option<Arc<Spec>>,
}

impl Options {
    /// Looks up the spec that is named; `file` gives the text of a file beside the profile.
    ///
    /// # Errors
    /// What is wrong with the name or with the file.
    pub fn look_up(&mut self, file: impl FnOnce(&str) -> Result<String, String>) -> Result<(), String> {
        self.named = match &self.spec {
            None => None,
            Some(name) if name.ends_with(".toml") => {
                let spec = file(name).and_then(|text| Spec::parse(&text).map_err(|error| error.to_string()));
                Some(Arc::new(spec.map_err(|reason| format!("{name}: {reason}"))?))
            }
            Some(name) => Some(Spec::named(name).map_err(|error| error.to_string())?),
        };
        Ok(())
    }

    /// The spec that is named, once it was looked up.
    pub fn named(&self) -> Option<&Arc<Spec>> {
        self.named.as_ref()
    }

    /// The specs that a message can be of.
    fn specs(&self) -> &[Arc<Spec>] {
        match &self.named {
            Some(spec) => std::slice::from_ref(spec),
            None => Spec::builtin(),
        }
    }
}

/// A message without card data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// What stood before the message type; an answer bears it again.
    #[serde(skip_serializing_if = "Header::is_none")]
    pub header: Header,
    /// The message type.
    pub mti: Mti,
    /// The name of the spec that it was read by.
    pub spec: Arc<str>,
    /// How that spec writes numbers and bitmap, in words.
    pub encoding: Arc<str>,
    /// Which fields it has.
    pub field_ids: Vec<u8>,
    /// What they hold, as far as it may be shown.
    pub fields: BTreeMap<u8, String>,
    /// The card number that it is about, masked: of field 2, else of track 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// What kind of transaction it is about, where the processing code says one that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txn_type: Option<&'static str>,
}

impl Message {
    /// A message in clear, without its card data.
    pub fn new(clear: &Clear, spec: &Spec) -> Message {
        let fields = keep::shown(clear, spec);
        let known = clear.mti.class() != Class::Network;
        Message {
            header: clear.header,
            mti: clear.mti,
            spec: Arc::clone(&spec.name),
            encoding: Arc::clone(&spec.words),
            field_ids: fields.keys().copied().collect(),
            card: keep::card(clear),
            txn_type: fields.get(&3).filter(|_| known).and_then(|code| codes::transaction_type(code)),
            fields,
        }
    }

    /// What a field holds.
    pub fn field(&self, number: u8) -> Option<&str> {
        self.fields.get(&number).map(String::as_str)
    }

    /// The terminal's own name: field 41 without the spaces that fill it.
    pub fn terminal(&self) -> Option<&str> {
        self.field(41).map(str::trim).filter(|name| !name.is_empty())
    }
}

/// Decodes one frame.
///
/// # Errors
/// Where no spec explains the whole frame; the reason is that of the spec that came farthest.
pub fn decode(frame: &[u8], options: &Options) -> Result<Message, Fault> {
    decode_clear(frame, options).map(|(spec, clear)| Message::new(&clear, &spec))
}

/// Decodes one frame with everything that it holds, for who answers it or has to check a PIN.
///
/// # Errors
/// As [`decode`].
pub fn decode_clear(frame: &[u8], options: &Options) -> Result<(Arc<Spec>, Clear), Fault> {
    recognise::recognise(frame, options.header, options.specs())
}
