//! All that is wrong with a TOML text, at once.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::Value;

/// Most faults looked for: a text with more is another kind of file.
const MAX_FAULTS: usize = 50;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: `terminal[0].link[1].baud`. Empty for the whole text.
    pub path: String,
    /// What, in a sentence.
    pub reason: String,
}

/// Everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Fault { path, reason }) in self.0.iter().enumerate() {
            let end = if at + 1 == self.0.len() { "" } else { "\n" };
            match path.as_str() {
                "" => write!(f, "{reason}{end}")?,
                path => write!(f, "{path}: {reason}{end}")?,
            }
        }
        Ok(())
    }
}

/// Reads a text into `T`. A deserializer stops at the first fault; so each faulty key is noted, taken out, and the rest
/// is read again, until nothing more is found. `more` then says what is wrong with the values of what is left.
pub(super) fn read<T: DeserializeOwned>(text: &str, more: impl Fn(&T) -> Vec<Fault>) -> Result<T, Faults> {
    let mut value: Value = match toml::from_str::<toml::Table>(text) {
        Ok(table) => Value::Table(table),
        Err(error) => return Err(Faults(vec![Fault { path: String::new(), reason: error.to_string() }])),
    };
    let mut faults = Vec::new();
    let mut removed = Removed::default();
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(value.clone()) {
            Ok(read) => {
                let known = |fault: &Fault| faults.iter().any(|known: &Fault| same_table(&known.path, &fault.path));
                let more = more(&read).into_iter();
                let more = more.map(|Fault { path, reason }| Fault { path: removed.in_text(&path), reason });
                let new: Vec<Fault> = more.filter(|fault| !known(fault)).collect();
                faults.extend(new);
                return if faults.is_empty() { Ok(read) } else { Err(Faults(faults)) };
            }
            Err(error) => error,
        };
        let mut segments: Vec<Segment> = error.path().iter().cloned().collect();
        let reason = error.inner().to_string().lines().next().unwrap_or_default().to_owned();
        // What is missing or unknown is reported at the table that should or should not have it.
        let missing = reason.starts_with("missing field");
        let key = quoted(&reason).filter(|_| missing || reason.starts_with("unknown field"));
        if let Some(key) = key
            && !matches!(segments.last(), Some(Segment::Map { key: last }) if *last == key)
        {
            segments.push(Segment::Map { key });
        }
        let path = removed.shown(&segments);
        let again = faults.iter().any(|fault: &Fault| fault.path == path);
        if !again {
            faults.push(Fault { path, reason });
        }
        // A required key whose value is wrong is missing once it is taken out: then its whole table is taken out.
        let mended = match (missing, again) {
            (true, true) => segments.pop().is_some() && removed.take(&mut value, &segments),
            (true, false) => put(&mut value, &segments),
            (false, true) => false,
            (false, false) => removed.take(&mut value, &segments),
        };
        if !mended || faults.len() >= MAX_FAULTS {
            return Err(Faults(faults));
        }
    }
}

/// Whether two paths lie in one table of an array: what was taken out of a link may be all that is wrong with the link.
fn same_table(one: &str, other: &str) -> bool {
    let table = |path: &str| path.rsplit_once('.').map(|(table, _)| table.to_owned());
    one == other || (one.ends_with(']') && other.starts_with(one)) || (one.contains('[') && table(one) == table(other))
}

/// What stands in the first pair of backquotes.
fn quoted(text: &str) -> Option<String> {
    text.split('`').nth(1).map(str::to_owned)
}

/// What was taken out of arrays: the others' places are shown as they stand in the text.
#[derive(Default)]
struct Removed(Vec<(String, usize)>);

impl Removed {
    fn shown(&self, segments: &[Segment]) -> String {
        let mut path = String::new();
        for segment in segments {
            match segment {
                Segment::Seq { index } => path.push_str(&format!("[{}]", self.original(&path, *index))),
                Segment::Map { key } | Segment::Enum { variant: key } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Segment::Unknown => {}
            }
        }
        path
    }

    /// A path as it stands in the text.
    fn in_text(&self, path: &str) -> String {
        let mut shown = String::new();
        for part in path.split_inclusive('[') {
            match part.split_once(']').and_then(|(index, rest)| Some((index.parse().ok()?, rest))) {
                Some((index, rest)) => {
                    let array = shown.trim_end_matches('[').to_owned();
                    shown.push_str(&format!("{}]{rest}", self.original(&array, index)));
                }
                None => shown.push_str(part),
            }
        }
        shown
    }

    /// The place in the text of what is now at this place of the array.
    fn original(&self, array: &str, index: usize) -> usize {
        let mut gone: Vec<usize> = self.0.iter().filter(|(path, _)| path == array).map(|(_, index)| *index).collect();
        gone.sort_unstable();
        gone.into_iter().fold(index, |index, gone| if gone <= index { index + 1 } else { index })
    }

    /// Takes a faulty key or element out; whether it was there.
    fn take(&mut self, value: &mut Value, segments: &[Segment]) -> bool {
        let array = segments.split_last().map(|(_, front)| self.shown(front)).unwrap_or_default();
        match parent(value, segments) {
            Some((Value::Table(table), Segment::Map { key })) => table.remove(&key).is_some(),
            Some((Value::Array(elements), Segment::Seq { index })) if index < elements.len() => {
                elements.remove(index);
                let original = self.original(&array, index);
                self.0.push((array, original));
                true
            }
            _ => false,
        }
    }
}

fn parent<'a>(value: &'a mut Value, segments: &[Segment]) -> Option<(&'a mut Value, Segment)> {
    let (last, front) = segments.split_last()?;
    let mut at = value;
    for segment in front {
        at = match segment {
            Segment::Seq { index } => at.get_mut(*index)?,
            Segment::Map { key } => at.get_mut(key.as_str())?,
            Segment::Enum { .. } | Segment::Unknown => return None,
        };
    }
    Some((at, last.clone()))
}

/// Puts something in the place of a missing key, so that the rest can be read; it is never used.
fn put(value: &mut Value, segments: &[Segment]) -> bool {
    match parent(value, segments) {
        Some((Value::Table(table), Segment::Map { key })) => {
            table.insert(key, Value::String("missing".to_owned())).is_none()
        }
        _ => false,
    }
}
