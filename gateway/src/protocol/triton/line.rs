//! The characters of a Triton line: control characters, parity, and the check character of a frame.

use serde::Serialize;

use crate::protocol::Fault;

/// Start of a frame.
pub(crate) const STX: u8 = 0x02;
/// End of a frame's body; one check character follows.
pub(crate) const ETX: u8 = 0x03;
/// Separates fields.
pub(crate) const FS: u8 = 0x1c;
/// What is left of a character without its parity.
pub(crate) const CHARACTER: u8 = 0x7f;

/// A character that steers the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// The host asks whether there is something to say.
    Enq,
    /// What was sent arrived.
    Ack,
    /// What was sent was damaged: send it again.
    Nak,
    /// This exchange is over.
    Eot,
}

impl Control {
    /// Its character, without parity.
    pub fn character(self) -> u8 {
        match self {
            Control::Eot => 0x04,
            Control::Enq => 0x05,
            Control::Ack => 0x06,
            Control::Nak => 0x15,
        }
    }

    /// The control that a character is, without its parity.
    pub fn of(character: u8) -> Option<Control> {
        [Control::Eot, Control::Enq, Control::Ack, Control::Nak].into_iter().find(|it| it.character() == character)
    }
}

/// What a piece of the line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Control(Control),
    /// The body of a frame that arrived whole.
    Body(&'a [u8]),
    /// Characters between frames, or the beginning of a frame that was broken off.
    Noise,
}

/// Says what a piece is, and checks it.
pub(super) fn read(piece: &[u8]) -> Result<Piece<'_>, Fault> {
    match piece {
        [one] if Control::of(*one).is_some() => Ok(Control::of(*one).map_or(Piece::Noise, Piece::Control)),
        [STX, checked @ .., lrc] if checked.last() == Some(&ETX) => {
            let expected = check_character(checked);
            if *lrc == expected {
                Ok(Piece::Body(&checked[..checked.len() - 1]))
            } else {
                Err(Fault::new(format!("the check character is {lrc:02X}, not {expected:02X}"), &shape(piece)))
            }
        }
        // Its sender has begun anew or given up: nothing to ask for.
        [STX, ..] => Ok(Piece::Noise),
        [.., ETX, _] => Err(Fault::new("the end of a frame without its beginning", &shape(piece))),
        _ => Ok(Piece::Noise),
    }
}

/// The shape of a piece that nobody understands: letters and digits without what they say. Track and PIN block may stand
/// anywhere in it, and a PIN block of letters and digits no mask would know.
pub(super) fn shape(piece: &[u8]) -> Vec<u8> {
    let hide = |byte: &u8| match byte {
        b'0'..=b'9' => b'9',
        0x20..=0x7e => b'x',
        control => *control,
    };
    piece.iter().map(hide).collect()
}

/// The check character (LRC): every character after STX and up to ETX, by exclusive or.
pub(crate) fn check_character(checked: &[u8]) -> u8 {
    checked.iter().fold(0, |sum, byte| sum ^ (byte & CHARACTER))
}

/// Characters with even parity in their highest bit, as a line of 7 bits shows them to a port of 8.
pub(crate) fn with_parity(characters: &mut [u8]) {
    for character in characters {
        *character &= CHARACTER;
        if !character.count_ones().is_multiple_of(2) {
            *character |= !CHARACTER;
        }
    }
}

/// A whole frame around this body, with parity: what a terminal or a host sends.
pub fn frame(body: &str) -> Vec<u8> {
    let mut frame = vec![STX];
    frame.extend_from_slice(body.as_bytes());
    frame.push(ETX);
    frame.push(check_character(&frame[1..]));
    with_parity(&mut frame);
    frame
}
