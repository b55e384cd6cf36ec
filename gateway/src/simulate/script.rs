//! What happens at a terminal, as tables. How it is said is each protocol's own matter.

use super::random::Random;

/// How full a supply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing to do.
    Good,
    /// Runs low.
    Low,
    /// Used up.
    Out,
}

/// Notes given out, for each of the four cassettes.
pub type Notes = [u8; 4];

/// Value of a note of each cassette, in euro.
pub const DENOMINATIONS: [u16; 4] = [10, 20, 50, 100];

/// What these notes are worth, in whole euro.
pub fn value(notes: Notes) -> u32 {
    notes.iter().zip(DENOMINATIONS).map(|(count, value)| u32::from(*count) * u32::from(value)).sum()
}

/// The digit of a level in a supplies field, on an NDC line and in a journal alike.
pub(super) fn supply_digit(level: Level) -> char {
    match level {
        Level::Good => '1',
        Level::Low => '2',
        Level::Out => '3',
    }
}

/// Two digits for each cassette, as in a cash handler's status.
pub(super) fn note_counts(notes: Notes) -> String {
    notes.iter().map(|count| format!("{:02}", count % 100)).collect()
}

/// Something that happens at a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A customer withdraws cash.
    Withdraw(Notes),
    /// A customer pays cash in.
    Deposit(Notes),
    /// A customer is refused.
    Decline,
    /// A cassette (1 to 4) reaches a level.
    Cassette(u8, Level),
    /// The receipt printer's paper reaches a level.
    Paper(Level),
    /// A card is kept.
    CardCaptured,
    /// Notes jam in the dispenser: nothing comes out.
    Jam,
    /// Whatever jammed works again.
    Repair,
    /// Notes were not taken and were pulled back.
    Retract,
    /// Somebody enters supervisor mode.
    SupervisorIn,
    /// Somebody presses this key in supervisor mode.
    SupervisorKey(u8),
    /// Supervisor mode ends.
    SupervisorOut,
    /// The power fails and comes back.
    Restart,
    /// The dispenser gives out notes that nobody asked for.
    Jackpot(Notes),
}

/// An act, and how long after the one before it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds since the act before.
    pub after_ms: u32,
    /// What happens.
    pub act: Act,
}

const fn step(after_ms: u32, act: Act) -> Step {
    Step { after_ms, act }
}

/// What happens at a terminal: an opening, once and on time, and then a round again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// Played once, as written.
    pub opening: &'static [Step],
    /// Played for ever, with waits between half and one and a half times as long. Empty: the terminal falls silent.
    pub round: &'static [Step],
}

/// A busy terminal whose second cassette runs low, runs out, and is filled again by an engineer.
pub const LOBBY: Script = Script {
    opening: &[
        step(200, Act::Restart),
        step(600, Act::Withdraw([0, 2, 0, 0])),
        step(900, Act::Withdraw([1, 0, 1, 0])),
        step(600, Act::Cassette(2, Level::Low)),
        step(1200, Act::Withdraw([0, 3, 0, 0])),
        step(900, Act::Cassette(2, Level::Out)),
        step(1500, Act::SupervisorIn),
        step(500, Act::SupervisorKey(9)),
        step(900, Act::Cassette(2, Level::Good)),
        step(500, Act::SupervisorOut),
    ],
    round: &[
        step(1500, Act::Withdraw([2, 1, 0, 0])),
        step(1800, Act::Withdraw([0, 0, 2, 0])),
        step(1500, Act::Decline),
        step(1800, Act::Withdraw([0, 4, 0, 1])),
        step(2500, Act::Cassette(3, Level::Low)),
        step(2500, Act::Withdraw([0, 1, 1, 0])),
        step(3000, Act::Cassette(3, Level::Good)),
    ],
};

/// A terminal with printer and card reader trouble.
pub const DRIVE_UP: Script = Script {
    opening: &[
        step(500, Act::Withdraw([0, 1, 1, 0])),
        step(1500, Act::Paper(Level::Low)),
        step(1500, Act::CardCaptured),
        step(1200, Act::Withdraw([0, 0, 1, 1])),
        step(2000, Act::Paper(Level::Good)),
        step(1500, Act::Retract),
    ],
    round: &[
        step(2000, Act::Withdraw([1, 1, 0, 0])),
        step(2500, Act::Decline),
        step(2000, Act::Paper(Level::Low)),
        step(2500, Act::Withdraw([0, 2, 1, 0])),
        step(2000, Act::Paper(Level::Good)),
        step(4000, Act::Restart),
    ],
};

