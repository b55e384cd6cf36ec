//! A plugin that can be put in force, and the engine's errors in words.

use super::contract::RulePluginPre;
use super::host::Host;
use super::subscription::Filter;

/// A plugin that was compiled and has described itself.
pub(super) struct Plugin {
    pub(super) pre: RulePluginPre<Host>,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) filter: Filter,
    pub(super) hash: blake3::Hash,
}

/// The causes of an error in one line.
pub(super) fn sentence(error: &wasmtime::Error) -> String {
    format!("{error:#}").lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
