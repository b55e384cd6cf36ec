//! Journals made of records: each has its kind, number and full time in fixed fields, and data that depends on the kind.

use jiff::civil::{Date, DateTime, Time};
use regex::bytes::{Captures, Regex};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::DialectError;
use super::rule::{number, regex, text};
use crate::mask;

/// The layout as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordText {
    pattern: String,
    #[serde(default)]
    uncounted: usize,
    #[serde(default)]
    secret: Vec<String>,
}

/// How a record is laid out.
#[derive(Debug)]
pub(super) struct Record {
    pattern: Regex,
    /// The same behind anything.
    anywhere: Regex,
    /// Bytes of a record, its end included, that its own length does not count.
    uncounted: usize,
    /// Kinds whose data is never kept, only its length.
    secret: Vec<String>,
}

/// A record that was read.
pub(super) struct Read {
    /// Kind and data, without card data: what rules are tried on.
    pub(super) words: String,
    /// The whole record, without card data.
    pub(super) line: String,
    /// The terminal's local time.
    pub(super) time: Option<DateTime>,
    /// Kind, number, time and data.
    pub(super) fields: Map<String, Value>,
}

impl Record {
    pub(super) fn new(layout: RecordText) -> Result<Record, DialectError> {
        let pattern = regex(&layout.pattern)?;
        for group in ["kind", "data"] {
            if !pattern.capture_names().flatten().any(|name| name == group) {
                let reason = format!("a record's pattern has a group `{group}`");
                return Err(DialectError::Rule { rule: layout.pattern, reason });
            }
        }
        let anywhere = regex(layout.pattern.strip_prefix('^').unwrap_or(&layout.pattern))?;
        Ok(Record { pattern, anywhere, uncounted: layout.uncounted, secret: layout.secret })
    }

    /// Where a record begins behind noise, or behind one whose end was lost. Nothing where none does.
    pub(super) fn begins(&self, text: &str) -> Option<usize> {
        Some(self.anywhere.find(text.as_bytes())?.start())
    }

    /// Reads one record; `bytes` is its length as it came, with the byte that ended it. Nothing where it is none.
    pub(super) fn read(&self, record: &str, bytes: usize) -> Option<Read> {
        let captures = self.pattern.captures(record.as_bytes())?;
        let kind = text(&captures, "kind")?;
        let own = text(&captures, "data").unwrap_or_default();
        let mut fields = Map::new();
        fields.insert("kind".to_owned(), kind.into());
        if let Some(seq) = number::<u64>(&captures, "seq") {
            fields.insert("seq".to_owned(), seq.into());
        }
        let time = date_time(&captures);
        if let Some(time) = time {
            fields.insert("ts".to_owned(), time.to_string().into());
        }
        let secret = self.secret.iter().any(|known| known == kind);
        let data = if secret { format!("({} bytes, not kept)", own.len()) } else { mask::printed(own).into_owned() };
        if secret {
            fields.insert("data_length".to_owned(), own.len().into());
        } else if !own.is_empty() && own != kind {
            fields.insert("data".to_owned(), data.as_str().into());
        }
        // Bytes got lost on the way, or there are too many.
        if number::<usize>(&captures, "length").is_some_and(|length| length + self.uncounted != bytes) {
            fields.insert("length_wrong".to_owned(), true.into());
        }
        let front = captures.name("data").map_or(0, |data| data.start());
        let back = captures.name("data").map_or(record.len(), |data| data.end());
        let line = format!(
            "{}{data}{}",
            mask::printed(record.get(..front).unwrap_or_default()),
            mask::printed(record.get(back..).unwrap_or_default())
        );
        Some(Read { words: format!("{kind} {data}").trim_end().to_owned(), line, time, fields })
    }
}

/// Date and time from groups; the pattern says in which order they stand, and a time that is missing is midnight.
pub(super) fn date_time(captures: &Captures<'_>) -> Option<DateTime> {
    let year: i16 = number(captures, "year")?;
    let century = if text(captures, "year")?.len() == 2 { 2000 } else { 0 };
    let date = Date::new(century + year, number(captures, "month")?, number(captures, "day")?).ok()?;
    let part = |name| match text(captures, name) {
        Some(digits) => digits.parse::<i8>().ok(),
        None => Some(0),
    };
    Some(date.to_datetime(Time::new(part("hour")?, part("minute")?, part("second")?, 0).ok()?))
}