/// A terminal whose journal printer is all that can be heard of it.
pub const BACK_OFFICE: Script = Script {
    opening: &[
        step(400, Act::Withdraw([1, 2, 1, 0])),
        step(900, Act::Decline),
        step(900, Act::Cassette(3, Level::Low)),
        step(900, Act::SupervisorIn),
        step(400, Act::SupervisorKey(7)),
        step(400, Act::Cassette(3, Level::Good)),
        step(400, Act::SupervisorOut),
    ],
    round: &[
        step(2500, Act::Withdraw([0, 1, 0, 1])),
        step(2500, Act::Withdraw([2, 0, 0, 0])),
        step(2500, Act::Retract),
        step(2500, Act::Cassette(1, Level::Low)),
        step(2500, Act::Decline),
        step(2500, Act::Cassette(1, Level::Good)),
        step(4000, Act::Restart),
    ],
};

/// A terminal that is being jackpotted while its first cassette empties.
pub const KIOSK: Script = Script {
    opening: &[
        step(300, Act::Withdraw([0, 1, 0, 0])),
        step(1200, Act::Cassette(1, Level::Low)),
        step(1500, Act::Withdraw([2, 0, 0, 0])),
        step(1500, Act::Jackpot([0, 0, 20, 20])),
        step(1500, Act::Cassette(1, Level::Out)),
        step(2500, Act::Cassette(1, Level::Good)),
    ],
    round: &[
        step(2000, Act::Withdraw([0, 2, 0, 0])),
        step(2000, Act::Decline),
        step(2500, Act::Withdraw([1, 0, 0, 0])),
        step(2500, Act::Cassette(4, Level::Low)),
        step(2500, Act::Withdraw([0, 0, 0, 2])),
        step(2500, Act::Cassette(4, Level::Good)),
        step(8000, Act::Jackpot([0, 0, 0, 40])),
    ],
};

/// Everything that can happen at a terminal, once each; what must come of it stands in [`expected`](super::expected).
const EVERYTHING: &[Step] = &[
    step(200, Act::Restart),
    step(300, Act::Withdraw([0, 2, 1, 0])),
    step(300, Act::Deposit([0, 0, 2, 0])),
    step(300, Act::Decline),
    step(200, Act::Cassette(2, Level::Low)),
    step(200, Act::SupervisorIn),
    step(200, Act::SupervisorKey(9)),
    step(200, Act::Cassette(2, Level::Good)),
    step(200, Act::SupervisorOut),
    step(200, Act::Jam),
    step(200, Act::Repair),
    step(200, Act::Retract),
    step(200, Act::CardCaptured),
    step(200, Act::Jackpot([0, 0, 20, 20])),
    step(200, Act::Paper(Level::Low)),
];

/// Everything that can happen at a terminal, again and again.
pub const DAY: Script = Script { opening: EVERYTHING, round: EVERYTHING };

/// A script being played.
#[derive(Clone, Debug)]
pub struct Play {
    script: Script,
    at: usize,
    random: Random,
}

impl Play {
    /// The script from its beginning.
    pub fn new(script: Script, seed: u64) -> Play {
        Play { script, at: 0, random: Random::new(seed) }
    }
}

impl Iterator for Play {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let at = self.at;
        self.at += 1;
        if let Some(step) = self.script.opening.get(at) {
            return Some(*step);
        }
        let round = self.script.round;
        let step = round.get((at - self.script.opening.len()).checked_rem(round.len())?)?;
        Some(Step { after_ms: step.after_ms / 2 + self.random.below(step.after_ms), act: step.act })
    }
}

/// A made-up customer's card: the well-known test numbers of the card schemes, never issued to anybody.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    /// The card number.
    pub pan: &'static str,
}

/// The test cards that simulated customers carry. No event, log line or page may ever show one of these in full.
pub const CARDS: [Card; 4] = [
    Card { pan: "4111111111111111" },
    Card { pan: "5555555555554444" },
    Card { pan: "4012888888881881" },
    Card { pan: "378282246310005" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_is_exact_and_the_round_repeats() {
        let acts: Vec<Step> = Play::new(KIOSK, 3).take(KIOSK.opening.len() + 2 * KIOSK.round.len()).collect();
        assert_eq!(&acts[..KIOSK.opening.len()], KIOSK.opening);
        let (first, second) = acts[KIOSK.opening.len()..].split_at(KIOSK.round.len());
        for ((one, two), written) in first.iter().zip(second).zip(KIOSK.round) {
            assert_eq!((one.act, two.act), (written.act, written.act));
            assert!((written.after_ms / 2..written.after_ms * 3 / 2).contains(&two.after_ms));
        }
        assert_eq!(Play::new(KIOSK, 3).nth(40), Play::new(KIOSK, 3).nth(40));
    }

    #[test]
    fn a_script_without_a_round_ends() {
        let script = Script { opening: LOBBY.opening, round: &[] };
        assert_eq!(Play::new(script, 0).count(), LOBBY.opening.len());
    }

    #[test]
    fn a_demo_of_twenty_seconds_shows_everything() {
        let told = |script: Script| script.opening.iter().map(|step| step.after_ms).sum::<u32>();
        assert!([LOBBY, DRIVE_UP, BACK_OFFICE, KIOSK].into_iter().all(|script| told(script) < 12_000));
        assert_eq!(value([1, 2, 1, 0]), 100);
    }
}
