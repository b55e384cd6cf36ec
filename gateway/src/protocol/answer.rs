//! What a terminal is told about what it said, once that is decided: each protocol's own acknowledgement.

use super::{Fault, Message, Protocol};

/// What became of something that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It is in the log, at this place.
    Committed(u64),
    /// It was not taken, for this reason.
    Refused(&'a str),
}

impl Protocol {
    /// The bytes to send, where the protocol has an answer to this. Called only after the commit.
    pub fn answer(self, heard: &Result<Message, Fault>, outcome: Outcome<'_>) -> Option<Vec<u8>> {
        match (self, heard) {
            (Protocol::Jsonl, _) => Some(match outcome {
                Outcome::Committed(seq) => format!("{{\"seq\":{seq}}}\n").into_bytes(),
                Outcome::Refused(reason) => format!("{}\n", serde_json::json!({ "error": reason })).into_bytes(),
            }),
            // Senders of files wait for nothing; a line tells whoever looks.
            (Protocol::Upload, _) => Some(match outcome {
                Outcome::Committed(_) => b"accepted\n".to_vec(),
                Outcome::Refused(reason) => format!("refused: {reason}\n").into_bytes(),
            }),
            (Protocol::Ndc | Protocol::Journal, _) => None,
        }
    }
}
