//! A spec file: what is written in it, over what it is based on, to a spec.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Encoding, Field, Fill, Keep, Side, Spec, SpecError};
use crate::protocol::iso8583::notation::{Content, Length, Notation};

/// A spec file as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileText {
    name: String,
    based_on: Option<String>,
    words: Option<String>,
    version: Option<u8>,
    #[serde(default)]
    wire: WireText,
    #[serde(default)]
    fields: BTreeMap<u8, FieldText>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WireText {
    mti: Option<Encoding>,
    bitmap: Option<Encoding>,
    prefix: Option<Encoding>,
    n: Option<Encoding>,
    #[serde(rename = "x+n")]
    signed: Option<Encoding>,
    z: Option<Encoding>,
    an: Option<Encoding>,
    ans: Option<Encoding>,
    b: Option<Encoding>,
    odd_fixed: Option<Side>,
    odd_variable: Option<Side>,
    fill: Option<Fill>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FieldText {
    r#type: Option<String>,
    name: Option<String>,
    encoding: Option<Encoding>,
    prefix: Option<Encoding>,
    odd: Option<Side>,
    fill: Option<Fill>,
    keep: Option<Keep>,
}

impl FileText {
    /// The file, completed by what it is based on: one of these, which itself is based on one before it at most.
    pub(super) fn with_bases(text: &str, bases: &[(&str, &str)]) -> Result<FileText, SpecError> {
        let file: FileText = toml::from_str(text)?;
        let Some(name) = &file.based_on else { return Ok(file) };
        let at = bases.iter().position(|base| base.0 == name).ok_or_else(|| SpecError::Unknown(name.clone()))?;
        let base = FileText::with_bases(bases[at].1, &bases[..at])?;
        Ok(file.over(base))
    }

    fn over(self, base: FileText) -> FileText {
        let (own, under) = (self.wire, base.wire);
        let mut fields = base.fields;
        for (number, own) in self.fields {
            let under = fields.entry(number).or_default();
            *under = FieldText {
                r#type: own.r#type.or(under.r#type.take()),
                name: own.name.or(under.name.take()),
                encoding: own.encoding.or(under.encoding),
                prefix: own.prefix.or(under.prefix),
                odd: own.odd.or(under.odd),
                fill: own.fill.or(under.fill),
                keep: own.keep.or(under.keep),
            };
        }
        FileText {
            name: self.name,
            based_on: None,
            words: self.words.or(base.words),
            version: self.version.or(base.version),
            wire: WireText {
                mti: own.mti.or(under.mti),
                bitmap: own.bitmap.or(under.bitmap),
                prefix: own.prefix.or(under.prefix),
                n: own.n.or(under.n),
                signed: own.signed.or(under.signed),
                z: own.z.or(under.z),
                an: own.an.or(under.an),
                ans: own.ans.or(under.ans),
                b: own.b.or(under.b),
                odd_fixed: own.odd_fixed.or(under.odd_fixed),
                odd_variable: own.odd_variable.or(under.odd_variable),
                fill: own.fill.or(under.fill),
            },
            fields,
        }
    }

    /// The spec, with the encoding of every field looked up.
    pub(super) fn spec(self) -> Result<Spec, SpecError> {
        use Encoding::{Ascii, Bcd, Binary, Ebcdic, EbcdicHex, Hex};
        let version = self.version.ok_or(SpecError::Missing("version"))?;
        if version > 2 {
            return Err(value("version", "0 is 1987, 1 is 1993, 2 is 2003"));
        }
        let wire = self.wire;
        let mut fields = BTreeMap::new();
        for (number, text) in self.fields {
            if !(2..=128).contains(&number) || number == 65 {
                return Err(value(&format!("fields.{number}"), "fields are 2 to 64 and 66 to 128"));
            }
            fields.insert(number, text.field(number, &wire)?);
        }
        Ok(Spec {
            name: self.name.into(),
            words: self.words.ok_or(SpecError::Missing("words"))?.into(),
            version,
            mti: one_of(wire.mti, "wire.mti", &[Ascii, Ebcdic, Bcd])?,
            bitmap: one_of(wire.bitmap, "wire.bitmap", &[Hex, EbcdicHex, Binary])?,
            fields,
        })
    }
}

impl FieldText {
    fn field(self, number: u8, wire: &WireText) -> Result<Field, SpecError> {
        use Encoding::{Ascii, Bcd, Binary, Ebcdic, EbcdicHex, Hex};
        let key = |part: &str| format!("fields.{number}.{part}");
        let missing = |part: &str| value(&key(part), "is missing");
        let notation = self.r#type.ok_or_else(|| missing("type"))?;
        let notation: Notation = notation.parse().map_err(|reason: String| value(&key("type"), &reason))?;
        let (usual, possible): (_, &[Encoding]) = match notation.content {
            Content::Numeric => (wire.n, &[Ascii, Ebcdic, Bcd]),
            Content::Signed => (wire.signed, &[Ascii, Ebcdic, Bcd]),
            Content::Track => (wire.z, &[Ascii, Ebcdic, Bcd]),
            Content::Alphanumeric => (wire.an, &[Ascii, Ebcdic]),
            Content::Text => (wire.ans, &[Ascii, Ebcdic]),
            Content::Binary => (wire.b, &[Binary, Hex, EbcdicHex]),
        };
        let (prefix, odd) = match notation.length {
            // There is none; the value is not looked at.
            Length::Fixed(_) => (Ascii, wire.odd_fixed),
            Length::Variable { .. } => {
                let prefix = self.prefix.or(wire.prefix);
                (one_of(prefix, &key("prefix"), &[Ascii, Ebcdic, Bcd, Binary])?, wire.odd_variable)
            }
        };
        Ok(Field {
            name: self.name.ok_or_else(|| missing("name"))?.into(),
            notation,
            encoding: one_of(self.encoding.or(usual), &key("encoding"), possible)?,
            prefix,
            odd: self.odd.or(odd).unwrap_or(Side::Left),
            fill: self.fill.or(wire.fill).unwrap_or_default(),
            keep: self.keep.unwrap_or_default(),
        })
    }
}

fn one_of(encoding: Option<Encoding>, key: &str, possible: &[Encoding]) -> Result<Encoding, SpecError> {
    match encoding {
        Some(encoding) if possible.contains(&encoding) => Ok(encoding),
        Some(_) => Err(value(key, "this encoding is not possible here")),
        None => Err(value(key, "is missing")),
    }
}

fn value(key: &str, reason: &str) -> SpecError {
    SpecError::Value { key: key.to_owned(), reason: reason.to_owned() }
}
