//! Acts as NCR journal text: CR line ends, printer controls, dates in headers alone.

use jiff::{SignedDuration, Zoned};

use crate::mask;
use crate::simulate::random::Random;
use crate::simulate::script::{Act, CARDS, DENOMINATIONS, Level, Notes, note_counts, supply_digit, value};
use crate::simulate::talk::{self, Said};

/// Notes of each cassette after a filling.
const FULL: u32 = 2_000;

/// Prints acts as an NCR terminal's journal would.
#[derive(Clone, Debug)]
pub struct Voice {
    random: Random,
    levels: [Level; 4],
    dispensed: [u32; 4],
    header: u32,
    serial: u32,
}

/// A page being written, with its clock.
struct Page<'z> {
    begun: &'z Zoned,
    after_ms: i64,
    lines: Vec<String>,
}

impl Page<'_> {
    fn now(&self) -> Zoned {
        self.begun.checked_add(SignedDuration::from_millis(self.after_ms)).unwrap_or_else(|_| self.begun.clone())
    }

    /// A line as it is.
    fn plain(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// A line after the given time, with the printer control and the time in front.
    fn timed(&mut self, after_ms: i64, text: &str) {
        self.after_ms += after_ms;
        let time = self.now().strftime("%H:%M:%S").to_string();
        self.lines.push(format!("\x1b[020t {time} {text}"));
    }
}

impl Voice {
    /// A terminal with full cassettes.
    pub fn new(seed: u64) -> Voice {
        Voice { random: Random::new(seed), levels: [Level::Good; 4], dispensed: [0; 4], header: 510, serial: 7306 }
    }

    /// The lines of an act that begins at `now`, each with its CR.
    pub fn say(&mut self, act: Act, now: &Zoned) -> Vec<Vec<u8>> {
        let mut page = Page { begun: now, after_ms: 0, lines: Vec::new() };
        match act {
            Act::Withdraw(notes) => self.withdrawal(&mut page, notes),
            Act::Deposit(notes) => self.deposit(&mut page, notes),
            Act::Decline => self.refusal(&mut page),
            Act::Cassette(number, level) => {
                if let Some(at) = usize::from(number).checked_sub(1).filter(|at| *at < self.levels.len()) {
                    self.levels[at] = level;
                    if level == Level::Good {
                        self.dispensed[at] = 0;
                    }
                }
                self.status(&mut page, &format!("E*0{},M-00,R-1{}", note_counts([0; 4]), self.supplies()));
            }
            Act::Paper(level) => self.status(&mut page, &format!("G*0,M-00,R-{}111", supply_digit(level))),
            Act::CardCaptured => self.status(&mut page, "D*1,M-00,R-1"),
            Act::Jam => self.status(&mut page, &format!("E*2{},M-04,R-1{}", note_counts([0; 4]), self.supplies())),
            // The printed status has no error severity: what the test says is that the supplies are as they were.
            Act::Repair => self.status(&mut page, &format!("E*0{},M-00,R-1{}", note_counts([0; 4]), self.supplies())),
            Act::Retract => {
                for (after_ms, text) in [
                    (0, "INIT BNA STARTED - RETRACT BIN "),
                    (0, "CASHIN RETRACT STARTED - RETRACT BIN"),
                    (15_000, "CIM-RESET CALLED - RETRACT BIN"),
                    (0, "CASHIN RECOVERY OK  "),
                ] {
                    page.after_ms += after_ms;
                    let time = page.now().strftime("%H:%M:%S").to_string();
                    page.plain(format!("{time}*{text}"));
                }
            }
            Act::SupervisorIn => {
                self.status(&mut page, "P*21,M-");
                self.header(&mut page, "");
                page.plain("\x1b[05pSUPERVISOR MODE ENTRY\x1b[00p");
            }
            Act::SupervisorKey(key) => self.status(&mut page, &format!("R*{:02}", key % 100)),
            Act::SupervisorOut => page.plain("     *    *1*P*20,M-"),
            Act::Restart => {
                self.header(&mut page, "\x1b[020t");
                page.plain("\x1b[05pPOWER-UP/RESET");
                page.plain("APTRA ADVANCE NDC 05.01.00\x1b[00p");
                page.plain("     *    *1*B*0750,M-");
            }
            Act::Jackpot(notes) => {
                page.timed(0, "NOTES STACKED");
                page.timed(1_000, &presented(notes));
                page.timed(1_000, "NOTES TAKEN");
            }
        }
        page.lines.into_iter().map(|line| (line + "\r").into_bytes()).collect()
    }

    /// How full the cassettes are, a digit each.
    fn supplies(&self) -> String {
        self.levels.into_iter().map(supply_digit).collect()
    }

    fn header(&mut self, page: &mut Page<'_>, control: &str) {
        self.header = (self.header + 1) % 1_000;
        page.plain(format!("{control}*{:03}*{}*", self.header, page.now().strftime("%m/%d/%Y*%H:%M")));
    }

    fn status(&self, page: &mut Page<'_>, status: &str) {
        page.plain(format!("\x1b[020t     *{:04}*1*{status}", self.serial));
    }

    /// The card number as printed: most terminals mask it, old ones do not, and the gateway has to.
    fn card(&mut self) -> String {
        let pan = self.random.pick(&CARDS).pan;
        if self.random.below(4) == 0 { pan.to_owned() } else { mask::pan(pan) }
    }

    fn beginning(&mut self, page: &mut Page<'_>) {
        self.serial = (self.serial + 1) % 10_000;
        self.header(page, "\x1b[020t");
        page.plain("     *TRANSACTION START*");
        page.plain("\x1b[020t CARD INSERTED");
        page.timed(1_000, "ATR RECEIVED T=0");
        page.timed(4_000, "PIN ENTERED");
    }

