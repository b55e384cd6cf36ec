//! Acts as the records of a Hyosung MoniPlus: each with its length, kind, number and time.

use jiff::Zoned;

use crate::mask;
use crate::simulate::random::Random;
use crate::simulate::script::{Act, CARDS, Level, value};
use crate::simulate::talk::{self, Said};

/// Ends a record.
const FS: u8 = 0x1c;

/// Writes acts as a MoniPlus would.
#[derive(Clone, Debug)]
pub struct Hyosung {
    random: Random,
    number: u32,
    transaction: u32,
}

impl Hyosung {
    /// A terminal in service.
    pub fn new(seed: u64) -> Hyosung {
        Hyosung { random: Random::new(seed), number: 0, transaction: 0 }
    }

    /// The kind and the data of what is recorded at an act, if anything is.
    fn record(&mut self, act: Act, now: &Zoned) -> Option<(&'static str, String)> {
        let alone = |kind: &'static str| Some((kind, kind.to_owned()));
        match act {
            Act::Withdraw(notes) => Some(("TA", self.transaction("CW", value(notes), true, now))),
            Act::Deposit(notes) => Some(("TA", self.transaction("DE", value(notes), true, now))),
            Act::Decline => Some(("TE", self.transaction("CW", 2_000, false, now))),
            Act::Jam => Some(("TB", self.transaction("CW", 40, false, now))),
            Act::Repair => alone("SR"),
            // What was not taken is taken back.
            Act::Retract => Some(("TC", self.transaction("CW", 40, true, now))),
            Act::SupervisorIn => Some(("SD", "MASTER".to_owned())),
            Act::SupervisorKey(key) => Some(("OA", format!("Key: {key:02}"))),
            Act::SupervisorOut => alone("SB"),
            Act::Restart => alone("SF"),
            Act::Cassette(number, Level::Good) => Some(("A1", format!("Cassette {number}: 2000"))),
            Act::Cassette(..) | Act::Paper(_) | Act::CardCaptured | Act::Jackpot(_) => None,
        }
    }

    /// The data of a transaction, in the order of the model's own records.
    fn transaction(&mut self, kind: &str, euro: u32, success: bool, now: &Zoned) -> String {
        self.transaction = self.transaction % 9_999 + 1;
        let card = mask::pan(self.random.pick(&CARDS).pan);
        let (number, minor) = (self.transaction, euro * 100);
        let out = if success { minor } else { 0 };
        let (date, time) = (now.strftime("%m%d%Y"), now.strftime("%H%M%S"));
        let result = if success { "TRUE" } else { "FALSE" };
        format!(
            "CS00000 ^{number:04}^{kind}^CA^--^0018^************^{date}^{time}^00202766^{number:012}^00000100^000000^{date}^250^\
             {minor:>8}^{out:>8}^    00202766^ 6^ {result}^0000000^{card}^0000^000000000000^1"
        )
    }
}

impl talk::Voice for Hyosung {
    fn act(&mut self, act: Act, now: &Zoned) -> Vec<Said> {
        let Some((kind, data)) = self.record(act, now) else { return Vec::new() };
        self.number = self.number % 9_999 + 1;
        let rest = format!("^ {kind}^    {:04}^{}^{data}^", self.number, now.strftime("%Y^%m^%d^%H^%M^%S"));
        // The length counts itself, and neither the X nor the end.
        let record = format!("{:04}{rest}X", rest.len() + 4);
        vec![Said::Message([record.as_bytes(), &[FS]].concat())]
    }
}
