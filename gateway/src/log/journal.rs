//! The journal text that is kept for disputes: written with the events of the same lines, searched by terminal and day,
//! pruned by an age of its own.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use regex::bytes::{Regex, RegexBuilder};
use rusqlite::{Connection, params};
use serde::{Serialize, Serializer};

use super::LogError;
use super::open::{FILE, open_reader};
use super::transaction::number;
use crate::clock;

/// Lines read at most for one page: bounds the time of a search that finds nothing.
const EXAMINED: i64 = 20_000;
/// Rows pruned in one transaction: it holds events up for milliseconds.
const SLICE: i64 = 500;
/// Pause between two slices, while there is more to prune.
const BETWEEN_SLICES: Duration = Duration::from_secs(1);
/// Pause where there is no more.
const BETWEEN_PRUNINGS: Duration = Duration::from_secs(3600);
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
}

/// A line as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptLine {
    /// Its number, in the order of arrival over all terminals.
    pub id: u64,
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
        let (day, id) = parts.ok_or_else(|| format!("`{text}` is no cursor"))?;
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
    RegexBuilder::new(text).unicode(false).size_limit(PATTERN_BYTES).build().map_err(|error| error.to_string())
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
    let after = search.after.unwrap_or(Cursor { day: i64::MIN, id: 0 });
    let from = search.from.map_or(i64::MIN, day).max(after.day);
    let to = search.to.map_or(i64::MAX, day);
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
                id: super::transaction::place(cursor.id),
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
            day(line.day),
            line.link,
            line.received_at.as_millisecond(),
            line.printed_at,
            line.text
        ])
        .map(|_| ())
}

/// A day as it is stored: `20300115`.
fn day(date: Date) -> i64 {
    i64::from(date.year()) * 10_000 + i64::from(date.month()) * 100 + i64::from(date.day())
}

/// When the next slice of old lines is due.
#[derive(Debug)]
pub(super) struct Pruning {
    keep: Option<SignedDuration>,
    next: Instant,
}

impl Pruning {
    /// Lines older than this many days go; with 0 none does.
    pub(super) fn new(keep_days: u32) -> Pruning {
        let keep = (keep_days > 0).then(|| SignedDuration::from_hours(24 * i64::from(keep_days)));
        Pruning { keep, next: Instant::now() }
    }

    /// How long until something is due.
    pub(super) fn wait(&self) -> Duration {
        match self.keep {
            Some(_) => self.next.saturating_duration_since(Instant::now()),
            None => BETWEEN_PRUNINGS,
        }
    }

    /// Prunes one slice where one is due. A clock that is known to be wrong prunes nothing.
    pub(super) fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(keep) = self.keep.filter(|_| self.wait().is_zero()) else { return Ok(()) };
        let (now, synced) = clock::now();
        let before = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
        let pruned = if synced == Some(false) { 0 } else { prune(connection, before)? };
        self.next = Instant::now() + if pruned < SLICE { BETWEEN_PRUNINGS } else { BETWEEN_SLICES };
        Ok(())
    }
}

/// Takes the oldest lines away, up to the last of a slice that came before this instant. By place and not by time alone: a
/// line that came while the clock was ahead does not hold up those behind it.
fn prune(connection: &Connection, before: Timestamp) -> rusqlite::Result<i64> {
    let pruned = connection
        .prepare_cached(
            "DELETE FROM journal WHERE id <= (SELECT max(id) FROM
             (SELECT id, received_ms FROM journal ORDER BY id LIMIT ?1) WHERE received_ms < ?2)",
        )?
        .execute(params![SLICE, before.as_millisecond()])?;
    Ok(number(u64::try_from(pruned).unwrap_or(u64::MAX)))
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

    #[test]
    fn old_lines_go_in_slices_and_a_clock_that_was_ahead_holds_nothing_up() {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = open::open(dir.path()).expect("opens").connection;
        let old = |hour: i64| Timestamp::from_second(hour * 3600).expect("an instant");
        for hour in 0..SLICE + 10 {
            let received_at = if hour == 3 { "2090-01-01T00:00:00Z".parse().expect("an instant") } else { old(hour) };
            write(&store, &NewLine { received_at, ..line("a", date(2030, 1, 15), "x") }).expect("writes");
        }
        assert_eq!(prune(&store, old(SLICE + 5)).expect("prunes"), SLICE);
        assert_eq!(prune(&store, old(SLICE + 5)).expect("prunes"), 5);
        assert_eq!(prune(&store, old(SLICE + 5)).expect("prunes"), 0);
        assert_eq!(texts(&store, search("a", None, None, 100)).len(), 5);
    }
}
