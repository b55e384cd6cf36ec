//! Acts as files of JSON tables: the terminal's row, what its journal says, events and transactions.

use jiff::Zoned;
use serde_json::{Map, Value, json};

use crate::protocol::upload::SEPARATOR;
use crate::simulate::random::Random;
use crate::simulate::script::{Act, CARDS, Level, Notes, value};
use crate::simulate::talk::{self, Heard, Said};

/// Cash of all cassettes after a filling, in whole units.
const FULL: u32 = 360_000;
/// Rows of one table that a terminal writes before its numbers begin again.
const ROWS: u32 = 100_000;
/// The devices in each terminal: number within it, model.
const DEVICES: [(u32, &str); 3] = [(1, "Cash Dispenser 5000"), (2, "Card Reader 200"), (3, "Receipt Printer 10")];

/// Says acts as a terminal's agent would.
#[derive(Clone, Debug)]
pub struct Voice {
    number: u32,
    name: String,
    random: Random,
    rows: u32,
    cash: u32,
    status: &'static str,
    /// Which of the devices is broken.
    faulty: Option<u32>,
}

/// What a file says beside the journal's line.
enum Table {
    None,
    Event(&'static str, &'static str),
    Transaction(&'static str, String),
}

impl Voice {
    /// A terminal with this number and name.
    pub fn new(number: u32, name: impl Into<String>, seed: u64) -> Voice {
        let random = Random::new(seed);
        Voice { number, name: name.into(), random, rows: 0, cash: FULL, status: "Online", faulty: None }
    }

    /// The file that tells of this act, with its header.
    pub fn say(&mut self, act: Act, now: &Zoned) -> Vec<u8> {
        let (line, table) = self.tell(act);
        self.file(&line, table, now)
    }

    fn tell(&mut self, act: Act) -> (String, Table) {
        use Table::{Event, None, Transaction};
        let card = self.random.pick(&CARDS).pan;
        match act {
            Act::Withdraw(notes) => {
                self.cash = self.cash.saturating_sub(value(notes));
                let made = Transaction("Cash Withdrawal", self.amount(notes));
                (format!("WITHDRAWAL {} CARD {card}", value(notes)), made)
            }
            Act::Deposit(notes) => {
                self.cash = self.cash.saturating_add(value(notes)).min(99_999_999);
                (format!("DEPOSIT {} CARD {card}", value(notes)), Transaction("Deposit", self.amount(notes)))
            }
            Act::Decline => (
                "NOT ENOUGH FUNDS".to_owned(),
                Transaction("Failed Transaction", "Reason: Not enough funds".to_owned()),
            ),
            Act::Cassette(number, level) => {
                if level == Level::Good {
                    self.cash = FULL;
                }
                (format!("CASSETTE {number} {}", words(level)), None)
            }
            Act::Paper(Level::Good) => ("PAPER REFILLED".to_owned(), None),
            Act::Paper(level) => (format!("PAPER {}", words(level)), Event("Paper Refill Required", "WARNING")),
            Act::CardCaptured => (format!("CARD CAPTURED {card}"), None),
            Act::Jam => {
                self.faulty = Some(1);
                ("DISPENSER JAMMED".to_owned(), Event("Cash Dispenser Malfunction", "ERROR"))
            }
            Act::Repair => {
                self.faulty = Option::None;
                ("DISPENSER TESTED".to_owned(), None)
            }
            Act::Retract => ("NOTES RETRACTED".to_owned(), None),
            Act::SupervisorIn => {
                self.status = "Under Maintenance";
                ("SUPERVISOR MODE ENTRY".to_owned(), Event("Scheduled Maintenance", "INFO"))
            }
            Act::SupervisorKey(key) => (format!("SUPERVISOR KEY {key:02}"), None),
            Act::SupervisorOut => {
                self.status = "Online";
                ("SUPERVISOR MODE EXIT".to_owned(), None)
            }
            Act::Restart => ("POWER-UP/RESET".to_owned(), Event("System Log Rotation", "INFO")),
            Act::Jackpot(notes) => (
                format!("NOTES PRESENTED {} WITHOUT A TRANSACTION", value(notes)),
                Event("Suspicious Activity Detected", "CRITICAL"),
            ),
        }
    }

