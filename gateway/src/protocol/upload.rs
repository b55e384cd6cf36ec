//! File uploads: a header `name<>size`, then a JSON document of that many bytes.
//!
//! ```text
//! journal.json<>1432{"Region":[{"id":1,"regionName":"North"}], … }
//! ```
//!
//! The header has no end of its own: the digits of the size end at the first byte that is none, which is the document's
//! first. Header and document may come in one segment or in many. The name says where the file came from and is never
//! used as a path. A document shorter than announced is a fault, and nothing of it is kept. The senders of this protocol
//! wait for no answer; whoever reads one gets a line, `accepted` once everything is committed or `refused: …`.
//!
//! The document is one object; each key is a table, each value a list of rows ([`Document`]). Keys and tables that nobody
//! knows are passed over. Every text is masked while it is read.

mod rows;

use serde::{Deserialize, Serialize};

use super::Fault;
use crate::mask;
pub use rows::{
    AtmDeviceRow, AtmRow, BranchRow, DeviceRow, EventRow, GroupKind, GroupRow, GroupRule, JournalRow, RegionRow, Text,
    TransactionRow,
};

/// What stands between name and size.
pub const SEPARATOR: &[u8] = b"<>";
/// Longest file name, in bytes: that of the file systems it can come from.
pub const MAX_NAME: usize = 255;
/// Most digits of a size.
pub const MAX_SIZE_DIGITS: usize = 10;
/// Most rows of one document: it is committed whole, and must not hold up everybody else for long.
pub const MAX_ROWS: usize = 20_000;

/// A decoded document, with the names that its tables and columns have on the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// The file name that the header gave; for people to read.
    #[serde(skip_deserializing)]
    pub file: String,
    /// Regions.
    #[serde(rename = "Region")]
    pub regions: Vec<RegionRow>,
    /// Branches.
    #[serde(rename = "Branch")]
    pub branches: Vec<BranchRow>,
    /// Groups of terminals.
    #[serde(rename = "Group")]
    pub groups: Vec<GroupRow>,
    /// Devices, whichever terminal they are in.
    #[serde(rename = "Device")]
    pub devices: Vec<DeviceRow>,
    /// Terminals.
    #[serde(rename = "ATM")]
    pub terminals: Vec<AtmRow>,
    /// Which device is in which terminal.
    #[serde(rename = "AtmDevice")]
    pub fitted: Vec<AtmDeviceRow>,
    /// Lines of electronic journals, masked.
    #[serde(rename = "ElectronicJournal")]
    pub journal: Vec<JournalRow>,
    /// Events; which terminal one is about is known through its journal line.
    #[serde(rename = "Event")]
    pub events: Vec<EventRow>,
    /// Transactions; which terminal one was made at is known through its journal line.
    #[serde(rename = "Transaction")]
    pub transactions: Vec<TransactionRow>,
}

impl Document {
    /// Rows of all tables.
    pub fn rows(&self) -> usize {
        [
            self.regions.len(),
            self.branches.len(),
            self.groups.len(),
            self.devices.len(),
            self.terminals.len(),
            self.fitted.len(),
            self.journal.len(),
            self.events.len(),
            self.transactions.len(),
        ]
        .iter()
        .sum()
    }

    /// Reads a document without a header: a file that lies on this machine.
    ///
    /// # Errors
    /// A fault that says where in the document what is wrong.
    pub fn parse(name: &str, json: &[u8]) -> Result<Document, Fault> {
        let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        // A list would be read as the tables in their order.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(Fault::new("the document is no JSON object", json));
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let document: Result<Document, _> = serde_path_to_error::deserialize(&mut reader);
        // The parser's message quotes values of the document: it is masked like them.
        let wrong = |why: String| Fault::new(format!("the document {}", mask::text(&why)), json);
        let mut document = document.map_err(|error| wrong(format!("at {}: {}", error.path(), error.inner())))?;
        reader.end().map_err(|error| wrong(format!("goes on behind its end: {error}")))?;
        match document.rows() {
            0 => return Err(Fault::new("the document has no row of a table that is known", json)),
            rows if rows > MAX_ROWS => {
                return Err(Fault::new(format!("the document has {rows} rows, at most {MAX_ROWS} are accepted"), &[]));
            }
            _ => {}
        }
        document.file = shown(name);
        Ok(document)
    }
}

/// Decodes a frame: the header and the whole document.
///
/// # Errors
/// A fault where there is no header, or no document as it should be.
pub fn decode(frame: &[u8]) -> Result<Document, Fault> {
    let fault = || Fault::new("an upload begins with `name<>size`", frame);
    let at = frame.windows(SEPARATOR.len()).position(|window| window == SEPARATOR).ok_or_else(fault)?;
    let (name, rest) = frame.split_at(at);
    let rest = rest.get(SEPARATOR.len()..).unwrap_or_default();
    let digits = rest.iter().take(MAX_SIZE_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    let (size, json) = rest.split_at(digits);
    let announced = std::str::from_utf8(size).ok().and_then(|size| size.parse::<usize>().ok()).ok_or_else(fault)?;
    if json.len() != announced {
        let reason = format!("the file has {} of the {announced} bytes that were announced", json.len());
        return Err(Fault::new(reason, frame));
    }
    Document::parse(&String::from_utf8_lossy(name), json)
}

/// A file name as people may see it: its last part, masked, without control characters.
fn shown(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    mask::text(&plain).into_owned()
}

#[cfg(test)]
mod tests;
