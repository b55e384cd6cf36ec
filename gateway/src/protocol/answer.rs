//! What a terminal is told about what it said, once that is decided: each protocol's own acknowledgement.

use super::framing::Framing;
use super::{Fault, Message, Protocol, ndc};

/// What became of something that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It is in the log, at this place.
    Committed(u64),
    /// It says nothing that is kept.
    Heard,
    /// It was not taken, for this reason.
    Refused(&'a str),
}

impl Protocol {
    /// The bytes to send, where the protocol has an answer to this. Called only after the commit.
    pub fn answer(self, heard: &Result<Message, Fault>, outcome: Outcome<'_>, framing: Framing) -> Option<Vec<u8>> {
        match (self, heard) {
            (Protocol::Jsonl, _) => Some(match outcome {
                Outcome::Heard => return None,
                Outcome::Committed(seq) => format!("{{\"seq\":{seq}}}\n").into_bytes(),
                Outcome::Refused(reason) => format!("{}\n", serde_json::json!({ "error": reason })).into_bytes(),
            }),
            // Senders of files wait for nothing; a line tells whoever looks.
            (Protocol::Upload, _) => Some(match outcome {
                Outcome::Heard => return None,
                Outcome::Committed(_) => b"accepted\n".to_vec(),
                Outcome::Refused(reason) => format!("refused: {reason}\n").into_bytes(),
            }),
            (Protocol::Ndc, Ok(Message::Ndc(ndc::Message::Block(block)))) => match outcome {
                Outcome::Committed(_) => framing.wrap(&block.acknowledgement()?),
                // The terminal sends it again.
                Outcome::Heard | Outcome::Refused(_) => None,
            },
            // What a Triton host says depends on what was said before: `Stream::answer` asks its dialogue.
            (Protocol::Ndc | Protocol::Journal | Protocol::Iso8583 | Protocol::Triton | Protocol::Xfs4iot, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_block_is_acknowledged_once_it_is_committed() {
        let options = ndc::Options { header: 2, ..ndc::Options::default() };
        let answer = |text: &str, outcome| {
            let frame = format!("hh61\x1c\x1c\x1c\x1c000001181011124235279606279633005{text}");
            let heard = ndc::decode(frame.as_bytes(), &options).map(Message::Ndc);
            Protocol::Ndc.answer(&heard, outcome, Framing::LENGTH)
        };
        assert_eq!(
            answer("HELLO", Outcome::Committed(7)).as_deref(),
            Some(&b"\x00\x0dhh6\x1c\x1c\x1c1279633"[..]),
            "with its header"
        );
        assert_eq!(answer("HELLO", Outcome::Refused("no")), None);
        assert_eq!(answer("HELL", Outcome::Committed(7)), None, "some of it is missing");
        let status = ndc::decode(b"hh12\x1c001\x1c\x1cB0022", &options).map(Message::Ndc);
        assert_eq!(Protocol::Ndc.answer(&status, Outcome::Committed(7), Framing::LENGTH), None);
    }
}
