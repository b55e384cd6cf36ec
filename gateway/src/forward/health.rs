//! The retained word about ourselves: here, gone, or stopped in order.

use serde::Serialize;

use super::identity::Identity;

/// Content type of the health payload.
pub(super) const CONTENT_TYPE: &str = "application/json";

/// What we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// Connected.
    Online,
    /// The connection broke; the broker says this in our place (last will).
    Offline,
    /// Stopped in order.
    Stopped,
}

#[derive(Serialize)]
struct Health<'a> {
    status: Status,
    session: u32,
    site: &'a str,
    gateway: &'a str,
    version: &'static str,
    epoch: &'a str,
}

/// The payload. `session` is random per connection: an `offline` of an older session that arrives late is told by it.
/// `epoch` is the front of every event id; a new one means a new store, whose numbers begin at 1.
pub(super) fn payload(status: Status, session: u32, identity: &Identity, epoch: &str) -> String {
    let Identity { site, gateway } = identity;
    let health = Health { status, session, site, gateway, version: env!("CARGO_PKG_VERSION"), epoch };
    // A struct of strings and numbers always serialises.
    serde_json::to_string(&health).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_names_status_session_and_epoch() {
        let identity = Identity { site: "br\"1".to_owned(), gateway: "gw".to_owned() };
        let value: serde_json::Value =
            serde_json::from_str(&payload(Status::Stopped, 7, &identity, "gw-7f3a")).expect("is JSON");
        assert_eq!(
            value,
            serde_json::json!({
                "status": "stopped", "session": 7, "site": "br\"1", "gateway": "gw",
                "version": env!("CARGO_PKG_VERSION"), "epoch": "gw-7f3a",
            })
        );
    }
}
