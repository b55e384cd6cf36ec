//! Commands as a protocol says them, and what a terminal says to them.

use jiff::civil::DateTime;

use super::ndc::encode::{self, Command};
use super::ndc::solicited::Answer;
use super::ndc::{self, codes};
use super::{Message, Protocol};
use crate::command::{Ask, Code, CounterSet, Part, Refusal, Told};

/// Whom a command is said to, and when.
#[derive(Clone, Copy, Debug)]
pub struct Addressee<'a> {
    /// Its logical unit number; empty where it has none.
    pub luno: &'a str,
    /// Tells commands apart: a message's sequence number is its last three digits, and never zero.
    pub number: u32,
    /// The time at the terminal.
    pub now: DateTime,
}

impl Protocol {
    /// Whether a terminal of this protocol can be asked for it.
    pub fn can(self, ask: Ask) -> bool {
        match self {
            Protocol::Ndc => !matches!(ask, Ask::Restart | Ask::Reset),
            Protocol::Xfs4iot => ask == Ask::Reset,
            Protocol::Iso8583 | Protocol::Journal | Protocol::Jsonl | Protocol::Triton | Protocol::Upload => false,
        }
    }

    /// The message that asks for it, without framing; `None` where there is none.
    pub fn command(self, ask: Ask, to: &Addressee<'_>) -> Option<Vec<u8>> {
        if self != Protocol::Ndc {
            // To XFS4IoT services each connection says its own.
            return (self == Protocol::Xfs4iot && self.can(ask)).then(Vec::new);
        }
        let sequence = format!("{:03}", to.number % 999 + 1);
        let command = match ask {
            Ask::InService => Command::InService,
            Ask::OutOfService => Command::OutOfService,
            Ask::Counters(CounterSet::Usual) => Command::Counters,
            Ask::Counters(CounterSet::Basic) => Command::BasicCounters,
            Ask::Counters(CounterSet::Extended) => Command::ExtendedCounters,
            Ask::Configuration(part) => configuration(part),
            Ask::SetTime => return encode::date_time(to.luno, &sequence, to.now),
            Ask::Restart | Ask::Reset => return None,
        };
        command.message(to.luno, &sequence)
    }
}

fn configuration(part: Part) -> Command {
    match part {
        Part::All => Command::Configuration,
        Part::Id => Command::ConfigurationId,
        Part::Hardware => Command::Hardware,
        Part::Supplies => Command::Supplies,
        Part::Fitness => Command::Fitness,
        Part::Sensors => Command::Sensors,
        Part::Release => Command::Release,
        Part::Enhanced => Command::EnhancedConfiguration,
        Part::Options => Command::OptionDigits,
        Part::Deposits => Command::DepositDefinitions,
        Part::Clock => Command::DateTime,
    }
}

/// What a message says to the command that its terminal was given last; `None` where it is about something else.
///
/// `in_transaction` says that a customer's transaction is open: then "transaction ready" and a device's fault are its own end,
/// not the command's.
pub fn told(message: &Message, ask: Ask, in_transaction: bool) -> Option<Told> {
    let Message::Ndc(ndc::Message::Solicited(status)) = message else { return None };
    match &status.answer {
        Answer::Ready { .. } if status.descriptor == '9' || !in_transaction => Some(Told::Done(None)),
        Answer::Ready { .. } => None,
        Answer::Reject { reject_code } => Some(Told::Refused(reject(reject_code.as_deref()))),
        Answer::State(state) if ask.is_question() => {
            // A report is counts and digits; one that cannot be written is done all the same.
            Some(Told::Done(serde_json::to_value(state).ok()))
        }
        Answer::Device(status) if !in_transaction => {
            let detail = format!("the terminal reports a fault of device {} instead", status.dig);
            Some(Told::Refused(Refusal::new(Code::DeviceFault, detail)))
        }
        Answer::State(_) | Answer::Device(_) | Answer::Unknown { .. } => None,
    }
}

fn reject(code: Option<&str>) -> Refusal {
    let detail = match code.map(|code| (code, codes::reject(code))) {
        None => "the terminal rejected it".to_owned(),
        Some((code, "")) => format!("the terminal rejected it: {code}"),
        Some((code, words)) => format!("the terminal rejected it: {code}, {words}"),
    };
    Refusal::new(Code::Rejected, detail)
}

/// Whether a customer's transaction is open behind this message; `None` where it says nothing of that.
pub fn transaction(message: &Message) -> Option<bool> {
    match message {
        Message::Ndc(ndc::Message::Request(_)) => Some(true),
        Message::Ndc(ndc::Message::Solicited(status)) if matches!(status.descriptor, 'B' | '8') => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ndc::{Options, Speaker, decode};

    fn said(text: &str) -> Message {
        let text = text.replace('|', "\x1c");
        Message::Ndc(decode(text.as_bytes(), &Options::default()).expect("a message"))
    }

    #[test]
    fn a_solicited_status_answers_a_command_and_nothing_else_does() {
        let counters = Ask::Counters(CounterSet::Usual);
        let word = |told: Option<Told>| match told {
            None => "-".to_owned(),
            Some(Told::Done(None)) => "done".to_owned(),
            Some(Told::Done(Some(report))) => format!("report {}", report["state_id"].as_str().unwrap_or_default()),
            Some(Told::Refused(refusal)) => refusal.code.to_string(),
        };
        for (text, ask, in_transaction, expected) in [
            ("22|001|||9", Ask::InService, false, "done"),
            ("22|001|||9", Ask::InService, true, "done"),
            ("22|001|||B", Ask::InService, false, "done"),
            ("22|001|||B|0123", Ask::InService, true, "-"),
            ("22|001|||A", Ask::OutOfService, false, "rejected"),
            ("22|001|||C|C07", Ask::OutOfService, true, "rejected"),
            ("22|001|||F|60022", Ask::Configuration(Part::Id), false, "report 6"),
            ("22|001|||F|60022", Ask::InService, false, "-"),
            ("22|001|||8|E000000000|00000|00|11111", counters, false, "device_fault"),
            ("22|001|||8|E000000000|00000|00|11111", counters, true, "-"),
            ("12|001||P21", Ask::InService, false, "-"),
        ] {
            assert_eq!(word(told(&said(text), ask, in_transaction)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_said_to_a_terminal_reads_back() {
        let now = jiff::civil::date(2030, 1, 15).at(7, 8, 59, 0);
        let to = Addressee { luno: "001000001", number: 1999, now };
        let text = |ask| {
            let message = Protocol::Ndc.command(ask, &to).expect("a message");
            decode(&message, &Options { speaker: Speaker::Host, ..Options::default() }).expect("reads");
            String::from_utf8(message).expect("ASCII").replace('\x1c', "|")
        };
        assert_eq!(text(Ask::OutOfService), "1|001000001|002|2");
        assert_eq!(text(Ask::Counters(CounterSet::Extended)), "1|001000001|002|42");
        assert_eq!(text(Ask::Configuration(Part::Hardware)), "1|001000001|002|71");
        assert_eq!(text(Ask::SetTime), "3|001000001|002|1C|3001150708");
        assert_eq!(Protocol::Ndc.command(Ask::Restart, &to), None);
        assert_eq!(Protocol::Jsonl.command(Ask::InService, &to), None);
        assert!(!Protocol::Ndc.can(Ask::Restart) && Protocol::Xfs4iot.can(Ask::Reset));
        let bad = Addressee { luno: "00\x1c1", ..to };
        assert_eq!(Protocol::Ndc.command(Ask::InService, &bad), None);
    }
}
