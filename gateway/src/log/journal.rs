//! The journal text that is kept for disputes: written with the events of the same lines, searched by terminal and day.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use regex::bytes::{Regex, RegexBuilder};
use rusqlite::{Connection, params};
use serde::{Serialize, Serializer};

use super::reading::open_reader;
use super::{FILE, LogError};

/// Lines read at most for one page: bounds the time of a search that finds nothing.
const EXAMINED: i64 = 20_000;
/// Longest pattern, and most memory of it compiled.
const PATTERN_CHARS: usize = 1000;
const PATTERN_BYTES: usize = 1 << 20;
/// Version of the schema that has journals.
const SINCE_VERSION: i64 = 2;

/// A printed line to keep. It must be masked: it is kept as it is.
#[derive(Clone, Debug)]
pub struct NewLine {
    /// The terminal that printed it.
    pub terminal: String,
    /// The link it came by.
    pub link: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The day it is found under: the terminal's, where it was printed on a known one, else that of `received_at`.
    pub day: Date,
    /// The terminal's local time, as far as the journal tells it: date and time, or the time of day alone.
    pub printed_at: Option<String>,
    /// The line.
    pub text: String,
    /// The event of the submission that it is the text of: where that was stored before, so was the line. Without one, it
    /// is kept where the submission repeats nothing.
    pub event: Option<usize>,
    /// What of it the clock told that was known to be wrong.
    pub undated: Option<Undated>,
}

/// What of a line is told by a clock that was known to be wrong when the line came.
#[derive(Clone, Debug)]
pub enum Undated {
    /// When it came.
    Arrival,
    /// That, and its day, in the terminal's time zone.
    ArrivalAndDay(TimeZone),
}

/// A line as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptLine {
    /// Its number, in the order of arrival over all terminals; of lines that were salvaged from another store, at most 0.
    pub id: i64,
    /// The terminal that printed it.
    pub terminal: String,
    /// The link it came by.
    pub link: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The terminal's local time, as far as the journal tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub printed_at: Option<String>,
    /// The line.
    pub text: String,
}

/// Where a search goes on: `20300115-42`, a day and a line of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    day: i64,
    id: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.day, self.id)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Cursor, String> {
        let parts = text.split_once('-').and_then(|(day, id)| Some((day.parse().ok()?, id.parse().ok()?)));
        let (day, id) = parts.ok_or_else(|| "it is none that an answer gave".to_owned())?;
        Ok(Cursor { day, id })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is searched for: lines of one terminal, by day and in the order of their arrival.
#[derive(Clone, Debug)]
pub struct Search {
    /// The terminal.
    pub terminal: String,
    /// First and last day; absent for the first or last there is.
    pub from: Option<Date>,
    /// See `from`.
    pub to: Option<Date>,
    /// Only lines that this matches.
    pub pattern: Option<Regex>,
    /// Most lines of a page.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

/// The lines found, and where to go on.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The lines.
    pub lines: Vec<KeptLine>,
    /// There may be more behind this place, even where this page has no line: much was read and nothing found.
    pub next: Option<Cursor>,
}

/// Compiles what is searched for in lines; `(?i)` in front ignores case.
///
/// # Errors
/// Where it is no regular expression, or too large a one.
pub fn pattern(text: &str) -> Result<Regex, String> {
    if text.chars().count() > PATTERN_CHARS {
        return Err(format!("a pattern has at most {PATTERN_CHARS} characters"));
    }
    // Kept lines are ASCII.
    let built = RegexBuilder::new(text).unicode(false).size_limit(PATTERN_BYTES).build();
    // The error shows the whole pattern first, and then says in a line what is wrong with it.
    built.map_err(|error| error.to_string().rsplit("error: ").next().unwrap_or_default().to_owned())
}

/// The kept journals of a store, opened for reading: a gateway may be writing to it.
#[derive(Debug)]
pub struct Archive(Connection);

impl Archive {
    /// Opens the store in a data folder.
    ///
    /// # Errors
    /// Where there is none, or one that no gateway of this version has opened yet.
    pub fn open(dir: &Path) -> Result<Archive, LogError> {
        Archive::at(&dir.join(FILE))
    }

    pub(super) fn at(path: &Path) -> Result<Archive, LogError> {
        let unreadable = |error: rusqlite::Error| LogError::Unreadable(format!("{}: {error}", path.display()));
        let connection = open_reader(path).map_err(unreadable)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unreadable)?;
        if version < SINCE_VERSION {
            return Err(LogError::Unreadable(format!("{} is older than journals are kept", path.display())));
        }
        Ok(Archive(connection))
    }

    /// Reads one page.
    ///
    /// # Errors
    /// Where SQLite cannot be read.
    pub fn search(&self, search: &Search) -> Result<Page, LogError> {
        read(&self.0, search, EXAMINED).map_err(|error| LogError::Unreadable(error.to_string()))
    }
}

