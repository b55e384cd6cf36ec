//! ATM models: what `devices/<model>/profile.toml` says about one.
//!
//! Protocols are few and are code; models are many and are data. A profile never changes how bytes are decoded into a
//! message, only the options of the codec and what the message's parts are called.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::event::{Component, Currency, Device, Money};
use crate::protocol::framing::Framing;
use crate::protocol::journal::{Dialect, DialectError};
use crate::protocol::{Protocol, iso8583, ndc};

/// The profiles that are part of the program, by the name of their folder.
const BUILTIN: [(&str, &str); 11] = [
    ("ncr-selfserv-ndc", include_str!("../../devices/ncr-selfserv-ndc/profile.toml")),
    ("diebold-opteva-ndc", include_str!("../../devices/diebold-opteva-ndc/profile.toml")),
    ("iso8583-1987", include_str!("../../devices/iso8583-1987/profile.toml")),
    ("iso8583-1993", include_str!("../../devices/iso8583-1993/profile.toml")),
    ("ncr-journal", include_str!("../../devices/ncr-journal/profile.toml")),
    ("wincor-procash", include_str!("../../devices/wincor-procash/profile.toml")),
    ("hyosung-moniplus", include_str!("../../devices/hyosung-moniplus/profile.toml")),
    ("json-lines", include_str!("../../devices/json-lines/profile.toml")),
    ("triton", include_str!("../../devices/triton/profile.toml")),
    ("xfs4iot", include_str!("../../devices/xfs4iot/profile.toml")),
    ("atm-handler", include_str!("../../devices/atm-handler/profile.toml")),
];

/// One cassette and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cassette {
    /// Its number, from 1.
    pub number: u8,
    /// The notes in it, as a decimal amount of the profile's currency (or of `currency`): `"20.00"`.
    pub denomination: String,
    /// Their currency, where it is not the profile's.
    pub currency: Option<Currency>,
}

/// An ATM model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The model, for a person.
    pub name: String,
    /// Who makes it.
    pub maker: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// How its byte stream is cut into frames.
    pub framing: Framing,
    /// The currency of amounts that name none.
    pub currency: Option<Currency>,
    /// Whether every transaction request passes the gateway, so that cash without one means something.
    #[serde(default)]
    pub reports_requests: bool,
    /// The words of its journal: a file of its folder (`dialect.toml`), or the name of one that the program knows.
    pub dialect: Option<String>,
    /// The text of that file.
    #[serde(skip)]
    dialect_text: Option<Arc<str>>,
    /// Options of the NDC codec.
    #[serde(default)]
    pub ndc: ndc::Options,
    /// Options of the ISO 8583 codec.
    #[serde(default)]
    pub iso8583: iso8583::Options,
    /// What a device's supplies are called, first to last, where the protocol's own order does not hold.
    #[serde(default)]
    pub supplies: BTreeMap<Device, Vec<Component>>,
    /// What devices are called in an event's sentence, where the usual word does not fit.
    #[serde(default)]
    pub devices: BTreeMap<Device, String>,
    /// What the two digits of a device's M-status mean. Makers tell their customers, and nobody else: these are yours.
    #[serde(default)]
    pub m_status: BTreeMap<Device, BTreeMap<String, String>>,
    /// Its cassettes.
    #[serde(default)]
    pub cassettes: Vec<Cassette>,
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No profile of this name is built in.
    #[error("no profile `{0}`; built in are {names}", names = Profile::builtin_names().collect::<Vec<_>>().join(", "))]
    Unknown(String),
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The ISO 8583 spec that it names cannot be used.
    #[error("{path}: iso8583.spec: {reason}")]
    Spec {
        /// The profile.
        path: String,
        /// What is wrong with the name or the file.
        reason: String,
    },
    /// The file is no profile.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value of the right type cannot be.
    #[error("{path}: {key}: {reason}")]
    Value {
        /// The profile.
        path: String,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The words of its journal cannot be used.
    #[error("{path}: {source}")]
    Dialect {
        /// The dialect's file, or the profile that names none that there is.
        path: String,
        /// Which rule, and why.
        source: Box<DialectError>,
    },
}

