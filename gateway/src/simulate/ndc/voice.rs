//! Acts as NDC messages: 11 transaction requests, 12 unsolicited and 22 solicited statuses.

use jiff::Zoned;

use crate::simulate::random::Random;
use crate::simulate::script::{Act, CARDS, Level, Notes, note_counts, supply_digit, value};
use crate::simulate::talk::{self, Heard, Said};

/// The configuration id that a simulated terminal reports at power-up.
const CONFIG_ID: &str = "0022";
/// Notes in a cassette that was filled.
const FILLED: u32 = 2_500;
/// Reject bin and four cassettes, or a printer's paper, ribbon, print head and knife.
const PRINTER_REST: &str = "111";

/// Says acts as an NDC terminal would.
#[derive(Clone, Debug)]
pub struct Voice {
    luno: String,
    random: Random,
    levels: [Level; 4],
    in_service: bool,
    serial: u16,
    coordination: u8,
    counts: Counts,
}

/// What the terminal has counted since it was made: its basic supply counters.
#[derive(Clone, Debug, Default)]
struct Counts {
    transactions: u32,
    dispensed: [u32; 4],
    last: [u32; 4],
    captured: u32,
}

impl Voice {
    /// A terminal with full cassettes, in service.
    pub fn new(luno: impl Into<String>, seed: u64) -> Voice {
        Voice {
            luno: luno.into(),
            random: Random::new(seed),
            levels: [Level::Good; 4],
            in_service: true,
            serial: 1638,
            coordination: b'0',
            counts: Counts::default(),
        }
    }

    /// What the terminal says at this act. Out of service, it serves nobody.
    pub fn say(&mut self, act: Act) -> Vec<Said> {
        match act {
            Act::Withdraw(_) | Act::Deposit(_) | Act::Decline if !self.in_service => Vec::new(),
            Act::Withdraw(notes) => {
                self.counts.last = notes.map(u32::from);
                for (sum, taken) in self.counts.dispensed.iter_mut().zip(notes) {
                    *sum = sum.saturating_add(u32::from(taken));
                }
                self.transaction("AB   A  ", value(notes))
            }
            Act::Deposit(notes) => self.transaction("DB   A  ", value(notes)),
            Act::Decline => self.transaction("AB   A  ", 2_000),
            Act::Cassette(number, level) => {
                if let Some(cassette) = usize::from(number).checked_sub(1).and_then(|at| self.levels.get_mut(at)) {
                    *cassette = level;
                }
                vec![self.cash_handler('0', [0; 4], "00000", "00")]
            }
            Act::Paper(level) => {
                let severity = if level == Level::Good { 0 } else { 2 };
                vec![self.unsolicited(&format!("G0|{severity}|00|{}{PRINTER_REST}", supply_digit(level)))]
            }
            Act::CardCaptured => {
                self.counts.captured += 1;
                vec![self.unsolicited("D1|0|0006000000|1")]
            }
            // Nothing came out, and the dispenser says that it cannot go on; an engineer's test says that it can again.
            Act::Jam => vec![self.cash_handler('2', [0; 4], "40000", "04")],
            Act::Repair => vec![self.cash_handler('0', [0; 4], "00000", "00")],
            Act::Retract => vec![self.cash_handler('5', [0, 1, 0, 0], "00000", "00")],
            Act::SupervisorIn => vec![self.unsolicited("P21")],
            Act::SupervisorKey(key) => vec![self.unsolicited(&format!("R{:02}", key % 100))],
            Act::SupervisorOut => vec![self.unsolicited("P20")],
            Act::Restart => vec![Said::Down(1_500), self.unsolicited(&format!("B{CONFIG_ID}"))],
            // Severity 3: the dispenser suspends itself, suspecting that somebody tampers with it.
            Act::Jackpot(notes) => vec![self.cash_handler('3', notes, "30000", "07")],
        }
    }

