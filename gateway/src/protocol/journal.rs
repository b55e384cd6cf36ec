//! Journals: what a terminal prints, line by line.
//!
//! Bytes become lines (or records, where a maker's journal is made of them), printer controls are stripped, card numbers masked, and a [`Dialect`] says what a line means. Status
//! lines (`*tttt*m*d*aa...,M-bb[data],R-c`) are read by the decoder of NDC device status. State is that of the current
//! session and bounded; there is no clock, and cutting the bytes differently gives the same entries.

mod attempt;
mod calendar;
pub(super) mod controls;
mod dialect;
mod error;
mod lines;
mod reader;
mod recognise;
mod record;
mod rule;
mod status;

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::{Component, Device, Kind, Severity};
use crate::local_time::LocalTime;
use crate::protocol::Fault;
use crate::protocol::ndc::status::DeviceStatus;

pub use dialect::Dialect;
pub use error::DialectError;

/// One line, or a block of them; one that no rule knows has its text alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// When it was printed, in the terminal's local time; absent where nothing tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub printed_at: Option<LocalTime>,
    /// What it tells.
    #[serde(skip)]
    pub tells: Tells,
    /// Whether this was told before.
    #[serde(skip)]
    pub echo: Echo,
    /// The line as it is printed, without controls, card numbers masked.
    pub line: String,
    /// The decoded fields, under neutral names.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
    /// The lines that it was read from, to be kept for disputes.
    #[serde(skip)]
    pub text: Vec<Line>,
}

/// One printed line, or one record: printable ASCII, without controls and card data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was printed, in the terminal's local time; absent where nothing tells.
    pub printed_at: Option<LocalTime>,
    /// The line.
    pub text: String,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Tells {
    /// Nothing that happened; it carries fields only.
    Fields,
    /// What the dialect says about its words.
    Words(Said),
    /// The status of a device.
    Status {
        /// The status.
        status: Box<DeviceStatus>,
        /// What the dialect adds where the status itself says nothing of this kind.
        said: Option<Said>,
        /// Whether the dialect has a rule for this status.
        known: bool,
    },
}

/// An event as a dialect names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// What happened.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// The device it is about.
    pub device: Option<Device>,
    /// The part of the device.
    pub component: Option<Component>,
}

/// Whether an entry tells something anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// It does.
    New,
    /// The same happening was told by an earlier entry; what else this one says is new.
    SameHappening,
    /// The same line was printed before in this attempt.
    SameLine,
}

impl Entry {
    /// Adds the fields to a message that holds those of earlier entries. Of words the last counts (the last operation code is
    /// the one that was asked of the host), of status lines and headers the first.
    pub fn merge_into(&self, message: &mut Map<String, Value>) {
        let first = matches!(self.tells, Tells::Status { .. }) || self.fields.contains_key(HEADER_FIELD);
        for (name, value) in &self.fields {
            if !first || !message.contains_key(name) {
                message.insert(name.clone(), value.clone());
            }
        }
        if let Tells::Words(Said { device: Some(device), .. }) = self.tells
            && !message.contains_key("device")
        {
            message.insert("device".to_owned(), device.to_string().into());
        }
    }
}

/// The lines of an uploaded block of an NCR electronic journal, dated as far as the block itself tells.
pub fn uploaded(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    // The dialect is part of the program; a test compiles it.
    if let Ok(dialect) = Dialect::named("ncr") {
        let mut journal = Journal::new(dialect);
        let mut keep = |entry: Result<Entry, Fault>| lines.extend(entry.into_iter().flat_map(|entry| entry.text));
        journal.push(text.as_bytes(), &mut keep);
        journal.finish(&mut keep);
    }
    lines
}

/// The field that a header carries.
const HEADER_FIELD: &str = "journal_seq";

/// Reads the journal of one terminal.
#[derive(Debug)]
pub struct Journal {
    lines: lines::Lines,
    reader: reader::Reader,
}

impl Journal {
    /// At the beginning of a journal, or somewhere in it.
    pub fn new(dialect: Arc<Dialect>) -> Journal {
        Journal { lines: lines::Lines::default(), reader: reader::Reader::new(dialect) }
    }

    /// Takes bytes as they come and gives what the lines that end in them tell.
    pub fn push(&mut self, bytes: &[u8], out: &mut impl FnMut(Result<Entry, Fault>)) {
        let Journal { lines, reader } = self;
        lines.push(bytes, &mut |line| match line {
            Ok(line) => reader.line(line, out),
            Err(fault) => out(Err(fault)),
        });
    }

    /// Takes one whole line or record, without its end.
    pub fn line(&mut self, line: &[u8], out: &mut impl FnMut(Result<Entry, Fault>)) {
        if self.reader.reads_records() {
            return self.reader.line(line, out);
        }
        self.push(line, out);
        self.push(b"\r", out);
    }

    /// The bytes have ended: gives what was not told yet.
    pub fn finish(&mut self, out: &mut impl FnMut(Result<Entry, Fault>)) {
        let Journal { lines, reader } = self;
        lines.finish(&mut |line| match line {
            Ok(line) => reader.line(line, out),
            Err(fault) => out(Err(fault)),
        });
        reader.finish(out);
    }

    /// Lines that no rule knows, so far; most are receipts.
    pub fn unknown_lines(&self) -> u64 {
        self.reader.unknown_lines()
    }
}

#[cfg(test)]
mod dialect_tests;
#[cfg(test)]
mod tests;
