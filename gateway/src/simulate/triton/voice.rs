//! Acts as Triton requests. A polled line has no host that authorises: the terminal asks, and declines by itself.

use crate::simulate::random::Random;
use crate::simulate::script::{Act, CARDS, Notes, value};

/// What a withdrawal costs, in cents.
const SURCHARGE: u32 = 250;

/// Says acts as a retail terminal would.
#[derive(Clone, Debug)]
pub struct Voice {
    terminal: String,
    random: Random,
    sequence: u32,
}

impl Voice {
    /// A terminal of this name, at most fifteen characters.
    pub fn new(terminal: impl Into<String>, seed: u64) -> Voice {
        Voice { terminal: terminal.into(), random: Random::new(seed), sequence: 41 }
    }

    /// The bodies of what it says at this act; fields are separated by `|`. Such terminals take no deposits, and say
    /// nothing of their devices.
    pub fn say(&mut self, act: Act) -> Vec<String> {
        match act {
            Act::Withdraw(notes) => vec![self.withdrawal(notes)],
            Act::Decline => vec![self.withdrawal([0, 0, 0, 20])],
            // Nothing came out, or some of it was not taken: the request is taken back but for what did.
            Act::Jam => vec![self.withdrawal([0, 2, 0, 0]), self.reversal([0, 2, 0, 0], 0)],
            Act::Retract => vec![self.withdrawal([0, 2, 0, 0]), self.reversal([0, 2, 0, 0], 20)],
            // Totals, with the business day closed where somebody has filled the terminal.
            Act::SupervisorIn => vec![self.asks("50")],
            Act::SupervisorOut => vec![self.asks("51")],
            Act::Restart => vec![self.asks("60")],
            Act::Deposit(_)
            | Act::Cassette(..)
            | Act::Paper(_)
            | Act::CardCaptured
            | Act::Repair
            | Act::SupervisorKey(_)
            | Act::Jackpot(_) => Vec::new(),
        }
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence % 9_999 + 1;
        self.sequence
    }

    /// Everything that a gateway must never keep is here: track and PIN block.
    fn withdrawal(&mut self, notes: Notes) -> String {
        let pan = self.random.pick(&CARDS).pan;
        let (pin, sequence, cents) = (self.random.bits(), self.next(), value(notes) * 100);
        format!("{}|11|{sequence:04}|{pan}=29122010000012345678|{cents:08}|{SURCHARGE:08}|{pin:016X}||", self.terminal)
    }

    /// Takes the request before back, but for so many euro.
    fn reversal(&mut self, notes: Notes, out: u32) -> String {
        let (sequence, cents) = (self.sequence, value(notes) * 100);
        let pan = CARDS[0].pan;
        format!("{}|29|{sequence:04}|{pan}=2912|{cents:08}|{SURCHARGE:08}|{:08}|", self.terminal, out * 100)
    }

    fn asks(&mut self, code: &str) -> String {
        let sequence = self.next();
        format!("{}|{code}|{sequence:04}||", self.terminal)
    }
}
