//! `vestibule reload`: has a running gateway read its configuration again, and says what became of it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::door::Key;
use super::exit::Exit;
use crate::config::Config;

/// Links, rules and the broker are left in order first, each in its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Have a running gateway read its configuration again: what changed, or what is against it.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// The configuration, on the gateway's own machine: it is checked first, and says where the gateway listens.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    key: Key,
}

impl Reload {
    /// Carries the verb out.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let config = self.config.as_deref().map(Config::load).transpose()?;
        let door = self.key.door(config.as_ref())?;
        let told = door.post("/api/v1/reload", &json!({}), PATIENCE)?;
        writeln!(io::stdout().lock(), "{}", line(&told)).map_err(|error| Exit::io(error.to_string()))
    }
}

/// What changed, for people.
fn line(told: &Value) -> String {
    let changed = told["changed"].as_array().map(Vec::as_slice).unwrap_or_default();
    let changed: Vec<&str> = changed.iter().filter_map(Value::as_str).collect();
    let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
    let links = |key: &str| told[key].as_u64().unwrap_or(0);
    format!(
        "the configuration was read again; changed: {changed}; links opened {}, closed {}, kept {}",
        links("links_opened"),
        links("links_closed"),
        links("links_kept")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_hear_what_changed() {
        let told = json!({"changed": ["forward", "terminals"], "links_opened": 1, "links_closed": 2, "links_kept": 3});
        let said = "the configuration was read again; changed: forward, terminals; links opened 1, closed 2, kept 3";
        assert_eq!(line(&told), said);
        assert!(line(&json!({"changed": []})).contains("changed: nothing"));
    }
}
