//! Card data that is known to the test, and the search for it.

use crate::planted::SEPARATORS;

/// A small generator (xorshift64*): the same seed, the same secrets.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn of(&mut self, alphabet: &str, count: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        let limit = u64::try_from(letters.len()).expect("small");
        (0..count).map(|_| letters[usize::try_from(self.below(limit)).expect("small")]).collect()
    }
}

/// One card and what its holder typed.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) pan: String,
    pub(crate) name: String,
    pub(crate) expiry: String,
    pub(crate) discretionary: String,
    pub(crate) pin_block: String,
}

impl Secret {
    pub(crate) fn new(random: &mut Random) -> Secret {
        let pan = checked(&format!("4{}", random.of("0123456789", 14)));
        Secret {
            pan,
            name: format!("{}/{}", random.of("BCDFGHJKLMNPQRSTVWXZ", 9), random.of("BCDFGHJKLMNPQRSTVWXZ", 7)),
            expiry: "2912".to_owned(),
            discretionary: random.of("0123456789", 13),
            pin_block: random.of("0123456789ABCDEF", 16),
        }
    }

    /// Track 2 without sentinels.
    pub(crate) fn track2(&self) -> String {
        format!("{}={}201{}", self.pan, self.expiry, self.discretionary)
    }

    /// Track 1 without sentinels.
    pub(crate) fn track1(&self) -> String {
        format!("B{}^{}^{}201{}", self.pan, self.name, self.expiry, self.discretionary)
    }

    /// The PIN block in NDC's digits: `:` to `?` for A to F.
    pub(crate) fn ndc_pin_block(&self) -> String {
        let digit = |c: char| if c.is_ascii_digit() { c } else { char::from(b':' + (c as u8 - b'A')) };
        self.pin_block.chars().map(digit).collect()
    }

    /// Chip data: track 2 (57), number (5A), name (5F20), and an issuer's own (9F10).
    pub(crate) fn chip(&self) -> String {
        let tlv = |tag: &str, value: String| format!("{tag}{:02X}{value}", value.len() / 2);
        [
            tlv("57", format!("{}D{}201{}", self.pan, self.expiry, &self.discretionary)),
            tlv("5A", self.pan.clone()),
            tlv("5F20", hex_of_text(&self.name)),
            tlv("9F26", "8B2746052B28B641".to_owned()),
        ]
        .concat()
    }

    /// What must be found nowhere, as bytes, each with a name.
    pub(crate) fn needles(&self) -> Vec<(&'static str, Vec<u8>)> {
        // Six and four may be shown. Nine digits, because fewer turn up in a process's memory by chance.
        let (front, back) = (&self.pan[..9], &self.pan[self.pan.len() - 9..]);
        let middle = &self.pan[4..13];
        let groups = (&self.pan[4..8], &self.pan[8..12]);
        let mut written: Vec<(&'static str, Vec<u8>)> = SEPARATORS
            .iter()
            .map(|separator| {
                ("middle of a card number in groups", [groups.0, separator, groups.1].concat().into_bytes())
            })
            .collect();
        let single: Vec<String> = middle.chars().map(String::from).collect();
        written.push(("middle of a card number in single digits", single.join(" ").into_bytes()));
        written.push(("PIN block in small letters", self.pin_block.to_lowercase().into_bytes()));
        let known = vec![
            ("front of a card number", front.as_bytes().to_vec()),
            ("middle of a card number", middle.as_bytes().to_vec()),
            ("back of a card number", back.as_bytes().to_vec()),
            ("card number, packed", packed(&self.pan)),
            ("card number, hexadecimal of its text", hex_of_text(&self.pan).into_bytes()),
            ("name", self.name.as_bytes().to_vec()),
            ("name, hexadecimal", hex_of_text(&self.name).into_bytes()),
            ("track", self.discretionary.as_bytes()[..10].to_vec()),
            ("PIN block", self.pin_block.as_bytes().to_vec()),
            ("PIN block, as NDC writes it", self.ndc_pin_block().into_bytes()),
            ("PIN block, packed", packed(&self.pin_block)),
        ];
        known.into_iter().chain(written).collect()
    }
}

/// A number with its check digit (ISO/IEC 7812-1).
fn checked(number: &str) -> String {
    let digits = number.bytes().rev().map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    format!("{number}{}", (10 - sum % 10) % 10)
}

/// Two digits a byte.
pub(crate) fn packed(digits: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&digits[at..=at], 16).expect("a digit");
    (0..digits.len() / 2).map(|pair| digit(2 * pair) << 4 | digit(2 * pair + 1)).collect()
}

/// `AB` as `4142`.
pub(crate) fn hex_of_text(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

/// Finds many needles at once.
pub(crate) struct Search {
    names: Vec<String>,
    automaton: aho_corasick::AhoCorasick,
}

impl Search {
    pub(crate) fn new(secrets: &[Secret]) -> Search {
        let needles: Vec<(&str, Vec<u8>)> = secrets.iter().flat_map(Secret::needles).collect();
        let names = needles.iter().map(|(name, needle)| format!("{name} {:?}", String::from_utf8_lossy(needle)));
        let names = names.collect();
        let automaton = aho_corasick::AhoCorasick::new(needles.iter().map(|(_, needle)| needle)).expect("an automaton");
        Search { names, automaton }
    }

    /// What is found in these bytes, with what stands around it.
    pub(crate) fn find(&self, bytes: &[u8]) -> Vec<String> {
        let around = |start: usize, end: usize| {
            let shown = &bytes[start.saturating_sub(60)..(end + 60).min(bytes.len())];
            String::from_utf8_lossy(shown).escape_debug().to_string()
        };
        let found = self.automaton.find_iter(bytes).take(10);
        found
            .map(|hit| format!("{} in …{}…", self.names[hit.pattern().as_usize()], around(hit.start(), hit.end())))
            .collect()
    }
}