    /// The answer to a message of the host; nothing where it wants none.
    pub fn answer(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut fields = message.split(|byte| *byte == 0x1c);
        let class = *fields.next()?.first()?;
        match class {
            b'1' => match fields.nth(2)? {
                [b'1', ..] => self.in_service = true,
                [b'2', ..] => self.in_service = false,
                [b'4'] | [b'4', b'1'] => return Some(self.message("22", &format!("|F|2{}", self.counters()))),
                // Of what else it could report it keeps no account: the command is one that it does not know.
                [b'4' | b'5' | b'7', ..] => return Some(self.message("22", "|C")),
                _ => {}
            },
            b'3' => {}
            b'4' => return Some(self.message("22", "|B")),
            _ => return None,
        }
        Some(self.message("22", "|9"))
    }

    /// The basic supply counters: serial number, transactions, and for each cassette what is in it, was rejected, was
    /// dispensed ever and last; cards captured, envelopes, film, last envelope.
    fn counters(&self) -> String {
        let Counts { transactions, dispensed, last, captured } = &self.counts;
        let row = |notes: &[u32; 4]| notes.iter().map(|count| format!("{count:05}")).collect::<String>();
        let left = dispensed.map(|taken| FILLED.saturating_sub(taken));
        let (left, none, dispensed, last) = (row(&left), row(&[0; 4]), row(dispensed), row(last));
        format!("{:04}{transactions:07}{left}{none}{dispensed}{last}{captured:05}{:015}", self.serial, 0)
    }

    fn transaction(&mut self, opcode: &str, euro: u32) -> Vec<Said> {
        let pan = self.random.pick(&CARDS).pan;
        let time_variant = self.random.bits() >> 32;
        self.coordination = if self.coordination >= b'?' { b'1' } else { self.coordination + 1 };
        // Everything below that a gateway must never keep is here: track, PIN block, EMV card tags.
        let request = format!(
            "{time_variant:08X}|1{coordination}|;{pan}=29122010000012345678?||{opcode}|{cents:08}|{pin}||||2{serial:04}1{zeros}|5CAM0000{emv}",
            coordination = char::from(self.coordination),
            cents = euro * 100,
            pin = self.pin_block(),
            serial = self.serial,
            zeros = "0".repeat(20),
            emv = emv_tags(pan),
        );
        let request = self.message("11", &request);
        self.serial = (self.serial + 1) % 10_000;
        self.counts.transactions += 1;
        vec![Said::Message(request), Said::Wait(700), Said::Message(self.message("22", "|B"))]
    }

    fn cash_handler(&self, status: char, notes: Notes, severity: &str, m_status: &str) -> Said {
        let supplies: String = self.levels.into_iter().map(supply_digit).collect();
        self.unsolicited(&format!("E{status}{}|{severity}|{m_status}|1{supplies}", note_counts(notes)))
    }

    fn unsolicited(&self, status: &str) -> Said {
        Said::Message(self.message("12", status))
    }

    /// A message: class, LUNO, the empty field, and the rest with `|` for the field separator.
    fn message(&self, class: &str, rest: &str) -> Vec<u8> {
        format!("{class}|{}||{rest}", self.luno).replace('|', "\x1c").into_bytes()
    }

    /// Sixteen digits of NDC's own hex alphabet.
    fn pin_block(&mut self) -> String {
        let bits = self.random.bits();
        (0..16_u32).map(|digit| char::from(b'0' + u8::try_from((bits >> (4 * digit)) & 0xf).unwrap_or(0))).collect()
    }
}

impl talk::Voice for Voice {
    fn act(&mut self, act: Act, _now: &Zoned) -> Vec<Said> {
        self.say(act)
    }

    fn hear(&mut self, frame: &[u8]) -> Heard {
        self.answer(frame).map_or(Heard::Nothing, Heard::Command)
    }
}

