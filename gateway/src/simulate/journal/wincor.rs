//! Acts as the journal of a Wincor ProCash: every line with its time of day, and no line with a date.

use jiff::{SignedDuration, Zoned};

use crate::mask;
use crate::simulate::random::Random;
use crate::simulate::script::{Act, CARDS, Level, Notes, note_counts};
use crate::simulate::talk::{self, Said};

/// Prints acts as a ProCash would.
#[derive(Clone, Debug)]
pub struct Wincor {
    random: Random,
}

impl Wincor {
    /// A terminal in service.
    pub fn new(seed: u64) -> Wincor {
        Wincor { random: Random::new(seed) }
    }

    /// The lines of an act, with the seconds since the one before. Of power, supplies, jams and supervisor mode nothing is
    /// printed.
    fn lines(&mut self, act: Act) -> Vec<(i64, String)> {
        match act {
            Act::Withdraw(notes) => self.session(&withdrawal(notes)),
            Act::Deposit(notes) => {
                let count: u32 = notes.iter().copied().map(u32::from).sum();
                self.session(&[
                    (3, "CASH DEPOSIT ACTIVATED".to_owned()),
                    (6, "BANKNOTES DETECTED".to_owned()),
                    (4, "TRANSACTION REQUEST DBBD    ".to_owned()),
                    (5, format!("VAULTED: {count}")),
                ])
            }
            Act::Decline => self.session(&[(5, "TRANSACTION REQUEST AABD    ".to_owned())]),
            Act::Cassette(number, Level::Good) => {
                let said = |words: &str| format!("CASSETTE UNIT {number} {words}");
                vec![(0, said("REMOVED")), (90, said("INSERTED"))]
            }
            Act::CardCaptured => vec![(0, "CARD RETAINED".to_owned())],
            Act::Retract => vec![(0, "CASH RETRACTED".to_owned())],
            Act::Jackpot(_) => vec![(0, "CASH PRESENTED".to_owned()), (2, "CASH TAKEN".to_owned())],
            Act::Cassette(..)
            | Act::Paper(_)
            | Act::Jam
            | Act::Repair
            | Act::SupervisorIn
            | Act::SupervisorKey(_)
            | Act::SupervisorOut
            | Act::Restart => Vec::new(),
        }
    }

    fn session(&mut self, middle: &[(i64, String)]) -> Vec<(i64, String)> {
        let pan = self.random.pick(&CARDS).pan;
        let card = if self.random.below(4) == 0 { pan.to_owned() } else { mask::pan(pan) };
        let line = |after, text: &str| (after, text.to_owned());
        let mut lines = vec![
            line(0, "-> TRANSACTION START"),
            line(1, "CARD INSERTED"),
            line(1, &format!("TRACK 2 DATA: {card}")),
            line(7, "PIN ENTERED"),
        ];
        lines.extend_from_slice(middle);
        lines.extend([line(3, "CARD TAKEN"), line(2, "<- TRANSACTION END")]);
        lines
    }
}

fn withdrawal(notes: Notes) -> [(i64, String); 4] {
    [
        (5, "TRANSACTION REQUEST AABD    ".to_owned()),
        (2, format!("CASH REQUEST: {}", note_counts(notes))),
        (6, "CASH PRESENTED".to_owned()),
        (4, "CASH TAKEN".to_owned()),
    ]
}

impl talk::Voice for Wincor {
    fn act(&mut self, act: Act, now: &Zoned) -> Vec<Said> {
        let mut at = now.clone();
        let lines = self.lines(act).into_iter();
        lines
            .map(|(after_s, text)| {
                at = at.checked_add(SignedDuration::from_secs(after_s)).unwrap_or_else(|_| at.clone());
                Said::Message(format!("{} {text}\r\n", at.strftime("%H:%M:%S")).into_bytes())
            })
            .collect()
    }
}
