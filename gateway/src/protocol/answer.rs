//! What a terminal is told about what it said, once that is decided: each protocol's own acknowledgement.

use super::{Fault, Message, Protocol};

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
    pub fn answer(self, heard: &Result<Message, Fault>, outcome: Outcome<'_>) -> Option<Vec<u8>> {
        match (self, heard) {
            (Protocol::Jsonl, _) => Some(match outcome {
                Outcome::Heard => return None,
                Outcome::Committed(seq) => format!("{{\"seq\":{seq}}}\n").into_bytes(),
                Outcome::Refused(reason) => format!("{}\n", serde_json::json!({ "error": reason })).into_bytes(),
            }),
            (Protocol::Ndc | Protocol::Journal | Protocol::Xfs4iot, _) => None,
            // What a Triton host says depends on what was said before: `Stream::answer` asks its dialogue.
            (Protocol::Triton, _) => None,
        }
    }
}
