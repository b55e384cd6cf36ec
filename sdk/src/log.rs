//! Lines for the gateway's own log, for whoever looks after the rule. People who look after terminals read alerts.

use crate::host;

/// A line that matters only while the rule is being written.
pub fn debug(text: &str) {
    host::log(0, text);
}

/// A line worth keeping.
pub fn info(text: &str) {
    host::log(1, text);
}

/// Something is odd.
pub fn warn(text: &str) {
    host::log(2, text);
}

/// Something is wrong with the rule itself.
pub fn error(text: &str) {
    host::log(3, text);
}
