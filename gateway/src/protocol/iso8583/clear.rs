//! A message in clear: what was read from the wire, or is to be written. It lives only between wire and mask.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use super::field::Value;
use super::header::Header;
use super::mti::Mti;
use super::notation::Length;
use super::spec::{Encoding, Side, Spec};
use super::{bitmap, digits, ebcdic};

/// A message with everything that it holds, card data included. Never logged: its debug form shows field numbers only.
#[derive(Clone, PartialEq, Eq)]
pub struct Clear {
    /// What stood before the message type.
    pub header: Header,
    /// The message type.
    pub mti: Mti,
    fields: BTreeMap<u8, Value>,
}

/// Why bytes are no message of a spec, and how many of them were understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) mti: Option<Mti>,
    pub(super) reason: String,
}

impl Clear {
    /// A message without fields.
    pub fn new(mti: Mti) -> Clear {
        Clear { header: Header::None, mti, fields: BTreeMap::new() }
    }

    /// The same message with one more field: text of one byte a character, or the bytes of a binary field.
    #[must_use]
    pub fn with(mut self, field: u8, value: &[u8]) -> Clear {
        self.fields.insert(field, Zeroizing::new(value.to_vec()));
        self
    }

    /// What a field holds.
    pub fn field(&self, number: u8) -> Option<&[u8]> {
        self.fields.get(&number).map(|value| value.as_slice())
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (u8, &Value)> {
        self.fields.iter().map(|(number, value)| (*number, value))
    }
}

impl fmt::Debug for Clear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clear").field("mti", &self.mti).field("fields", &self.fields.keys()).finish_non_exhaustive()
    }
}

impl Spec {
    /// Reads one whole message, from the message type on.
    pub(super) fn read(&self, body: &[u8]) -> Result<Clear, Broken> {
        let broken = |rest: &[u8], mti, reason| Broken { at: body.len() - rest.len(), mti, reason };
        let (mti, rest) = self.read_mti(body).map_err(|reason| broken(body, None, reason))?;
        let (numbers, mut rest) = bitmap::read(rest, self.bitmap).map_err(|reason| broken(rest, Some(mti), reason))?;
        let mut clear = Clear::new(mti);
        for number in numbers {
            let read = self.field(number).ok_or_else(|| "the spec does not have it".to_owned());
            let (value, after) = read
                .and_then(|field| field.read(rest))
                .map_err(|reason| broken(rest, Some(mti), format!("field {number}: {reason}")))?;
            clear.fields.insert(number, value);
            rest = after;
        }
        if rest.is_empty() {
            Ok(clear)
        } else {
            Err(broken(rest, Some(mti), format!("{} bytes follow the last field", rest.len())))
        }
    }

    /// Writes a message, header included; the same table reads it again.
    ///
    /// # Errors
    /// Where the message type is of another version, or a field is not in the spec, too long or not of its type. The
    /// reason names the field and never shows its content.
    pub fn encode(&self, message: &Clear) -> Result<Zeroizing<Vec<u8>>, String> {
        if message.mti.version() != self.version {
            return Err(format!("message type {} is not of the version of {}", message.mti, self.name));
        }
        // Room for all of it, so that the buffer never moves and leaves a copy.
        let mut room = message.header.as_bytes().len() + 4 + 32;
        for (number, value) in message.fields() {
            let field = self.field(number).ok_or_else(|| format!("field {number}: the spec does not have it"))?;
            let fixed = if let Length::Fixed(length) = field.notation.length { length } else { 0 };
            room += value.len().max(fixed) * 2 + 4;
        }
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        out.extend_from_slice(message.header.as_bytes());
        match self.mti {
            Encoding::Bcd => digits::pack(message.mti.as_str().as_bytes(), Side::Left, 0, &mut out),
            Encoding::Ebcdic => out.extend(message.mti.as_str().bytes().map(ebcdic::from_latin1)),
            _ => out.extend_from_slice(message.mti.as_str().as_bytes()),
        }
        bitmap::write(message.fields.keys().copied(), self.bitmap, &mut out);
        for (number, value) in message.fields() {
            if let Some(field) = self.field(number) {
                field.write(value, &mut out).map_err(|reason| format!("field {number}: {reason}"))?;
            }
        }
        Ok(out)
    }

    fn read_mti<'a>(&self, body: &'a [u8]) -> Result<(Mti, &'a [u8]), String> {
        let count = if self.mti == Encoding::Bcd { 2 } else { 4 };
        let (bytes, rest) = body.split_at_checked(count).ok_or("message type: the message ends in it")?;
        let digits = match self.mti {
            Encoding::Bcd => digits::to_hex(bytes).as_bytes().try_into().ok(),
            Encoding::Ebcdic => ebcdic::decode(bytes).as_slice().try_into().ok(),
            _ => bytes.try_into().ok(),
        };
        let mti = digits.and_then(Mti::new).filter(|mti| mti.version() == self.version);
        mti.map(|mti| (mti, rest)).ok_or_else(|| format!("no message type of {}", self.name))
    }
}