impl Profile {
    /// A profile that is part of the program.
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn builtin(name: &str) -> Result<Profile, ProfileError> {
        let (folder, text) =
            BUILTIN.iter().find(|row| row.0 == name).ok_or_else(|| ProfileError::Unknown(name.to_owned()))?;
        let mut profile = Profile::parse(&format!("{folder}/profile.toml"), text, None)?;
        // Compiled where it is used: most gateways speak one maker's words, if any.
        profile.dialect_text = profile.dialect_file().and_then(|_| Dialect::builtin_text(folder)).map(Arc::from);
        Ok(profile)
    }

    /// The names of the profiles that are part of the program.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|row| row.0)
    }

    /// The profile in a model's folder.
    ///
    /// # Errors
    /// Where `profile.toml` in it cannot be read or is no profile, or its dialect cannot be used.
    pub fn load(folder: &Path) -> Result<Profile, ProfileError> {
        let (path, text) = read(folder, "profile.toml")?;
        let mut profile = Profile::parse(&path, &text, Some(folder))?;
        let mut dialect_path = path;
        if let Some(file) = profile.dialect_file() {
            let (path, text) = read(folder, file)?;
            profile.dialect_text = Some(text.into());
            dialect_path = path;
        }
        match profile.dialect.as_ref().map(|_| profile.dialect()) {
            Some(Err(source)) => Err(ProfileError::Dialect { path: dialect_path, source: Box::new(source) }),
            _ => Ok(profile),
        }
    }

    /// The dialect's file, where one of the folder is named. A file's name is never a path out of it.
    fn dialect_file(&self) -> Option<&str> {
        self.dialect.as_deref().filter(|name| name.ends_with(".toml") && !name.contains(['/', '\\']))
    }

    /// The words of its journal; the NCR ones where it names none.
    ///
    /// # Errors
    /// Where it names a dialect that there is not, or one that cannot be used.
    pub fn dialect(&self) -> Result<Arc<Dialect>, DialectError> {
        match (&self.dialect_text, &self.dialect) {
            (Some(text), _) => Dialect::shared(text),
            (None, Some(name)) => Dialect::named(name),
            (None, None) => Dialect::named("ncr"),
        }
    }

    /// The profile called `name`: the folder of that name under `devices` where there is one, else the built-in one.
    ///
    /// # Errors
    /// Where there is neither, or the folder's profile cannot be used.
    pub fn find(name: &str, devices: Option<&Path>) -> Result<Profile, ProfileError> {
        // A name is one folder, never a path out of it.
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
        match devices.map(|devices| devices.join(name)).filter(|folder| plain && folder.is_dir()) {
            Some(folder) => Profile::load(&folder),
            None => Profile::builtin(name),
        }
    }

    /// Reads a profile, and the spec file that it names from its folder.
    fn parse(path: &str, text: &str, folder: Option<&Path>) -> Result<Profile, ProfileError> {
        let mut profile: Profile = toml::from_str(text)
            .map_err(|source| ProfileError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        if let Some((key, reason)) = profile.fault() {
            return Err(ProfileError::Value { path: path.to_owned(), key, reason });
        }
        let spec_file = |name: &str| match folder {
            // A name is one file of the folder, never a path out of it.
            Some(folder) if !name.contains(['/', '\\']) => {
                std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())
            }
            _ => Err("not a file beside the profile".to_owned()),
        };
        let looked_up = profile.iso8583.look_up(spec_file);
        looked_up.map(|()| profile).map_err(|reason| ProfileError::Spec { path: path.to_owned(), reason })
    }

    /// What is wrong with values that are of the right type.
    fn fault(&self) -> Option<(&'static str, String)> {
        let mut numbers = HashSet::new();
        for cassette in &self.cassettes {
            if !numbers.insert(cassette.number) {
                return Some(("cassettes", format!("there are two of number {}", cassette.number)));
            }
            let currency = cassette.currency.or(self.currency);
            if currency.is_none_or(|currency| Money::parse(&cassette.denomination, currency).is_err()) {
                let reason = format!("`{}` is no amount of a known currency", cassette.denomination);
                return Some(("cassettes", reason));
            }
        }
        let two_digits = |code: &str| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_digit());
        let code = self.m_status.values().flat_map(BTreeMap::keys).find(|code| !two_digits(code))?;
        Some(("m_status", format!("`{code}` is not two digits")))
    }

    /// What a device's M-status means, where that is known.
    pub fn m_status(&self, device: Device, code: &str) -> Option<&str> {
        self.m_status.get(&device)?.get(code).map(String::as_str)
    }

    /// What so many notes of each cassette are worth, first to last, where every cassette that gave any is known and all
    /// hold one currency.
    pub fn worth(&self, notes: &[u32]) -> Option<Money> {
        let mut worth: Option<Money> = None;
        for (number, count) in (1_u8..).zip(notes).filter(|(_, count)| **count > 0) {
            let cassette = self.cassettes.iter().find(|cassette| cassette.number == number)?;
            let note = Money::parse(&cassette.denomination, cassette.currency.or(self.currency)?).ok()?;
            let before = worth.map_or(0, |money| money.minor);
            let minor = note.minor.checked_mul(i64::from(*count)).and_then(|value| value.checked_add(before))?;
            if worth.is_some_and(|money| money.currency != note.currency) {
                return None;
            }
            worth = Some(Money { minor, currency: note.currency });
        }
        worth
    }

    /// What this model's device is called in a sentence: `cash handler`.
    pub fn device_words(&self, device: Device) -> String {
        self.devices.get(&device).cloned().unwrap_or_else(|| device.to_string().replace('_', " "))
    }

    /// The same, for a stream of this speaker.
    #[must_use]
    pub fn spoken_by(mut self, speaker: ndc::Speaker) -> Profile {
        self.ndc.speaker = speaker;
        self
    }

    /// The name of a device's supply, by its place in the message.
    pub fn supply(&self, device: Device, index: usize) -> Component {
        let named = self.supplies.get(&device).and_then(|names| names.get(index)).copied();
        named.unwrap_or_else(|| usual_supply(device, index))
    }
}

