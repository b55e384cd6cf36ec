//! The part of the monitoring host on a line of its own: poll, acknowledge, ask again, end, poll anew.
//!
//! ```text
//!            ENQ →                      terminal silent: ENQ again after a while
//!                    ← STX … ETX LRC
//!            ACK →                      once it is in the log; NAK where it came damaged, EOT after the third NAK
//!                    ← EOT              or ours, where the terminal falls silent; then the next ENQ
//! ```
//!
//! Time comes in from outside, as "nothing was heard for [`Dialogue::QUIET`]".

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::{Control, Message, Repeated, decode};
use crate::protocol::{Fault, Outcome};

/// Damaged frames in a row that are asked for again.
const RETRIES: u8 = 3;

/// One conversation on a line. It begins as a tap, which says nothing; [`Dialogue::opening`] makes it the host.
#[derive(Debug, Default)]
pub struct Dialogue {
    hosting: bool,
    /// The terminal has said something since the last poll.
    exchanged: bool,
    /// Damaged frames in a row.
    damaged: u8,
    /// A hash of the last frame that arrived whole, to know it when it comes again.
    last: Option<u64>,
}

impl Dialogue {
    /// How long the line may be quiet before the host says something.
    pub const QUIET: Duration = Duration::from_secs(2);

    /// Takes a piece of the line and hands on what it says.
    pub fn frame(&mut self, piece: &[u8], emit: &mut impl FnMut(Result<Message, Fault>)) {
        let decoded = decode(piece);
        match &decoded {
            // Whoever ends an exchange knows that his frame arrived: the same one later is another message.
            Ok(Message::Control { control: Control::Eot }) => self.last = None,
            Ok(Message::Control { control: Control::Enq }) if !self.hosting => self.last = None,
            Err(_) | Ok(Message::Control { .. } | Message::Noise(_)) => {}
            Ok(_) => {
                let mut hasher = DefaultHasher::new();
                piece.hash(&mut hasher);
                if self.last.replace(hasher.finish()) == Some(hasher.finish()) {
                    return emit(Ok(Message::Repeated { kind: Repeated::Repeated }));
                }
            }
        }
        emit(decoded);
    }

    /// What the host says first. From now on it speaks.
    pub fn opening(&mut self) -> Vec<u8> {
        self.hosting = true;
        self.poll()
    }

    /// Whether it speaks, and so must hear of a quiet line.
    pub fn hosting(&self) -> bool {
        self.hosting
    }

    /// What the host says to something it heard, once it is known what became of it.
    pub fn answer(&mut self, heard: Result<&Message, &Fault>, outcome: Outcome<'_>) -> Vec<u8> {
        if !self.hosting {
            return Vec::new();
        }
        match heard {
            Ok(Message::Control { control: Control::Eot }) if self.exchanged => self.poll(),
            // Where the terminal had nothing to say, the next poll waits until the line has been quiet.
            Ok(Message::Control { .. } | Message::Noise(_)) => Vec::new(),
            Ok(_) => match outcome {
                Outcome::Committed(_) | Outcome::Heard => {
                    (self.exchanged, self.damaged) = (true, 0);
                    say(&[Control::Ack])
                }
                Outcome::Refused(_) => self.ask_again(),
            },
            Err(_) => self.ask_again(),
        }
    }

    /// What the host says after the line was quiet; `broken_off` where that left half a frame.
    pub fn quiet(&mut self, broken_off: bool) -> Vec<u8> {
        match (self.hosting, broken_off, self.exchanged) {
            (false, ..) => Vec::new(),
            (true, true, _) => self.ask_again(),
            (true, false, true) => [say(&[Control::Eot]), self.poll()].concat(),
            (true, false, false) => self.poll(),
        }
    }

    fn poll(&mut self) -> Vec<u8> {
        (self.exchanged, self.damaged) = (false, 0);
        say(&[Control::Enq])
    }

    fn ask_again(&mut self) -> Vec<u8> {
        self.damaged += 1;
        if self.damaged <= RETRIES {
            return say(&[Control::Nak]);
        }
        (self.exchanged, self.damaged) = (false, 0);
        say(&[Control::Eot])
    }
}

/// Controls as they go out, with parity.
fn say(controls: &[Control]) -> Vec<u8> {
    let mut characters: Vec<u8> = controls.iter().map(|control| control.character()).collect();
    super::line::with_parity(&mut characters);
    characters
}
