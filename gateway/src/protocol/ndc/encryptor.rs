//! Encryptor initialisation data (class 23): what the terminal's PIN pad says about itself and its keys.

use serde::Serialize;

use super::{digit, fields};

/// Characters of data kept: a signed public key is long, and no card number.
const INFO_MAX: usize = 1024;

/// Encryptor initialisation data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Encryptor {
    /// Always `23`.
    pub class: &'static str,
    /// Always `encryptor_init_data`.
    pub kind: &'static str,
    /// Logical unit number.
    pub luno: String,
    /// Time variant number; empty where the field is there but security is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_variant: Option<String>,
    /// What is said: 1 serial number, 2 public key, 3 new key verification value, 4 key status, 5 key loaded, 6 key entry
    /// mode, 7 verification value of an RSA key, 9 random number, B capabilities, C key deleted.
    pub info_id: char,
    /// The data: serial numbers, public keys and verification values, never a key.
    pub info: String,
    /// Message authentication code; there is no key here to check it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

impl Encryptor {
    /// What is said, in words for a person.
    pub fn words(&self) -> &'static str {
        match self.info_id {
            '1' => "serial number",
            '2' => "public key",
            '3' => "new key verification value",
            '4' => "key status",
            '5' => "key loaded",
            '6' => "key entry mode",
            '7' => "verification value of an RSA key",
            '9' => "random number",
            'B' => "capabilities",
            'C' => "key deleted",
            _ => "initialisation data",
        }
    }
}

/// Decodes the fields behind the LUNO.
pub(super) fn decode(luno: String, fields: &[&str]) -> Result<Encryptor, String> {
    let fields = match fields {
        ["", fields @ ..] => fields,
        fields => fields,
    };
    let (time_variant, fields) = match fields {
        [first, fields @ ..] if first.is_empty() || digit::is_security_number(first) => {
            (Some((*first).to_owned()), fields)
        }
        fields => (None, fields),
    };
    // A MAC has a time variant number before it; the data may itself look like one.
    let (mac, fields) = match &time_variant {
        Some(number) if !number.is_empty() => fields::mac(fields, 2),
        _ => (None, fields),
    };
    let mut head = fields::Columns(fields::at(fields, 0));
    let info_id = head.char().ok_or("no information identifier")?;
    Ok(Encryptor {
        class: "23",
        kind: "encryptor_init_data",
        luno,
        time_variant,
        info_id,
        info: fields::Columns(fields::at(fields, 1)).take(INFO_MAX).to_owned(),
        mac,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_security() {
        let plain = decode("027".to_owned(), &["", "3", "02A68B"]).expect("a message");
        assert_eq!((plain.info_id, plain.info.as_str(), plain.mac), ('3', "02A68B", None));
        let secured = decode("027".to_owned(), &["", "01A2E166", "3", "02A68B01", "3FF7AA85"]).expect("a message");
        assert_eq!((secured.info.as_str(), secured.mac.as_deref()), ("02A68B01", Some("3FF7AA85")));
        let bare = decode("027".to_owned(), &["", "5"]).expect("a message");
        assert_eq!((bare.words(), bare.info.as_str()), ("key loaded", ""));
        assert!(decode(String::new(), &["", ""]).is_err());
    }
}
