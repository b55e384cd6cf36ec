//! A spec: how a network writes its messages, as data. Encoding, length prefix and padding of every field.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use super::keep::Keep;
use super::notation::{Content, Length, Notation};

/// The specs that are part of the program, each behind the one it is based on. Where a message fits several, the first
/// one is taken.
const BUILTIN: [(&str, &str); 21] = [
    ("1987-ascii", include_str!("../../../../devices/iso8583-1987/specs/1987-ascii.toml")),
    (
        "1987-ascii-binary-bitmap",
        include_str!("../../../../devices/iso8583-1987/specs/1987-ascii-binary-bitmap.toml"),
    ),
    ("1987-ascii-binary", include_str!("../../../../devices/iso8583-1987/specs/1987-ascii-binary.toml")),
    ("1987-ascii-chip", include_str!("../../../../devices/iso8583-1987/specs/1987-ascii-chip.toml")),
    ("1987-bcd", include_str!("../../../../devices/iso8583-1987/specs/1987-bcd.toml")),
    ("1987-bcd-left", include_str!("../../../../devices/iso8583-1987/specs/1987-bcd-left.toml")),
    ("1987-bcd-right", include_str!("../../../../devices/iso8583-1987/specs/1987-bcd-right.toml")),
    ("1987-bcd-n49", include_str!("../../../../devices/iso8583-1987/specs/1987-bcd-n49.toml")),
    ("1987-bcd-left-n49", include_str!("../../../../devices/iso8583-1987/specs/1987-bcd-left-n49.toml")),
    ("1987-ebcdic", include_str!("../../../../devices/iso8583-1987/specs/1987-ebcdic.toml")),
    ("1987-ebcdic-hex", include_str!("../../../../devices/iso8583-1987/specs/1987-ebcdic-hex.toml")),
    ("1993-ascii", include_str!("../../../../devices/iso8583-1993/specs/1993-ascii.toml")),
    (
        "1993-ascii-binary-bitmap",
        include_str!("../../../../devices/iso8583-1993/specs/1993-ascii-binary-bitmap.toml"),
    ),
    ("1993-ascii-binary", include_str!("../../../../devices/iso8583-1993/specs/1993-ascii-binary.toml")),
    ("1993-bcd", include_str!("../../../../devices/iso8583-1993/specs/1993-bcd.toml")),
    ("1993-bcd-left", include_str!("../../../../devices/iso8583-1993/specs/1993-bcd-left.toml")),
    ("1993-bcd-right", include_str!("../../../../devices/iso8583-1993/specs/1993-bcd-right.toml")),
    ("1993-bcd-n49", include_str!("../../../../devices/iso8583-1993/specs/1993-bcd-n49.toml")),
    ("1993-bcd-left-n49", include_str!("../../../../devices/iso8583-1993/specs/1993-bcd-left-n49.toml")),
    ("1993-ebcdic", include_str!("../../../../devices/iso8583-1993/specs/1993-ebcdic.toml")),
    ("1993-ebcdic-hex", include_str!("../../../../devices/iso8583-1993/specs/1993-ebcdic-hex.toml")),
];

/// How characters, numbers or bytes stand on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// One byte a character.
    Ascii,
    /// One byte a character, code page 037.
    Ebcdic,
    /// Two digits a byte.
    Bcd,
    /// Bytes as they are; a length as a number, the high byte first.
    Binary,
    /// Bytes as two hexadecimal digits each, in ASCII.
    Hex,
    /// Bytes as two hexadecimal digits each, in EBCDIC.
    EbcdicHex,
}

/// Where the spare half byte of an odd number of BCD digits is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// In front: the number is right-justified.
    Left,
    /// Behind.
    Right,
}

/// What fills the spare half byte of what we encode. Both are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Fill {
    /// Zero bits.
    #[default]
    #[serde(rename = "0")]
    Zero,
    /// One bits.
    #[serde(rename = "f", alias = "F")]
    Ones,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the standard, or the network's.
    pub name: Arc<str>,
    /// What it consists of and how long it is.
    pub notation: Notation,
    /// How its content stands on the wire.
    pub encoding: Encoding,
    /// How the length before it stands on the wire.
    pub prefix: Encoding,
    /// Where the spare half byte is.
    pub odd: Side,
    /// What fills it.
    pub fill: Fill,
    /// What of it may be shown.
    pub keep: Keep,
}

