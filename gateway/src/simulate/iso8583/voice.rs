//! Acts as ISO 8583 messages of 1987 or 1993: network management, transactions and reversals, each with its answer.

use std::sync::Arc;

use jiff::Zoned;

use crate::protocol::iso8583::{Clear, Content, Mti, Spec};
use crate::simulate::random::Random;
use crate::simulate::script::{Act, CARDS, Notes, value};
use crate::simulate::talk::{self, Said};

/// How long the host takes, in milliseconds of the script.
const HOST_MS: u32 = 120;
/// Who acquires, and for whom: numbers that nobody has.
const ACQUIRER: &str = "00000123456";
const MERCHANT: &str = "EXAMPLE BANK 01";
/// Euro.
const CURRENCY: &str = "978";

/// Says acts as a terminal and its host would.
#[derive(Clone, Debug)]
pub struct Voice {
    spec: Arc<Spec>,
    terminal: String,
    random: Random,
    stan: u32,
}

/// What a terminal asks, of which its host says something.
struct Asked {
    fields: Vec<(u8, String)>,
    binary: Vec<(u8, Vec<u8>)>,
    local: String,
}

impl Voice {
    /// A terminal of this name (field 41, eight characters) that writes as this spec says.
    pub fn new(spec: Arc<Spec>, terminal: &str, seed: u64) -> Voice {
        Voice { spec, terminal: format!("{terminal:<8.8}"), random: Random::new(seed), stan: 420 }
    }

    /// What terminal and host say at this act.
    pub fn say(&mut self, act: Act, now: &Zoned) -> Vec<Said> {
        match act {
            Act::Restart => {
                let mut said = vec![Said::Down(1_500)];
                said.extend(self.network("001", now));
                said
            }
            Act::SupervisorIn => self.network("002", now),
            Act::SupervisorOut => self.network("001", now),
            Act::Repair => self.network("301", now),
            Act::Withdraw(notes) => self.transaction("01", notes, "00", now),
            Act::Deposit(notes) => self.transaction("21", notes, "00", now),
            Act::Decline => self.transaction("01", [0, 0, 0, 20], "51", now),
            // The host wants the card kept.
            Act::CardCaptured => self.transaction("01", [0, 1, 0, 0], "43", now),
            // What was approved did not come out, or not all of it was taken.
            Act::Jam => self.taken_back([0, 0, 2, 0], 0, now),
            Act::Retract => self.taken_back([0, 2, 0, 0], 20, now),
            // Devices are not what this protocol is about, and cash that nobody asked for is what nobody says.
            Act::Cassette(..) | Act::Paper(_) | Act::SupervisorKey(_) | Act::Jackpot(_) => Vec::new(),
        }
    }

    /// Sign-on, sign-off or echo, by the code of 1987.
    fn network(&mut self, code: &str, now: &Zoned) -> Vec<Said> {
        let asked = self.asked(now);
        let (request, response, code) = if self.spec.version == 0 {
            ("0800", "0810", (70, code.to_owned()))
        } else {
            let code = match code {
                "001" => "801",
                "002" => "802",
                _ => "831",
            };
            ("1804", "1814", (24, code.to_owned()))
        };
        let fields = vec![asked.fields[0].clone(), asked.fields[1].clone(), code];
        let asked = Asked { fields, binary: Vec::new(), local: asked.local };
        let approved = if self.spec.version == 0 { "00" } else { "800" };
        self.exchange((request, response), asked, approved)
    }

    fn transaction(&mut self, kind: &str, notes: Notes, response: &str, now: &Zoned) -> Vec<Said> {
        let mut asked = self.asked(now);
        self.customer(&mut asked, kind, value(notes));
        let types = if self.spec.version == 0 { ("0200", "0210") } else { ("1200", "1210") };
        let response = self.response(response);
        self.exchange(types, asked, &response)
    }

    /// A withdrawal that is approved, and taken back but for what came out, in euro.
    fn taken_back(&mut self, notes: Notes, out: u32, now: &Zoned) -> Vec<Said> {
        let mut said = self.transaction("01", notes, "00", now);
        let original = self.stan;
        let mut asked = self.asked(now);
        self.customer(&mut asked, "01", value(notes));
        asked.binary.clear();
        asked.fields.retain(|field| field.0 != 35);
        let types = if self.spec.version == 0 {
            let transmitted = asked.fields[0].1.clone();
            asked.fields.push((90, format!("0200{original:06}{transmitted}{ACQUIRER}{:011}", 0)));
            asked.fields.push((95, format!("{:012}{:030}", out * 100, 0)));
            ("0420", "0430")
        } else {
            asked.fields.push((24, "400".to_owned()));
            asked.fields.push((56, format!("1200{original:06}{}", asked.local)));
            ("1420", "1430")
        };
        said.push(Said::Wait(2_000));
        let response = if self.spec.version == 0 { "00" } else { "400" };
        said.extend(self.exchange(types, asked, response));
        said
    }