/// Card number and track 2 equivalent as EMV tags, the way a chip reports them.
fn emv_tags(pan: &str) -> String {
    let padded = |digits: String| if digits.len().is_multiple_of(2) { digits } else { digits + "F" };
    let tag = |name: &str, digits: String| format!("{name}{:02X}{digits}", digits.len() / 2);
    let number = tag("5A", padded(pan.to_owned()));
    let track = tag("57", padded(format!("{pan}D2912201")));
    format!("9F0206000000002000{number}{track}9F2701809F3602001C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(voice: &mut Voice, act: Act) -> Vec<String> {
        let text = |message: Vec<u8>| String::from_utf8(message).unwrap().replace('\x1c', "|");
        let parts = voice.say(act).into_iter();
        parts.filter_map(|said| if let Said::Message(message) = said { Some(text(message)) } else { None }).collect()
    }

    #[test]
    fn a_cassette_runs_low_and_out_and_is_filled() {
        let mut voice = Voice::new("001000001", 1);
        for (level, supplies) in [(Level::Low, "11211"), (Level::Out, "11311"), (Level::Good, "11111")] {
            let expected = format!("12|001000001||E000000000|00000|00|{supplies}");
            assert_eq!(said(&mut voice, Act::Cassette(2, level)), [expected]);
        }
        assert_eq!(said(&mut voice, Act::Retract), ["12|001000001||E500010000|00000|00|11111"]);
        assert_eq!(said(&mut voice, Act::Paper(Level::Low)), ["12|001000001||G0|2|00|2111"]);
    }

    #[test]
    fn a_withdrawal_is_a_request_and_a_completion() {
        let messages = said(&mut Voice::new("001000001", 1), Act::Withdraw([0, 2, 0, 0]));
        assert_eq!(messages.len(), 2);
        let fields: Vec<&str> = messages[0].split('|').collect();
        assert_eq!((fields[0], fields[1], fields[4], fields[8]), ("11", "001000001", "11", "00004000"));
        assert!(CARDS.iter().any(|card| fields[5].contains(card.pan)));
        assert_eq!((fields[7].len(), fields[9].len()), (8, 16));
        assert!(fields[13].starts_with("216381"), "{}", fields[13]);
        assert_eq!(messages[1], "22|001000001|||B");
    }

    #[test]
    fn it_reports_its_counters_and_refuses_what_it_does_not_count() {
        use crate::protocol::ndc;
        let mut voice = Voice::new("001", 1);
        voice.say(Act::Withdraw([0, 2, 1, 0]));
        voice.say(Act::CardCaptured);
        let report = voice.answer(b"1\x1c001\x1c\x1c4").expect("an answer");
        let read = serde_json::to_value(ndc::decode(&report, &ndc::Options::default()).expect("decodes"));
        let read = read.expect("serialises").to_string();
        for part in ["\"notes_in_cassettes\":[2500,2498,2499,2500]", "\"last_notes_dispensed\":[0,2,1,0]"] {
            assert!(read.contains(part), "{part} not in {read}");
        }
        assert!(read.contains("\"cards_captured\":1") && read.contains("\"transaction_count\":1"), "{read}");
        assert_eq!(voice.answer(b"1\x1c001\x1c\x1c42").as_deref(), Some(b"22\x1c001\x1c\x1c\x1cC".as_slice()));
    }

    #[test]
    fn out_of_service_it_serves_nobody_until_told() {
        let mut voice = Voice::new("001", 1);
        assert_eq!(voice.answer(b"1\x1c001\x1c\x1c2").as_deref(), Some(b"22\x1c001\x1c\x1c\x1c9".as_slice()));
        assert!(voice.say(Act::Decline).is_empty());
        assert!(voice.answer(b"1\x1c\x1c\x1c1").is_some());
        assert_eq!(voice.say(Act::Decline).len(), 3);
        assert_eq!(voice.answer(b"6\x1c\x1c\x1c1000001"), None);
        assert_eq!(voice.answer(b""), None);
    }
}
