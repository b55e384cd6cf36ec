//! Topics of the public contract, and names that can never break them.
//!
//! A name becomes one topic level by percent-encoding: [`crate::mqtt::level`].

use super::identity::Identity;
use crate::mqtt::level::{is_forbidden, push_encoded, push_level};

/// Most bytes of a topic that MQTT can carry.
pub(super) const MAX_BYTES: usize = 65_535;

/// The topics under one root, site and gateway.
#[derive(Debug)]
pub(super) struct Topics {
    /// `{root}/{site}/`
    front: String,
    /// `{root}/{site}/gateway/{gateway}/health`
    health: String,
    /// `{root}/{site}/gateway/{gateway}/events`
    batch: String,
}

impl Topics {
    pub(super) fn new(root: &str, identity: &Identity) -> Self {
        let mut front = format!("{root}/");
        push_level(&mut front, &identity.site);
        front.push('/');
        let mut gateway = format!("{front}gateway/");
        push_level(&mut gateway, &identity.gateway);
        Topics { front, health: format!("{gateway}/health"), batch: format!("{gateway}/events") }
    }

    /// Where the gateway says whether it is there.
    pub(super) fn health(&self) -> &str {
        &self.health
    }

    /// Where batches of events go.
    pub(super) fn batch(&self) -> &str {
        &self.batch
    }

    /// `{root}/{site}/{terminal}/state`
    pub(super) fn state(&self, terminal: &str) -> String {
        let mut topic = self.front.clone();
        push_level(&mut topic, terminal);
        topic.push_str("/state");
        topic
    }

    /// `{root}/{site}/{terminal}/event/{kind with / for .}`
    pub(super) fn event(&self, terminal: &str, kind: &str) -> String {
        let mut topic = String::with_capacity(self.front.len() + terminal.len() + kind.len() + 16);
        topic.push_str(&self.front);
        push_level(&mut topic, terminal);
        topic.push_str("/event/");
        topic.extend(kind.chars().map(|c| if c == '.' { '/' } else { c }));
        topic
    }
}

/// The client id of a gateway of this name, in characters that every broker accepts.
pub(super) fn client_id(gateway: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let mut id = "vestibule-".to_owned();
    push_encoded(&mut id, gateway, |c| !plain(c));
    id
}

/// The front of the topics of a site: `{root}/{site}/`.
pub fn front(root: &str, site: &str) -> String {
    let mut front = format!("{root}/");
    push_level(&mut front, site);
    front.push('/');
    front
}

/// Whether this can stand in front of every topic.
pub(super) fn is_root(root: &str) -> bool {
    let level = |level: &str| !level.is_empty() && !level.chars().any(|c| matches!(c, '+' | '#') || is_forbidden(c));
    !root.starts_with('$') && root.len() < 1024 && root.split('/').all(level)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::Kind;

    fn topics() -> Topics {
        let identity = Identity { site: "br001".to_owned(), gateway: "gw-1".to_owned() };
        Topics::new("vestibule/v1", &identity)
    }

    fn event_topic(terminal: &str) -> String {
        topics().event(terminal, Kind::SupplyLow.name())
    }

    #[test]
    fn topics_are_those_of_the_contract() {
        assert_eq!(topics().health(), "vestibule/v1/br001/gateway/gw-1/health");
        assert_eq!(topics().batch(), "vestibule/v1/br001/gateway/gw-1/events");
        assert_eq!(topics().state("a/b"), "vestibule/v1/br001/a%2Fb/state");
        assert_eq!(event_topic("atm-07"), "vestibule/v1/br001/atm-07/event/supply/low");
        assert_eq!(event_topic("Zürich 3.1"), "vestibule/v1/br001/Zürich%203%2E1/event/supply/low");
    }

    #[test]
    fn no_name_breaks_a_topic_and_no_two_names_share_one() {
        let names = [
            "",
            "%",
            "%25",
            "a/b",
            "a%2Fb",
            "+",
            "#",
            "$SYS",
            "\0",
            "\u{1b}",
            "\u{85}",
            "\u{fffe}",
            "\u{1ffff}",
            "\u{fdd0}",
            "../..",
            "ä+ö",
            "\n",
        ];
        let mut seen = BTreeSet::new();
        for name in names {
            let topic = event_topic(name);
            assert_eq!(topic.split('/').count(), 7, "{topic:?}");
            assert!(!topic.contains(['+', '#', '$', '.', ' ']) && !topic.chars().any(is_forbidden), "{topic:?}");
            assert!(topic.split('/').all(|level| !level.is_empty()), "{topic:?}");
            assert!(seen.insert(topic), "{name:?}");
        }
    }

    #[test]
    fn roots_are_whole_levels() {
        for root in ["vestibule/v1", "a", "a b/ü"] {
            assert!(is_root(root), "{root}");
        }
        for root in ["", "/a", "a/", "a//b", "$SYS/a", "a/+", "#", "a\0"] {
            assert!(!is_root(root), "{root:?}");
        }
    }
}