    /// What every request has: when it was sent, and its number.
    fn asked(&mut self, now: &Zoned) -> Asked {
        self.stan = self.stan % 999_999 + 1;
        let transmitted = now.with_time_zone(jiff::tz::TimeZone::UTC).strftime("%m%d%H%M%S").to_string();
        let fields = vec![(7, transmitted), (11, format!("{:06}", self.stan))];
        Asked { fields, binary: Vec::new(), local: now.strftime("%y%m%d%H%M%S").to_string() }
    }

    /// A customer's card, PIN and money. Everything that a gateway must never keep is here.
    fn customer(&mut self, asked: &mut Asked, kind: &str, euro: u32) {
        let pan = self.random.pick(&CARDS).pan;
        let (date, time) = asked.local.split_at(6);
        let when = if self.spec.version == 0 {
            vec![(12, time.to_owned()), (13, date[2..].to_owned())]
        } else {
            vec![(12, asked.local.clone())]
        };
        asked.fields.extend(when);
        asked.fields.extend([
            (2, pan.to_owned()),
            (3, format!("{kind}1000")),
            (4, format!("{:012}", euro * 100)),
            (32, ACQUIRER.to_owned()),
            (35, format!("{pan}=29122010000012345678")),
            (37, format!("{:012}", self.stan)),
            (41, self.terminal.clone()),
            (42, MERCHANT.to_owned()),
            (49, CURRENCY.to_owned()),
        ]);
        asked.binary.push((52, self.random.bits().to_be_bytes().to_vec()));
        if self.spec.field(55).is_some_and(|field| field.notation.content == Content::Binary) {
            let mut chip = b"\x9f\x26\x08".to_vec();
            chip.extend(self.random.bits().to_be_bytes());
            asked.binary.push((55, chip));
        }
    }

    /// The response of 1993 for one of 1987.
    fn response(&self, code: &str) -> String {
        let code = match (self.spec.version, code) {
            (0, code) => code,
            (_, "00") => "000",
            (_, "43") => "209",
            (_, _) => "116",
        };
        code.to_owned()
    }

    /// A request, and the answer: what the request said of itself but for card and PIN, and the response.
    fn exchange(&self, types: (&str, &str), asked: Asked, response: &str) -> Vec<Said> {
        let Asked { fields, binary, .. } = asked;
        let about = fields.iter().filter(|field| !matches!(field.0, 35 | 90 | 95 | 56)).cloned();
        let answer: Vec<_> = about.chain([(39, response.to_owned())]).collect();
        let request = self.message(types.0, &fields, &binary);
        let answer = self.message(types.1, &answer, &[]);
        [request, Some(Said::Wait(HOST_MS)), answer].into_iter().flatten().collect()
    }

    /// A message as the spec writes it. Our own fields always fit; another spec's may be too narrow, and is then not said.
    fn message(&self, mti: &str, fields: &[(u8, String)], binary: &[(u8, Vec<u8>)]) -> Option<Said> {
        let mti = Mti::new(mti.as_bytes().try_into().ok()?)?;
        let clear = fields.iter().fold(Clear::new(mti), |clear, (field, text)| clear.with(*field, text.as_bytes()));
        let clear = binary.iter().fold(clear, |clear, (field, bytes)| clear.with(*field, bytes));
        match self.spec.encode(&clear) {
            Ok(wire) => Some(Said::Message(wire.to_vec())),
            Err(reason) => {
                tracing::warn!(spec = %self.spec.name, reason, "A message cannot be written in this spec.");
                None
            }
        }
    }
}

impl talk::Voice for Voice {
    fn act(&mut self, act: Act, now: &Zoned) -> Vec<Said> {
        self.say(act, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::iso8583::{self, Options};

    #[test]
    fn every_spec_writes_every_act_and_reads_it_again() {
        let now: Zoned = "2030-01-15T05:51:30+01:00[Europe/Berlin]".parse().expect("a time");
        let acts = [Act::Restart, Act::Withdraw([1, 2, 0, 0]), Act::Decline, Act::CardCaptured, Act::Jam, Act::Retract];
        for spec in Spec::builtin() {
            let mut voice = Voice::new(Arc::clone(spec), "SIM00001", 5);
            let mut options = Options::default();
            options.spec = Some(spec.name.to_string());
            options.look_up(|_| Err("no file".to_owned())).expect("built in");
            let said: Vec<Said> = acts.into_iter().flat_map(|act| voice.say(act, &now)).collect();
            let messages = said.iter().filter_map(|said| match said {
                Said::Message(message) => Some(message),
                _ => None,
            });
            let types: Vec<String> = messages
                .map(|message| {
                    iso8583::decode(message, &options).unwrap_or_else(|fault| panic!("{}: {fault:?}", spec.name))
                })
                .map(|message| message.mti.as_str()[1..3].to_owned())
                .collect();
            let expected =
                ["80", "81", "20", "21", "20", "21", "20", "21", "20", "21", "42", "43", "20", "21", "42", "43"];
            assert_eq!(types.len(), expected.len(), "{}", spec.name);
            assert!(types == expected, "{}: {types:?}", spec.name);
        }
    }
}
