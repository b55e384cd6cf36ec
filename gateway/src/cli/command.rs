//! `vestibule command`: asks a terminal for something by way of a running gateway.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::ask::{self, Asked};
use super::exit::Exit;
use crate::command::Verb;

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
    /// File with a token and nothing else; without it, the one in the environment's VESTIBULE_TOKEN, or none.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where the gateway's HTTP interface listens, without TLS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
}

impl Command {
    /// Carries the verb out.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let token = self.token()?;
        let mut kept = ask::post(self.http, "/api/v1/commands", token.as_deref(), &self.body())?;
        let path = format!("/api/v1/commands/{}?source=http", ask::encoded(kept["id"].as_str().unwrap_or_default()));
        while self.wait && matches!(kept["state"].as_str(), Some("requested" | "sent")) {
            std::thread::sleep(LOOK);
            kept = ask::send(
                self.http,
                &Asked { method: "GET", path: &path, token: token.as_deref(), body: None, certificate: None },
            )?;
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

    fn token(&self) -> Result<Option<String>, Exit> {
        let token = match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .map(Some)
                .map_err(|error| Exit::no_input(format!("the token file {}: {error}", path.display())))?,
            None => std::env::var("VESTIBULE_TOKEN").ok(),
        };
        Ok(token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()))
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
