//! Terminal command (host, class 1): go in or out of service, or send something.

use serde::Serialize;

use super::{Command, fields};

/// Longest command modifier taken for one, in characters: one is documented.
const MODIFIER: usize = 4;

/// A terminal command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TerminalCommand {
    /// `1`, with the response flag where there is one.
    pub class: String,
    /// Always `terminal_command`.
    pub kind: &'static str,
    /// Logical unit number; hosts may leave it empty.
    pub luno: String,
    /// Message sequence or time variant number; empty where none is used.
    pub sequence: String,
    /// Command code.
    pub command: String,
    /// Command modifier; empty where there is none.
    pub modifier: String,
    /// Message authentication code; there is no key here to check it with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Bytes of the frame.
    pub frame_length: usize,
}

impl TerminalCommand {
    /// What is commanded, where that is documented.
    pub fn known(&self) -> Option<Command> {
        Command::read(&self.command, &self.modifier)
    }
}

/// Decodes the fields behind the LUNO.
pub(super) fn decode(
    class: &str,
    luno: String,
    fields: &[&str],
    frame_length: usize,
) -> Result<TerminalCommand, String> {
    let (mac, fields) = fields::mac(fields, 2);
    let mut code = fields::Columns(fields::at(fields, 1));
    let command = code.char().ok_or("no command code")?;
    if code.0.len() > MODIFIER {
        return Err("the command modifier is too long".to_owned());
    }
    Ok(TerminalCommand {
        class: class.to_owned(),
        kind: "terminal_command",
        luno,
        sequence: fields::sequence(fields::at(fields, 0)),
        command: command.to_string(),
        modifier: code.0.to_owned(),
        mac,
        frame_length,
    })
}