/// A file of a model's folder, with its path as it is shown.
fn read(folder: &Path, file: &str) -> Result<(String, String), ProfileError> {
    let path = folder.join(file);
    let shown = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((shown, text)),
        Err(source) => Err(ProfileError::Read { path: shown, source }),
    }
}

/// NDC's own order of supplies.
fn usual_supply(device: Device, index: usize) -> Component {
    let number = |index: usize| u8::try_from(index).unwrap_or(u8::MAX);
    match (device, index) {
        (Device::CashHandler, 0) => Component::RejectBin,
        (Device::CashHandler, cassette) => Component::Cassette(number(cassette)),
        (Device::CardReader, 0) => Component::CaptureBin,
        (Device::Depository, 0) => Component::DepositBin,
        (Device::ReceiptPrinter | Device::JournalPrinter | Device::StatementPrinter, place @ 0..=3) => {
            [Component::Paper, Component::Ribbon, Component::PrintHead, Component::Knife][place]
        }
        (_, index) => Component::Supply(number(index.saturating_add(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_reads() {
        for name in Profile::builtin_names() {
            let profile = Profile::builtin(name).expect(name);
            assert!(profile.framing.max() > 0, "{name}");
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices").join(name);
            assert_eq!(Profile::load(&folder).expect(name), profile);
        }
        assert!(Profile::builtin("no-such-model").is_err());
        assert!(Profile::find("../json-lines", Some(Path::new("/"))).is_err());
    }

    #[test]
    fn a_misspelt_key_is_refused_and_named() {
        let text =
            "name = \"x\"\nmaker = \"x\"\nprotocol = \"ndc\"\nframing = { kind = \"line\" }\nreport_requests = true";
        let error = Profile::parse("x", text, None).expect_err("refused").to_string();
        assert!(error.contains("report_requests"), "{error}");
    }

    #[test]
    fn a_folder_can_hold_its_own_dialect() {
        let dir = tempfile::tempdir().expect("a folder");
        let profile = |dialect: &str| {
            let text = format!(
                "name = \"x\"\nmaker = \"x\"\nprotocol = \"journal\"\nframing = {{ kind = \"line\" }}\ndialect = \"{dialect}\""
            );
            std::fs::write(dir.path().join("profile.toml"), text).expect("written");
            Profile::load(dir.path())
        };
        let words = |text: &str| std::fs::write(dir.path().join("words.toml"), text).expect("written");
        assert!(profile("words.toml").expect_err("no file").to_string().contains("words.toml"));
        words("name = 'mine'\n[[rule]]\npattern = '^HELLO$'\nevent = 'txn.started'");
        let loaded = profile("words.toml").expect("a profile");
        assert_eq!(loaded.dialect().expect("compiled").name(), "mine");
        assert!(Arc::ptr_eq(&loaded.dialect().expect("compiled"), &loaded.clone().dialect().expect("compiled")));
        words("name = 'mine'\n[[rule]]\npattern = '^(HELLO$'\nevent = 'txn.started'");
        let error = profile("words.toml").expect_err("refused").to_string();
        assert!(error.contains("words.toml") && error.contains("rule `^(HELLO$`"), "{error}");
        assert_eq!(profile("procash").expect("built in").dialect().expect("built in").name(), "wincor-procash");
        assert!(profile("../words.toml").is_err() && profile("klingon").is_err());
    }

    #[test]
    fn a_folder_can_rename_supplies_and_devices() {
        let text = r#"
            name = "x"
            maker = "x"
            protocol = "ndc"
            framing = { kind = "length" }
            currency = "EUR"
            supplies = { cash_handler_0 = ["reject_bin", "cassette_1"] }
            devices = { note_acceptor = "recycler" }
            cassettes = [{ number = 1, denomination = "20.00" }]
        "#;
        let profile = Profile::parse("x", text, None).expect("a profile");
        assert_eq!(profile.supply(Device::CashHandler0, 1), Component::Cassette(1));
        assert_eq!(profile.supply(Device::CashHandler0, 2), Component::Supply(3));
        assert_eq!(profile.supply(Device::CashHandler, 7), Component::Cassette(7));
        assert_eq!(profile.device_words(Device::NoteAcceptor), "recycler");
        assert_eq!(profile.device_words(Device::CashHandler), "cash handler");
        assert_eq!(profile.worth(&[3, 0]).map(|money| money.minor), Some(6_000));
        assert_eq!(profile.worth(&[3, 1]), None, "of an unknown cassette");
        assert_eq!(profile.worth(&[0, 0]), None);
        for (good, bad, key) in [
            (
                "{ number = 1, denomination = \"20.00\" }",
                "{ number = 1, denomination = \"20.00\" }, { number = 1, denomination = \"50\" }",
                "cassettes",
            ),
            ("\"20.00\"", "\"twenty\"", "cassettes"),
            ("currency = \"EUR\"", "", "cassettes"),
            ("currency = \"EUR\"", "currency = \"EUR\"\nm_status = { cash_handler = { \"4\" = \"jam\" } }", "m_status"),
        ] {
            let error = Profile::parse("x", &text.replace(good, bad), None).expect_err("refused").to_string();
            assert!(error.starts_with(&format!("x: {key}: ")), "{error}");
        }
    }
}