    fn amount(&mut self, notes: Notes) -> String {
        format!("Account: {:04}, Amount: ${}", self.random.below(10_000), value(notes))
    }

    fn file(&mut self, line: &str, table: Table, now: &Zoned) -> Vec<u8> {
        self.rows = self.rows % ROWS + 1;
        // Numbers are unique among terminals as far as 32 bits go.
        let row = self.number.wrapping_mul(ROWS).wrapping_add(self.rows);
        let device = |(within, _): &(u32, &str)| self.number.wrapping_mul(10).wrapping_add(*within);
        let devices = DEVICES.iter().map(|part| json!({ "deviceId": device(part), "deviceModel": part.1 }));
        let fitted = DEVICES.iter().map(|part| {
            let status = if self.faulty == Some(part.0) { "Faulty" } else { "Operational" };
            json!({ "atmId": self.number, "deviceId": device(part), "deviceStatus": status })
        });
        let mut document = Map::new();
        document.insert("Device".to_owned(), devices.collect());
        document.insert("AtmDevice".to_owned(), fitted.collect());
        let atm = json!({
            "atmId": self.number, "atmName": self.name, "status": self.status, "cash_level": self.cash,
            "software_version": "v1.2.3",
        });
        document.insert("ATM".to_owned(), json!([atm]));
        let said = json!({
            "ejId": row, "ejData": line, "atmId": self.number, "timestamp": now.timestamp().to_string(),
        });
        document.insert("ElectronicJournal".to_owned(), json!([said]));
        match table {
            Table::None => {}
            Table::Event(name, level) => {
                let event = json!({ "eventId": row, "eventName": name, "eventLevel": level, "ejId": row });
                document.insert("Event".to_owned(), json!([event]));
            }
            Table::Transaction(kind, detail) => {
                let made =
                    json!({ "transactionId": row, "transactionType": kind, "transactionDetail": detail, "ejId": row });
                document.insert("Transaction".to_owned(), json!([made]));
            }
        }
        let document = Value::Object(document).to_string();
        [
            format!("{}.json", self.name).as_bytes(),
            SEPARATOR,
            document.len().to_string().as_bytes(),
            document.as_bytes(),
        ]
        .concat()
    }
}

fn words(level: Level) -> &'static str {
    match level {
        Level::Good => "FILLED",
        Level::Low => "LOW",
        Level::Out => "OUT",
    }
}

impl talk::Voice for Voice {
    const ANSWERED: bool = true;

    fn act(&mut self, act: Act, now: &Zoned) -> Vec<Said> {
        let down = matches!(act, Act::Restart).then_some(Said::Down(1_500));
        down.into_iter().chain([Said::Message(self.say(act, now))]).collect()
    }

    fn hear(&mut self, frame: &[u8]) -> Heard {
        if frame.starts_with(b"accepted") { Heard::Accepted } else { Heard::Refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::upload;

    #[test]
    fn rows_have_numbers_of_their_own_and_files_say_how_it_is() {
        let now: Zoned = "2030-01-15T05:51:30+01:00[Europe/Berlin]".parse().expect("a time");
        let (mut first, mut second) = (Voice::new(1, "atm-1", 3), Voice::new(2, "atm-2", 3));
        let mut ids = Vec::new();
        for voice in [&mut first, &mut second] {
            for act in [Act::Jam, Act::Withdraw([0, 0, 0, 1]), Act::Repair] {
                let file = upload::decode(&voice.say(act, &now)).expect("a document");
                ids.push(file.journal[0].ej_id);
                let faulty = file.fitted.iter().filter(|device| device.device_status.as_str() == "Faulty").count();
                assert_eq!(faulty, usize::from(act != Act::Repair));
                assert!(!file.journal[0].ej_data.as_str().contains(CARDS[0].pan));
            }
        }
        ids.dedup();
        assert_eq!(ids.len(), 6);
        assert_eq!(first.cash, FULL - 100);
    }
}