    fn withdrawal(&mut self, page: &mut Page<'_>, notes: Notes) {
        self.beginning(page);
        page.timed(3_000, "OPCODE = BBD     ");
        page.timed(1_000, "GENAC 1 : ARQC");
        page.timed(2_000, "GENAC 2 : TC");
        page.timed(4_000, "NOTES STACKED");
        page.timed(2_000, "CARD TAKEN");
        page.plain("");
        page.plain(format!("  PAN {}", self.card()));
        page.plain("  ---START OF TRANSACTION---");
        page.plain(" ");
        page.timed(1_000, &presented(notes));
        page.timed(2_000, "NOTES TAKEN");
        for (total, count) in self.dispensed.iter_mut().zip(notes) {
            *total = (*total + u32::from(count)) % FULL;
        }
        let row = |name: &str, cells: [u32; 4], width: usize| {
            let cells: Vec<String> =
                cells.iter().map(|cell| format!("{cell:0width$}")).map(|cell| format!("{cell:>5}")).collect();
            format!("{name:<16} {}", cells.join(" "))
        };
        page.plain("\x1b[020t");
        page.plain("CASH TOTAL       TYPE1 TYPE2 TYPE3 TYPE4");
        page.plain(row("DENOMINATION", DENOMINATIONS.map(u32::from), 1));
        page.plain(row("DISPENSED", self.dispensed, 5));
        page.plain(row("REJECTED", [0; 4], 5));
        page.plain(row("REMAINING", self.dispensed.map(|count| FULL - count), 5));
        self.receipt(page);
        page.plain(format!("   WITHDRAWAL     {:>7}.00", value(notes)));
        page.plain("   FROM SAVINGS");
        page.timed(5_000, "TRANSACTION END");
    }

    fn deposit(&mut self, page: &mut Page<'_>, notes: Notes) {
        self.beginning(page);
        page.timed(3_000, "CIM-DEPOSIT ACTIVATED");
        page.timed(5_000, "CIM-ITEMS INSERTED");
        page.timed(4_000, "OPCODE = BBD     ");
        page.timed(3_000, "CIM-DEPOSIT COMPLETED");
        self.receipt(page);
        page.plain(format!("   DEPOSIT        {:>7}.00", value(notes)));
        page.timed(3_000, "CARD TAKEN");
        page.timed(1_000, "TRANSACTION END");
    }

    fn refusal(&mut self, page: &mut Page<'_>) {
        self.beginning(page);
        page.timed(3_000, "OPCODE = BBC     ");
        page.timed(1_000, "GENAC 1 : ARQC");
        page.timed(3_000, "GENAC 2 : AAC");
        self.receipt(page);
        page.plain("   UNABLE TO PROCESS");
        page.plain("         THANK YOU");
        page.timed(4_000, "CARD TAKEN");
        page.timed(1_000, "TRANSACTION END");
    }

    fn receipt(&mut self, page: &mut Page<'_>) {
        page.plain("");
        page.plain("       EXAMPLE BANK");
        page.plain("     DATE        TIME");
        page.plain(format!("   {}", page.now().strftime("%Y/%m/%d   %H:%M:%S")));
        page.plain("   MACHINE       0175");
        page.plain(format!("   TRAN NO       {:06}", self.serial));
    }
}

impl talk::Voice for Voice {
    fn act(&mut self, act: Act, now: &Zoned) -> Vec<Said> {
        self.say(act, now).into_iter().map(Said::Message).collect()
    }
}

fn presented(notes: Notes) -> String {
    format!("NOTES PRESENTED {}", notes.map(|count| count.to_string()).join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(act: Act) -> String {
        let now: Zoned = "2030-01-15T05:51:30+01:00[Europe/Berlin]".parse().unwrap();
        let lines = Voice::new(4).say(act, &now);
        assert!(lines.iter().all(|line| line.last() == Some(&b'\r')));
        String::from_utf8(lines.concat()).unwrap().replace('\x1b', "<ESC>")
    }

    #[test]
    fn a_withdrawal_has_the_shape_of_a_real_one() {
        let text = page(Act::Withdraw([1, 2, 1, 0]));
        let start = "<ESC>[020t*511*01/15/2030*05:51*\r     *TRANSACTION START*\r<ESC>[020t CARD INSERTED\r";
        assert!(text.starts_with(start), "{text}");
        for part in [
            "\r<ESC>[020t 05:51:35 PIN ENTERED\r",
            "\r<ESC>[020t 05:51:48 NOTES PRESENTED 1,2,1,0\r",
            "\rDENOMINATION        10    20    50   100\r",
            "\rREMAINING        01999 01998 01999 02000\r",
            "\r   WITHDRAWAL         100.00\r",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text:?}");
        }
        assert!(text.ends_with("<ESC>[020t 05:51:55 TRANSACTION END\r"), "{text}");
    }

    #[test]
    fn statuses_are_those_of_the_line_protocol() {
        assert_eq!(page(Act::Cassette(3, Level::Low)), "<ESC>[020t     *7306*1*E*000000000,M-00,R-11121\r");
        assert_eq!(
            page(Act::SupervisorIn),
            "<ESC>[020t     *7306*1*P*21,M-\r*511*01/15/2030*05:51*\r<ESC>[05pSUPERVISOR MODE ENTRY<ESC>[00p\r"
        );
        assert!(!page(Act::Jackpot([0, 0, 9, 9])).contains("TRANSACTION"));
    }
}
