//! Tokens: `vst_{id}_{secret}`. The id is public, the secret is 256 bits of the system's randomness.
//!
//! Only a hash of the secret is kept. A slow hash (Argon2, scrypt) makes guessing a person's password dear; here nothing can be
//! guessed: 2²⁵⁶ secrets are out of reach at any speed, so a fast hash loses nothing, and a slow one would let
//! anybody who sends nonsense keep a Raspberry Pi busy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// What the hash is for: the same secret hashed for another purpose has another hash.
const CONTEXT: &str = "vestibule 2026-11 access token secret";
const PREFIX: &str = "vst_";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// What is kept of a secret: `blake3:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(blake3::Hash);

impl Digest {
    fn of(secret: &str) -> Digest {
        Digest(blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, secret.as_bytes())))
    }

    /// Whether this is the secret's hash; takes the same time whatever the answer.
    pub(super) fn is_of(&self, secret: &str) -> bool {
        // The library compares hashes in constant time.
        self.0 == Digest::of(secret).0
    }

    /// The hash of no secret: compared with where there is no such token, so that both cases take the same time.
    pub(super) fn of_nothing() -> Digest {
        Digest(blake3::Hash::from_bytes([0; 32]))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.0.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("blake3:").and_then(|digits| blake3::Hash::from_hex(digits).ok());
        digits.map(Digest).ok_or_else(|| "a hash is `blake3:` and 64 hexadecimal digits".to_owned())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A token that has just been made: the only moment at which its secret is there to be shown.
pub struct Minted {
    /// The public part.
    pub id: String,
    /// The whole token.
    pub token: Zeroizing<String>,
    /// What is kept of it.
    pub hash: Digest,
}

impl Minted {
    /// Makes a token.
    ///
    /// # Errors
    /// Where the system has no randomness to give.
    pub fn new() -> Result<Minted, getrandom::Error> {
        let id = random::<ID_BYTES>()?;
        Minted::with_id(id.as_str())
    }

    /// Makes a new secret for an id.
    ///
    /// # Errors
    /// As [`Minted::new`].
    pub fn with_id(id: &str) -> Result<Minted, getrandom::Error> {
        let secret = random::<SECRET_BYTES>()?;
        let token = Zeroizing::new(format!("{PREFIX}{id}_{}", secret.as_str()));
        Ok(Minted { id: id.to_owned(), token, hash: Digest::of(&secret) })
    }
}

/// So many bytes of the system's randomness, in hexadecimal digits.
fn random<const N: usize>() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0_u8; N]);
    getrandom::fill(bytes.as_mut_slice())?;
    // The whole length at once: a string that grows would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * N));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    Ok(text)
}

/// A token as somebody presents it.
#[derive(Clone, Copy)]
pub(super) struct Presented<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
}

impl<'a> Presented<'a> {
    /// Its parts, where it looks like a token.
    pub(super) fn parse(text: &'a str) -> Option<Presented<'a>> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        (is_id(id) && is_hex(secret, SECRET_BYTES)).then_some(Presented { id, secret })
    }
}

/// Whether this is a token's id: twelve hexadecimal digits, in small letters.
pub(super) fn is_id(text: &str) -> bool {
    is_hex(text, ID_BYTES)
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_is_known_by_its_hash_alone() {
        let minted = Minted::new().expect("randomness");
        let presented = Presented::parse(&minted.token).expect("is a token");
        assert_eq!((presented.id, presented.secret.len()), (minted.id.as_str(), 64));
        assert!(minted.hash.is_of(presented.secret));
        assert_eq!(minted.hash.to_string().parse::<Digest>(), Ok(minted.hash));
        assert!(!minted.hash.to_string().contains(presented.secret));
        let other = Minted::with_id(&minted.id).expect("randomness");
        assert_ne!(other.token, minted.token);
        assert!(!other.hash.is_of(presented.secret));
        assert!(!Digest::of_nothing().is_of(presented.secret));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let good = format!("vst_0123456789ab_{}", "0f".repeat(32));
        assert!(Presented::parse(&good).is_some());
        let bad = ["", "vst_", "vst__", "vst_0123456789ab_", "0123456789ab_00", &good[1..], &good[..good.len() - 1]];
        for text in
            bad.into_iter().map(str::to_owned).chain([format!("{good}0"), good.to_uppercase(), good.replace('f', "é")])
        {
            assert!(Presented::parse(&text).is_none(), "{text}");
        }
    }
}
