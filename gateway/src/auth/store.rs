//! The tokens that there are: a small TOML text, a list of records.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::identity::{Identity, Means, Terminals};
use super::role::Role;
use super::token::{Digest, Presented, is_id};

/// Most tokens of one gateway.
const MAX_TOKENS: usize = 1000;
/// Longest name of a token.
const MAX_NAME: usize = 64;

/// What is kept of a token. When it was last used is not: that would be a write for each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The public part of the token.
    pub id: String,
    /// Who or what it is for.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// At which terminals; every one where this is empty.
    #[serde(default, skip_serializing_if = "Terminals::are_all")]
    pub terminals: Terminals,
    /// The hash of its secret.
    pub hash: Digest,
    /// When it was made, or last got a new secret.
    pub created: Timestamp,
    /// When it ends; never where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Record {
    /// Whether it has ended.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn fault(&self) -> Option<String> {
        let named = |what: String| format!("token `{}`: {what}", self.id);
        if !is_id(&self.id) {
            return Some("a token's `id` is twelve hexadecimal digits".to_owned());
        }
        if self.name.is_empty() || self.name.chars().count() > MAX_NAME || self.name.chars().any(char::is_control) {
            return Some(named(format!("a name has 1 to {MAX_NAME} characters")));
        }
        self.terminals.fault().map(named)
    }
}

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    #[serde(default)]
    token: Vec<Record>,
}

/// What has become of a token between two readings of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added(Record),
    /// It has a new secret, role, end or list of terminals.
    Changed(Record),
    /// It is gone.
    Revoked(Record),
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit<'a> {
    /// There is none of this id, or its secret is another one.
    Unknown,
    /// It was good once.
    Expired(&'a Record),
}

