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
/// is read again, until nothing more is found.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Faults> {
    let mut value: Value = match toml::from_str::<toml::Table>(text) {
        Ok(table) => Value::Table(table),
        Err(error) => return Err(Faults(vec![Fault { path: String::new(), reason: error.to_string() }])),
    };
    let mut faults = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(value.clone()) {
            Ok(read) if faults.is_empty() => return Ok(read),
            Ok(_) => return Err(Faults(faults)),
            Err(error) => error,
        };
        let mut segments: Vec<Segment> = error.path().iter().cloned().collect();
        let reason = error.inner().to_string().lines().next().unwrap_or_default().to_owned();
        // What is missing or unknown is reported at the table that should or should not have it.
        let key =
            quoted(&reason).filter(|_| reason.starts_with("missing field") || reason.starts_with("unknown field"));
        let missing = reason.starts_with("missing field");
        if let Some(key) = key
            && !matches!(segments.last(), Some(Segment::Map { key: last }) if *last == key)
        {
            segments.push(Segment::Map { key });
        }
        let path = shown(&segments);
        let again = faults.iter().any(|fault: &Fault| fault.path == path);
        if !again {
            faults.push(Fault { path, reason });
        }
        let mended = if missing { put(&mut value, &segments) } else { take(&mut value, &segments) };
        if again || !mended || faults.len() >= MAX_FAULTS {
            return Err(Faults(faults));
        }
    }
}

/// What stands in the first pair of backquotes.
fn quoted(text: &str) -> Option<String> {
    text.split('`').nth(1).map(str::to_owned)
}

fn shown(segments: &[Segment]) -> String {
    let mut path = String::new();
    for segment in segments {
        match segment {
            Segment::Seq { index } => path.push_str(&format!("[{index}]")),
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

/// Takes a faulty key or element out; whether it was there.
fn take(value: &mut Value, segments: &[Segment]) -> bool {
    match parent(value, segments) {
        Some((Value::Table(table), Segment::Map { key })) => table.remove(&key).is_some(),
        Some((Value::Array(array), Segment::Seq { index })) if index < array.len() => {
            array.remove(index);
            true
        }
        _ => false,
    }
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