/// A table of fields, and how the beginning of a message is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name, which messages decoded by it bear.
    pub name: Arc<str>,
    /// How it writes numbers and bitmap, in words.
    pub words: Arc<str>,
    /// The first digit of its message types: 0 for 1987, 1 for 1993, 2 for 2003.
    pub version: u8,
    /// How the message type is written.
    pub mti: Encoding,
    /// How the bitmap is written.
    pub bitmap: Encoding,
    fields: BTreeMap<u8, Field>,
}

/// Why a spec file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is no TOML of this form.
    #[error("{0}")]
    File(#[from] toml::de::Error),
    /// There is no built-in spec of this name.
    #[error("no ISO 8583 spec `{0}`; built in are {names}", names = Spec::builtin_names().collect::<Vec<_>>().join(", "))]
    Unknown(String),
    /// A value is missing that nothing it is based on has.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value that is not possible here.
    #[error("{key}: {reason}")]
    Value {
        /// Where it stands.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Spec {
    /// Every built-in spec, in the order in which they are tried.
    pub fn builtin() -> &'static [Arc<Spec>] {
        static SPECS: LazyLock<Vec<Arc<Spec>>> =
            LazyLock::new(|| BUILTIN.iter().filter_map(|(_, text)| Spec::parse(text).ok().map(Arc::new)).collect());
        &SPECS
    }

    /// The built-in spec of this name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn named(name: &str) -> Result<Arc<Spec>, SpecError> {
        let spec = Spec::builtin().iter().find(|spec| *spec.name == *name);
        spec.cloned().ok_or_else(|| SpecError::Unknown(name.to_owned()))
    }

    /// The names of the built-in specs.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|row| row.0)
    }

    /// Reads a spec file (devices/README.md says how one is written).
    ///
    /// # Errors
    /// Where it is no TOML of this form, a value is missing or impossible, or there is no spec that it is based on.
    pub fn parse(text: &str) -> Result<Spec, SpecError> {
        FileText::with_bases(text, &BUILTIN)?.spec()
    }

    /// The field of this number.
    pub fn field(&self, number: u8) -> Option<&Field> {
        self.fields.get(&number)
    }

    /// Every field with its number.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &Field)> {
        self.fields.iter().map(|(number, field)| (*number, field))
    }
}

/// A spec file as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
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
    fn with_bases(text: &str, bases: &[(&str, &str)]) -> Result<FileText, SpecError> {
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

    fn spec(self) -> Result<Spec, SpecError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_spec_reads_and_bears_its_name() {
        for (name, text) in BUILTIN {
            let spec = Spec::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(&*spec.name, name);
            assert_eq!(spec.fields().count(), 126, "{name}");
            assert_eq!(spec.version, u8::from(name.starts_with("1993")), "{name}");
        }
        assert_eq!(Spec::builtin().len(), BUILTIN.len());
    }

    #[test]
    fn a_file_changes_what_it_is_based_on() {
        let text = r#"
            name = "bank"
            based_on = "1987-bcd"
            [wire]
            odd_variable = "left"
            [fields]
            48 = { type = "b...255", keep = "hidden" }
            62 = { encoding = "ebcdic", prefix = "binary" }
        "#;
        let spec = Spec::parse(text).expect("a spec");
        let field = |number| spec.field(number).expect("there");
        assert_eq!(field(2).odd, Side::Left);
        assert_eq!((field(48).encoding, field(48).keep, field(48).prefix), (Encoding::Binary, Keep::Hidden, Encoding::Bcd));
        assert_eq!((field(62).encoding, field(62).prefix), (Encoding::Ebcdic, Encoding::Binary));
        assert_eq!(&*field(48).name, "additional data, private use");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let head = "name = \"x\"\nbased_on = \"1987-ascii\"\n";
        for (text, reason) in [
            ("name = \"x\"", "`version` is missing"),
            ("name = \"x\"\nbased_on = \"1986\"", "no ISO 8583 spec `1986`"),
            (&format!("{head}[wire]\nmti = \"hex\""), "wire.mti"),
            (&format!("{head}[wire]\nans = \"bcd\""), "fields.34.encoding"),
            (&format!("{head}[fields]\n65 = {{ type = \"b8\", name = \"x\" }}"), "fields.65"),
            (&format!("{head}[fields]\n5 = {{ type = \"n..999\" }}"), "fields.5.type"),
            (&format!("{head}[fields]\n5 = {{ typ = \"n3\" }}"), "typ"),
        ] {
            let error = Spec::parse(text).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