impl Tokens {
    /// Reads the text.
    ///
    /// # Errors
    /// With what is wrong with it; never with any of its hashes.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        // The first line of the message alone: those after it quote the text.
        let first = |error: toml::de::Error| error.message().lines().next().unwrap_or_default().to_owned();
        let tokens: Tokens = toml::from_str(text).map_err(first)?;
        tokens.fault().map_or(Ok(tokens), Err)
    }

    /// The text.
    ///
    /// # Errors
    /// Where a value cannot be written, or the list would not be read back.
    pub(super) fn text(&self) -> Result<String, String> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        let records = toml::to_string(self).map_err(|error| error.to_string())?;
        Ok(format!(
            "# Kept by `vestibule token`. Hashes alone: a token that is lost cannot be had back, only replaced.\n{records}"
        ))
    }

    fn fault(&self) -> Option<String> {
        if self.token.len() > MAX_TOKENS {
            return Some(format!("at most {MAX_TOKENS} tokens are taken"));
        }
        let twice = |at: usize, record: &Record| self.token.iter().take(at).any(|before| before.id == record.id);
        self.token.iter().enumerate().find_map(|(at, record)| {
            record.fault().or_else(|| twice(at, record).then(|| format!("token `{}` is there twice", record.id)))
        })
    }

    /// Every token, in the order in which they were made.
    pub fn all(&self) -> &[Record] {
        &self.token
    }

    /// The token of this id.
    pub fn find(&self, id: &str) -> Option<&Record> {
        self.token.iter().find(|record| record.id == id)
    }

    /// The same, to be changed.
    pub fn find_mut(&mut self, id: &str) -> Option<&mut Record> {
        self.token.iter_mut().find(|record| record.id == id)
    }

    /// Adds a token.
    pub fn add(&mut self, record: Record) {
        self.token.push(record);
    }

    /// Takes a token away.
    pub fn remove(&mut self, id: &str) -> Option<Record> {
        let at = self.token.iter().position(|record| record.id == id)?;
        Some(self.token.remove(at))
    }

    /// Whose token this is. It takes the same time whether the id or the secret is wrong.
    ///
    /// A gateway without a battery begins in 1970: the newest token was not made after now, so that much is known of the time
    /// in any case, and what had ended before it stays ended.
    pub(super) fn identify(&self, presented: Presented<'_>, now: Timestamp) -> Result<Identity, Unfit<'_>> {
        let record = self.find(presented.id);
        let hash = record.map_or_else(Digest::of_nothing, |record| record.hash);
        let Some(record) = record.filter(|_| hash.is_of(presented.secret)) else {
            return Err(Unfit::Unknown);
        };
        if self.has_ended(record, now) {
            return Err(Unfit::Expired(record));
        }
        Ok(Identity {
            id: record.id.as_str().into(),
            name: record.name.as_str().into(),
            role: record.role,
            terminals: record.terminals.clone(),
            means: Means::Token,
        })
    }

    /// Whether a token of these has ended: by a time that is never earlier than that of the newest of them.
    pub fn has_ended(&self, record: &Record, now: Timestamp) -> bool {
        let newest = self.token.iter().map(|record| record.created).max().unwrap_or(now);
        record.is_expired(now.max(newest))
    }

    /// What has changed since `before`.
    pub(super) fn since(&self, before: &Tokens) -> Vec<Change> {
        let gone = before.token.iter().filter(|record| self.find(&record.id).is_none()).cloned().map(Change::Revoked);
        let here = self.token.iter().filter_map(|record| match before.find(&record.id) {
            None => Some(Change::Added(record.clone())),
            Some(old) if old != record => Some(Change::Changed(record.clone())),
            Some(_) => None,
        });
        gone.chain(here).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::Minted;
    use super::*;

    fn record(minted: &Minted, created: i64, expires: Option<i64>) -> Record {
        let at = |second| Timestamp::from_second(second).expect("a time");
        Record {
            id: minted.id.clone(),
            name: "back office".to_owned(),
            role: Role::Teller,
            terminals: Terminals::default(),
            hash: minted.hash,
            created: at(created),
            expires: expires.map(at),
        }
    }

    #[test]
    fn the_text_reads_back_and_has_no_secret() {
        let minted = Minted::new().expect("randomness");
        let mut tokens = Tokens::default();
        tokens.add(record(&minted, 1_000, Some(2_000)));
        let text = tokens.text().expect("is written");
        assert_eq!(Tokens::parse(&text), Ok(tokens));
        let secret = minted.token.rsplit('_').next().expect("a secret");
        assert!(!text.contains(secret), "{text}");
        assert_eq!(Tokens::parse(""), Ok(Tokens::default()));
    }

    #[test]
    fn who_presents_what_is_who() {
        let [one, two] = [Minted::new(), Minted::new()].map(|minted| minted.expect("randomness"));
        let mut tokens = Tokens::default();
        tokens.add(record(&one, 1_000, Some(2_000)));
        let at = |second| Timestamp::from_second(second).expect("a time");
        let ask = |tokens: &Tokens, minted: &Minted, second| {
            let presented = Presented::parse(&minted.token).expect("a token");
            match tokens.identify(presented, at(second)) {
                Ok(identity) => identity.name.to_string(),
                Err(Unfit::Unknown) => "unknown".to_owned(),
                Err(Unfit::Expired(_)) => "expired".to_owned(),
            }
        };
        assert_eq!(ask(&tokens, &one, 1_999), "back office");
        assert_eq!(ask(&tokens, &one, 2_000), "expired");
        assert_eq!(ask(&tokens, &two, 1_999), "unknown");
        let forged = Minted::with_id(&one.id).expect("randomness");
        assert_eq!(ask(&tokens, &forged, 1_999), "unknown");
        // The clock has fallen back; a token made later says that the first has ended all the same.
        tokens.add(record(&two, 3_000, None));
        assert_eq!(ask(&tokens, &one, 5), "expired");
        assert_eq!(ask(&tokens, &two, 5), "back office");
        tokens.remove(&two.id).expect("was there");
        assert_eq!(ask(&tokens, &two, 5), "unknown");
    }

    #[test]
    fn what_is_wrong_is_said_and_quotes_nothing() {
        let hash = format!("blake3:{}", "ab".repeat(32));
        let row = |id: &str, rest: &str| {
            format!(
                "[[token]]\nid = \"{id}\"\nname = \"n\"\nrole = \"viewer\"\nhash = \"{hash}\"\ncreated = \"2026-11-21T10:00:00Z\"\n{rest}\n"
            )
        };
        let good = row("0123456789ab", "");
        assert!(Tokens::parse(&good).is_ok());
        for (text, what) in [
            (format!("{good}{good}"), "twice"),
            (row("x", ""), "twelve"),
            (row("0123456789ab", "terminals = [\"a b\"]"), "letters"),
            (row("0123456789ab", "colour = 1"), "unknown field `colour`"),
            (good.replace("viewer", "king"), "unknown variant"),
            (good.replace("blake3:ab", "blake3:zz"), "64 hexadecimal"),
            (good.replace("\"n\"", "\"\""), "1 to 64"),
        ] {
            let fault = Tokens::parse(&text).expect_err(what);
            assert!(fault.contains(what) && !fault.contains("abab"), "{fault}");
        }
    }

    #[test]
    fn changes_are_told_apart() {
        let [one, two, three] = [Minted::new(), Minted::new(), Minted::new()].map(|minted| minted.expect("randomness"));
        let (mut before, mut after) = (Tokens::default(), Tokens::default());
        before.add(record(&one, 1, None));
        before.add(record(&two, 1, None));
        after.add(record(&two, 1, Some(9)));
        after.add(record(&three, 1, None));
        assert_eq!(
            after.since(&before),
            [
                Change::Revoked(record(&one, 1, None)),
                Change::Changed(record(&two, 1, Some(9))),
                Change::Added(record(&three, 1, None)),
            ]
        );
        assert!(after.since(&after).is_empty());
    }
}
