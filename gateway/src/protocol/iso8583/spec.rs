//! A spec: how a network writes its messages, as data. Encoding, length prefix and padding of every field.

mod file;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use super::notation::Notation;
use file::FileText;

/// Name and text of a spec in `devices/iso8583-<year>/specs`.
macro_rules! file {
    ($year:literal $name:literal) => {
        (
            concat!($year, "-", $name),
            include_str!(concat!("../../../../devices/iso8583-", $year, "/specs/", $year, "-", $name, ".toml")),
        )
    };
}

/// The specs that are part of the program, each behind the one it is based on. Where a message fits several, the first
/// one is taken.
const BUILTIN: [(&str, &str); 23] = [
    file!("1987" "ascii"),
    file!("1987" "ascii-binary-bitmap"),
    file!("1987" "ascii-binary"),
    file!("1987" "ascii-chip"),
    file!("1987" "bcd"),
    file!("1987" "bcd-left"),
    file!("1987" "bcd-right"),
    file!("1987" "bcd-n49"),
    file!("1987" "bcd-left-n49"),
    file!("1987" "bcd-right-n49"),
    file!("1987" "ebcdic"),
    file!("1987" "ebcdic-hex"),
    file!("1993" "ascii"),
    file!("1993" "ascii-binary-bitmap"),
    file!("1993" "ascii-binary"),
    file!("1993" "bcd"),
    file!("1993" "bcd-left"),
    file!("1993" "bcd-right"),
    file!("1993" "bcd-n49"),
    file!("1993" "bcd-left-n49"),
    file!("1993" "bcd-right-n49"),
    file!("1993" "ebcdic"),
    file!("1993" "ebcdic-hex"),
];

/// What of a field may be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// All of it, but for the message's own card number should it stand there.
    #[default]
    Open,
    /// All but digits that could be a card number, and nothing where a track goes on behind them: fields in which
    /// networks put what they like.
    Masked,
    /// All of it, unless by its length, first digit and check digit it is a card number.
    Account,
    /// The first six and the last four.
    Pan,
    /// Chip data without the tags that are card data.
    Emv,
    /// Nothing: tracks, PIN blocks, keys.
    Hidden,
}

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
        assert_eq!(
            (field(48).encoding, field(48).keep, field(48).prefix),
            (Encoding::Binary, Keep::Hidden, Encoding::Bcd)
        );
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
