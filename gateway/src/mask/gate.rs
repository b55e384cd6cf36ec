//! The gate: every value that leaves a message passes here, by its name. A new field cannot forget it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Names of facts that are numbers of a fixed meaning, and so not taken for a card number by their length alone. What is
/// below such a name is such a number too.
const NUMBERS: [&str; 19] = [
    // NDC: a digit or some for every device, part or counter; what they are made of, the manual says.
    "diagnostic_raw",
    "fitness_raw",
    "groups",
    "hw_config_raw",
    "m_data",
    "notes_to_dispense",
    "option_digits",
    "sensors_raw",
    "status_data",
    "supplies_raw",
    // NDC: date, time and places in the journal.
    "block_hex_prefix",
    "block_id",
    "block_time",
    "date_time",
    // Tags of chip data without those of the card; ISO 8583, whose codec knows each field by itself.
    "emv",
    "fields",
    "rrn",
    // Triton: a host's totals.
    "totals_raw",
    "counts",
];

/// Masks every name and every value of these facts.
pub fn facts(facts: &mut BTreeMap<String, Value>) {
    for (name, fact) in std::mem::take(facts) {
        let masked = leaf(fact, NUMBERS.contains(&name.as_str()));
        facts.insert(super::free(&name).into_owned(), masked);
    }
}

/// Masks a value, and all that is in it.
pub fn value(value: &mut Value) {
    *value = leaf(value.take(), false);
}

fn leaf(value: Value, is_number: bool) -> Value {
    match value {
        Value::String(text) => Value::String(masked(text, is_number)),
        // A number in JSON has a meaning: amounts, places, times.
        Value::Number(number) => match super::number(&number.to_string()) {
            std::borrow::Cow::Borrowed(_) => Value::Number(number),
            std::borrow::Cow::Owned(masked) => Value::String(masked),
        },
        Value::Array(values) => values.into_iter().map(|value| leaf(value, is_number)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = leaf(value, is_number || NUMBERS.contains(&name.as_str()));
                (masked(name, false), value)
            })
            .collect(),
        other => other,
    }
}

fn masked(text: String, is_number: bool) -> String {
    match if is_number { super::number(&text) } else { super::free(&text) } {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(masked) => masked,
    }
}

/// Anything as it may be shown: it is written as it would be, in the same order, with every name and every value masked.
pub struct Shown<'a, T>(pub &'a T);

impl<T: Serialize> Serialize for Shown<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = zeroize::Zeroizing::new(serde_json::to_vec(self.0).map_err(S::Error::custom)?);
        let tree: Tree = serde_json::from_slice(&json).map_err(S::Error::custom)?;
        tree.masked(false).serialize(serializer)
    }
}

/// A value of JSON whose names keep their order.
enum Tree {
    Leaf(Value),
    List(Vec<Tree>),
    Names(Vec<(String, Tree)>),
}

impl Tree {
    fn masked(self, is_number: bool) -> Tree {
        match self {
            Tree::Leaf(value) => Tree::Leaf(leaf(value, is_number)),
            Tree::List(values) => Tree::List(values.into_iter().map(|value| value.masked(is_number)).collect()),
            Tree::Names(fields) => Tree::Names(
                fields
                    .into_iter()
                    .map(|(name, value)| {
                        let value = value.masked(is_number || NUMBERS.contains(&name.as_str()));
                        (masked(name, false), value)
                    })
                    .collect(),
            ),
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Leaf(value) => value.serialize(serializer),
            Tree::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Tree::Names(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Tree::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = map.next_entry()? {
            fields.push(entry);
        }
        Ok(Tree::Names(fields))
    }
}
