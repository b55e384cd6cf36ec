//! `vestibule command`: asks a terminal for something by way of a running gateway.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::ask::{USUAL, encoded};
use super::door::Key;
use super::exit::Exit;
use crate::command::Verb;
use crate::config::Config;

/// Pause between two looks at how far a command has come.
const LOOK: Duration = Duration::from_millis(300);

/// Ask a terminal for something, and perhaps wait for what becomes of it.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The terminal's name.
    terminal: String,
    /// in_service, out_of_service, counters, configuration, set_time, restart or reset.
    verb: Verb,
    /// Which counters: basic or extended.
    #[arg(long)]
    set: Option<String>,
    /// Which part of the configuration: id, hardware, supplies, fitness, sensors, release and so on.
    #[arg(long)]
    part: Option<String>,
    /// Why, for whoever reads the events.
    #[arg(long)]
    reason: Option<String>,
    /// Its id: the same command under the same id is not carried out twice.
    #[arg(long)]
    id: Option<String>,
    /// Seconds that it waits for the terminal.
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
    /// Wait for its end; anything but `done` is a failure.
    #[arg(long)]
    wait: bool,
    /// The configuration of a gateway on this machine: where it listens, and by which certificate it is known.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    key: Key,
}

impl Command {
    /// Carries the verb out.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let config = self.config.as_deref().map(Config::load).transpose()?;
        let door = self.key.door(config.as_ref())?;
        let mut kept = door.post("/api/v1/commands", &self.body(), USUAL)?;
        let path = format!("/api/v1/commands/{}?source=http", encoded(kept["id"].as_str().unwrap_or_default()));
        while self.wait && matches!(kept["state"].as_str(), Some("requested" | "sent")) {
            std::thread::sleep(LOOK);
            kept = door.get(&path)?;
        }
        writeln!(io::stdout().lock(), "{kept:#}").map_err(|error| Exit::io(error.to_string()))?;
        match (self.wait, kept["state"].as_str()) {
            (false, _) | (true, Some("done")) => Ok(()),
            (true, state) => Err(Exit::unavailable(format!(
                "the command is {}: {}",
                state.unwrap_or("lost"),
                kept["detail"].as_str().unwrap_or("no reason was given")
            ))),
        }
    }

    fn body(&self) -> Value {
        let args = [("set", &self.set), ("part", &self.part), ("reason", &self.reason)];
        let args: Map<String, Value> =
            args.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?.into()))).collect();
        let mut body = json!({ "terminal": self.terminal, "verb": self.verb.name(), "args": args });
        if let Some(id) = &self.id {
            body["id"] = id.as_str().into();
        }
        if let Some(seconds) = self.ttl {
            body["ttl_s"] = seconds.into();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: Command,
    }

    #[test]
    fn arguments_become_a_request() {
        let line = ["command", "atm-01", "counters", "--set", "basic", "--id", "7", "--ttl", "60"];
        let body = Line::try_parse_from(line).expect("parses").command.body();
        let expected =
            json!({"terminal": "atm-01", "verb": "counters", "args": {"set": "basic"}, "id": "7", "ttl_s": 60});
        assert_eq!(body, expected);
        assert!(Line::try_parse_from(["command", "atm-01", "dance"]).is_err());
    }
}