const SELECT: &str = "SELECT id, day, link, received_ms, printed_at, text FROM journal
    WHERE terminal = (SELECT id FROM journal_terminal WHERE name = ?1) AND day BETWEEN ?2 AND ?3
    AND (day > ?4 OR id > ?5) ORDER BY day, id LIMIT ?6";

fn read(connection: &Connection, search: &Search, most: i64) -> rusqlite::Result<Page> {
    let after = search.after.unwrap_or(Cursor { day: i64::MIN, id: i64::MIN });
    let from = search.from.map_or(i64::MIN, day_number).max(after.day);
    let to = search.to.map_or(i64::MAX, day_number);
    let mut select = connection.prepare_cached(SELECT)?;
    let mut rows = select.query(params![search.terminal, from, to, after.day, after.id, most])?;
    let mut page = Page { lines: Vec::new(), next: None };
    let mut examined = 0;
    while let Some(row) = rows.next()? {
        examined += 1;
        let cursor = Cursor { day: row.get(1)?, id: row.get(0)? };
        let text: String = row.get(5)?;
        if search.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text.as_bytes())) {
            page.lines.push(KeptLine {
                id: cursor.id,
                terminal: search.terminal.clone(),
                link: row.get(2)?,
                received_at: Timestamp::from_millisecond(row.get(3)?).unwrap_or(Timestamp::UNIX_EPOCH),
                printed_at: row.get(4)?,
                text,
            });
        }
        if page.lines.len() >= search.limit || examined == most {
            page.next = Some(cursor);
            break;
        }
    }
    Ok(page)
}

/// Writes a line within the transaction of its events.
pub(super) fn write(connection: &Connection, line: &NewLine) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO journal_terminal (name) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([&line.terminal])?;
    connection
        .prepare_cached(
            "INSERT INTO journal (terminal, day, link, received_ms, printed_at, text)
             VALUES ((SELECT id FROM journal_terminal WHERE name = ?1), ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            line.terminal,
            day_number(line.day),
            line.link,
            line.received_at.as_millisecond(),
            line.printed_at,
            line.text
        ])
        .map(|_| ())
}

/// A day as it is stored: `20300115`.
pub(super) fn day_number(date: Date) -> i64 {
    i64::from(date.year()) * 10_000 + i64::from(date.month()) * 100 + i64::from(date.day())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::log::open;

    fn line(terminal: &str, day: Date, text: &str) -> NewLine {
        NewLine {
            terminal: terminal.to_owned(),
            link: "journal".to_owned(),
            received_at: "2030-01-15T08:00:00Z".parse().expect("an instant"),
            day,
            printed_at: Some(format!("{day}T09:00:00")),
            text: text.to_owned(),
            event: None,
            undated: None,
        }
    }

    fn search(terminal: &str, from: Option<Date>, to: Option<Date>, limit: usize) -> Search {
        Search { terminal: terminal.to_owned(), from, to, pattern: None, limit, after: None }
    }

    /// The texts of all pages, each read from two lines at most.
    fn texts(connection: &Connection, mut search: Search) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let page = read(connection, &search, 2).expect("reads");
            texts.extend(page.lines.into_iter().map(|line| line.text));
            match page.next {
                Some(next) => search.after = Some(next.to_string().parse().expect("reads back")),
                None => return texts,
            }
        }
    }

    #[test]
    fn a_terminals_days_are_found_page_by_page() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        let (first, second) = (date(2030, 1, 15), date(2030, 1, 16));
        // A late upload of the first day arrives after lines of the second.
        for (terminal, day, text) in
            [("a", first, "1"), ("b", first, "x"), ("a", second, "4"), ("a", first, "2"), ("a", first, "3")]
        {
            write(&store, &line(terminal, day, text)).expect("writes");
        }
        for limit in [1, 2, 3, 100] {
            assert_eq!(texts(&store, search("a", None, None, limit)), ["1", "2", "3", "4"], "{limit}");
            assert_eq!(texts(&store, search("a", Some(first), Some(first), limit)), ["1", "2", "3"], "{limit}");
            assert_eq!(texts(&store, search("a", Some(second), None, limit)), ["4"], "{limit}");
        }
        let mut matching = search("a", None, None, 100);
        matching.pattern = Some(pattern("[34]").expect("compiles"));
        assert_eq!(texts(&store, matching), ["3", "4"]);
        assert!(texts(&store, search("c", None, None, 100)).is_empty());
        assert!(pattern("(").is_err() && pattern(&"x".repeat(1001)).is_err());
    }

    #[test]
    fn a_search_reads_the_day_and_sorts_nothing() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        let mut explain = store.prepare(&format!("EXPLAIN QUERY PLAN {SELECT}")).expect("prepares");
        let steps = explain.query_map(params!["a", 1, 2, 0, 0, 10], |row| row.get::<_, String>(3)).expect("explains");
        let plan: Vec<String> = steps.collect::<Result<_, _>>().expect("explains");
        let all = plan.join("; ");
        assert!(all.contains("USING INDEX journal_day (terminal=? AND day>? AND day<?)"), "{all}");
        assert!(!all.contains("TEMP B-TREE") && !all.contains("SCAN"), "{all}");
    }
}
