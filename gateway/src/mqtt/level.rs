//! A name as one level of a topic, which no name can break.
//!
//! A name becomes one topic level by percent-encoding: `/ + # $ %`, dot and space, control characters and Unicode's
//! non-characters turn into `%XX` for each byte of their UTF-8 form, and an empty name into a lone `%`. So different names
//! never share a level. A dot parts levels inside NATS and RabbitMQ: NATS 2.9 hangs up on a topic with a dot or a space in
//! it, again and again, and RabbitMQ makes two levels of one.

use std::fmt::Write;

/// Appends the level of a name.
pub(crate) fn push_level(topic: &mut String, name: &str) {
    if name.is_empty() {
        topic.push('%');
        return;
    }
    push_encoded(topic, name, |c| matches!(c, '/' | '+' | '#' | '$' | '%' | '.' | ' ') || is_forbidden(c));
}

/// The name whose level this is; `None` where it is the level of none.
pub(crate) fn decoded(level: &str) -> Option<String> {
    if level == "%" {
        return Some(String::new());
    }
    let mut parts = level.split('%');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        name.push(u8::from_str_radix(digits, 16).ok()?);
        name.extend(part.get(2..)?.bytes());
    }
    String::from_utf8(name).ok()
}

/// Characters that MQTT brokers may close a connection for.
pub(crate) fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// Appends `text`, percent-encoding the characters that `special` names.
pub(crate) fn push_encoded(out: &mut String, text: &str, special: impl Fn(char) -> bool) {
    let mut rest = text;
    while let Some(at) = rest.find(&special) {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let width = from.chars().next().map_or(0, char::len_utf8);
        let (c, behind) = from.split_at(width);
        for byte in c.bytes() {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        rest = behind;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_back_as_its_name_and_nothing_else_is_one() {
        for name in ["atm-01", "atm.02", "hall 3/left", "100%", "", "Zürich", "\u{0}", "%2E"] {
            let mut level = String::new();
            push_level(&mut level, name);
            assert!(!level.contains(['/', '.', ' ', '+', '#']), "{level}");
            assert_eq!(decoded(&level).as_deref(), Some(name), "{level}");
        }
        assert_eq!(decoded("atm%2e02").as_deref(), Some("atm.02"), "small digits are read, too");
        for level in ["%2", "a%", "a%zz", "%+1", "%FF", "%2é"] {
            assert_eq!(decoded(level), None, "{level}");
        }
    }
}
