//! The terminals' part of the configuration.

use serde::{Deserialize, Serialize};

/// A terminal: a machine that stands in the branch. Its links are beside it in the configuration (`link`).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name: in events, topics and metrics. Unique.
    pub name: String,
    /// The device profile: a folder's name under `devices/`.
    pub profile: String,
    /// IANA time zone of the times it prints.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// The logical unit number it gives in NDC messages; tells terminals that share a listener apart.
    #[serde(default)]
    pub luno: Option<String>,
    /// Whether the gateway sees its transaction requests; the profile says so where this is absent.
    #[serde(default)]
    pub reports_requests: Option<bool>,
    /// SHA-256 of the certificates that it may show on a listener that it shares with others: who shows another, or none,
    /// does not speak for it.
    #[serde(default)]
    pub pin_sha256: Vec<crate::link::Pin>,
    /// What switches its power, for `restart` where its protocol has none.
    #[serde(default)]
    pub restart: Option<crate::command::Restart>,
    /// The ways it is heard by.
    #[serde(default)]
    pub link: Vec<crate::link::Config>,
}

fn utc() -> String {
    "UTC".to_owned()
}
