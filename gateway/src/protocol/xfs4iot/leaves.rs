//! The values of a JSON payload with their paths, taken as they pass: nothing is built of what is not asked for.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};

/// Most values of one payload that are handed on.
const MAX_LEAVES: usize = 2048;
/// Longest path; what lies deeper is skipped.
const MAX_PATH: usize = 200;

/// Hands every value that is no object and no list to `take`, with its path (`positions.0.shutter`) and as text; nulls
/// are no values.
///
/// # Errors
/// Where the text is no JSON, or is nested deeper than the parser follows.
pub(super) fn each(payload: &str, mut take: impl FnMut(&str, &str)) -> Result<(), serde_json::Error> {
    let mut walk = Walk { path: String::new(), left: MAX_LEAVES, take: &mut take };
    let mut json = serde_json::Deserializer::from_str(payload);
    walk.deserialize(&mut json)
}

struct Walk<'a> {
    path: String,
    left: usize,
    take: &'a mut dyn FnMut(&str, &str),
}

impl Walk<'_> {
    fn leaf(&mut self, value: &str) {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            (self.take)(&self.path, value);
        }
    }

    /// Adds a step to the path, and says how long it was before; `None` where nothing below is wanted any more.
    fn step(&mut self, key: &str) -> Option<usize> {
        let before = self.path.len();
        if self.left == 0 || before + key.len() > MAX_PATH {
            return None;
        }
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        Some(before)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.leaf(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.leaf(&value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.leaf(&value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.leaf(&value.to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.leaf(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let more = match self.step(&index.to_string()) {
                Some(before) => {
                    let more = list.next_element_seed(&mut *self)?.is_some();
                    self.path.truncate(before);
                    more
                }
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.step(&key) {
                Some(before) => {
                    map.next_value_seed(&mut *self)?;
                    self.path.truncate(before);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Pairs as an object.
pub(super) fn as_map<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (path, value) in pairs {
        map.serialize_entry(path, value)?;
    }
    map.end()
}
