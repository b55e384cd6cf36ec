//! What is sent to a terminal: terminal commands, and the acknowledgement of a block of its journal.

use jiff::civil::DateTime;

use super::FS;

/// Longest LUNO sent: three digits, or nine with the machine number.
const LUNO_MAX: usize = 9;
/// Longest message sequence or time variant number sent.
const SEQUENCE_MAX: usize = 8;
/// Journal positions have six digits, and begin anew behind the last.
const POSITIONS: u32 = 1_000_000;

macro_rules! commands {
    ($($variant:ident $code:literal $modifier:literal $words:literal)*) => {
        /// A terminal command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Command {
            $(#[doc = $words] $variant,)*
        }

        impl Command {
            /// Every command, in the order of the codes.
            pub const ALL: &[Command] = &[$(Command::$variant,)*];

            /// Command code and modifier; the modifier is empty where there is none.
            pub fn code(self) -> (&'static str, &'static str) {
                match self { $(Command::$variant => ($code, $modifier),)* }
            }

            /// What it asks for, in words for a person.
            pub fn words(self) -> &'static str {
                match self { $(Command::$variant => $words,)* }
            }
        }
    };
}

commands! {
    InService "1" "" "go in service"
    OutOfService "2" "" "go out of service"
    OutOfServiceForNow "2" "1" "go out of service for now"
    ConfigurationId "3" "" "send the configuration id"
    Counters "4" "" "send the supply counters"
    BasicCounters "4" "1" "send the basic supply counters"
    ExtendedCounters "4" "2" "send the extended supply counters"
    Tally "5" "" "send the tallies"
    ErrorLog "6" "" "send the error log"
    Configuration "7" "" "send the configuration"
    Hardware "7" "1" "send the hardware configuration"
    Supplies "7" "2" "send the supplies"
    Fitness "7" "3" "send the fitness"
    Sensors "7" "4" "send the sensors"
    Release "7" "5" "send the software release"
    EnhancedConfiguration "7" "6" "send the enhanced configuration"
    OptionDigits "7" "7" "send the option digits"
    DepositDefinitions "7" "8" "send the cash deposit definitions"
    DateTime "8" "" "send date and time"
    Disconnect "F" "" "disconnect"
    NoOperation "G" "" "do nothing"
}

impl Command {
    /// The command with this code and modifier.
    pub fn read(code: &str, modifier: &str) -> Option<Command> {
        Command::ALL.iter().copied().find(|command| command.code() == (code, modifier))
    }

    /// The message, without framing; the sequence is a message sequence or a time variant number, or empty.
    ///
    /// Nothing where LUNO or sequence cannot be fields of a message: letters and digits, 9 and 8 of them at most.
    pub fn message(self, luno: &str, sequence: &str) -> Option<Vec<u8>> {
        let (code, modifier) = self.code();
        are_fields(luno, sequence).then(|| format!("1{FS}{luno}{FS}{sequence}{FS}{code}{modifier}").into_bytes())
    }
}

fn are_fields(luno: &str, sequence: &str) -> bool {
    let fits = |field: &str, most: usize| field.len() <= most && field.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits(luno, LUNO_MAX) && fits(sequence, SEQUENCE_MAX)
}

/// The data command that sets the terminal's date and time, to the minute, without framing; nothing as
/// [`Command::message`].
pub fn date_time(luno: &str, sequence: &str, now: DateTime) -> Option<Vec<u8>> {
    let digits = now.strftime("%y%m%d%H%M");
    are_fields(luno, sequence).then(|| format!("3{FS}{luno}{FS}{sequence}{FS}1C{FS}{digits}").into_bytes())
}

/// The acknowledgement of a journal's text up to and with the character at this position, without framing.
pub fn journal_acknowledgement(last_character: u32) -> Vec<u8> {
    format!("6{FS}{FS}{FS}1{:06}", last_character % POSITIONS).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::{Message, Options, Speaker, decode};
    use super::*;
    use crate::protocol::ndc::tests::Random;

    fn of_host(message: &[u8]) -> Message {
        let options = Options { speaker: Speaker::Host, ..Options::default() };
        decode(message, &options).expect("a message")
    }

    #[test]
    fn what_is_sent_reads_back() {
        let mut random = Random::new(7);
        let mut digits =
            |count: usize| -> String { (0..count).map(|_| char::from(*random.pick(b"0123456789"))).collect() };
        for _ in 0..200 {
            for command in Command::ALL {
                for (luno, sequence) in [(0, 0), (3, 0), (9, 3), (9, 8), (3, 8)] {
                    let (luno, sequence) = (digits(luno), digits(sequence));
                    let message = command.message(&luno, &sequence).expect("a message");
                    let Message::Command(read) = of_host(&message) else { panic!("{message:?}") };
                    assert_eq!((read.luno, read.sequence), (luno, sequence));
                    assert_eq!((read.command.as_str(), read.modifier.as_str()), command.code());
                    assert_eq!(Command::read(&read.command, &read.modifier), Some(*command));
                    assert_eq!((read.class.as_str(), read.mac, read.frame_length), ("1", None, message.len()));
                }
            }
        }
    }

    #[test]
    fn an_acknowledgement_reads_back() {
        assert_eq!(journal_acknowledgement(275_186), b"6\x1c\x1c\x1c1275186");
        for position in [0, 1, 633, 275_186, 999_999] {
            let Message::JournalHost(read) = of_host(&journal_acknowledgement(position)) else { panic!("{position}") };
            assert_eq!(read.acknowledged_character, Some(position));
        }
    }

    #[test]
    fn no_field_can_end_early() {
        assert_eq!(Command::InService.message("001\x1c2", ""), None);
        assert_eq!(Command::InService.message("", "123456789"), None);
        assert_eq!(Command::InService.message("0010000010", ""), None);
    }
}
