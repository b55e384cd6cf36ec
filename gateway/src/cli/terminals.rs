//! `vestibule terminals`: who is there, asked of a running gateway; and the configuration of one that is not known yet.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::ask::encoded;
use super::door::{Door, Key};
use super::exit::Exit;
use crate::config::Config;

/// List terminals, show one, or adopt one that nobody configured.
#[derive(Debug, Args)]
pub(super) struct Terminals {
    #[command(subcommand)]
    verb: Verb,
    /// The configuration of a gateway on this machine: where it listens, and by which certificate it is known.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    key: Key,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List them.
    Ls {
        /// Only those that spoke without being configured.
        #[arg(long)]
        unknown: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show everything that is known of one, as JSON.
    Show {
        /// Its name.
        name: String,
    },
    /// Print the configuration of one that was heard or uploaded.
    Adopt(Adopt),
}

#[derive(Debug, Args)]
struct Adopt {
    /// What it calls itself.
    name: String,
    /// What it is to be called.
    #[arg(long = "as", value_name = "NEW")]
    new: Option<String>,
    /// Its device profile, where the one it was heard by does not fit.
    #[arg(long)]
    profile: Option<String>,
    /// Append the block to this configuration file, if the whole is then without faults; the gateway reads it at its next start.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Terminals {
    /// Carries the verb out.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let config = self.config.as_deref().map(Config::load).transpose()?;
        let door = self.key.door(config.as_ref())?;
        let mut out = io::stdout().lock();
        let written = match self.verb {
            Verb::Ls { unknown, json } => list(&door, unknown)?.iter().try_for_each(|terminal| {
                if json { writeln!(out, "{terminal}") } else { writeln!(out, "{}", line(terminal)) }
            }),
            Verb::Show { name } => {
                let shown = door.get(&format!("/api/v1/terminals/{}", encoded(&name)))?;
                writeln!(out, "{shown:#}")
            }
            Verb::Adopt(adopt) => {
                let known = door.get(&format!("/api/v1/terminals/{}", encoded(&adopt.name)))?;
                let block = block(&adopt, &known)?;
                match &adopt.write {
                    Some(file) => {
                        append(file, &block)?;
                        writeln!(out, "{}: `{}` is configured from the next start on", file.display(), adopt.name)
                    }
                    None => write!(out, "{block}"),
                }
            }
        };
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Exit::io(error.to_string())),
            _ => Ok(()),
        }
    }
}

/// All terminals, page by page.
fn list(door: &Door, unknown: bool) -> Result<Vec<Value>, Exit> {
    let mut terminals = Vec::new();
    let mut after = String::new();
    loop {
        let only = if unknown { "&unknown=true" } else { "" };
        let mut page = door.get(&format!("/api/v1/terminals?limit=1000{only}{after}"))?;
        if let Value::Array(page) = page["terminals"].take() {
            terminals.extend(page);
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&cursor={}", encoded(next)),
            None => return Ok(terminals),
        }
    }
}

/// A terminal as a line for people: name, how it is known, how it is, where it stands.
fn line(terminal: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let service = match terminal["in_service"].as_bool() {
        Some(true) => "in service",
        Some(false) => "out of service",
        None => "-",
    };
    let place = match (&terminal["branch"]["name"], &terminal["heard"]["link"]) {
        (Value::String(branch), _) => branch.clone(),
        (_, Value::String(link)) => {
            format!(
                "heard on {link} ({}), {}",
                text(&terminal["heard"]["protocol"]),
                text(&terminal["heard"]["last_seen"])
            )
        }
        _ => "-".to_owned(),
    };
    format!(
        "{:<24}  {:<10}  {:<14}  {:<8}  {:>3}  {place}",
        text(&terminal["name"]),
        text(&terminal["known"]),
        service,
        text(&terminal["severity"]),
        terminal["open_conditions"].as_u64().unwrap_or(0),
    )
}

#[derive(Serialize)]
struct Block {
    terminal: [Terminal; 1],
}

#[derive(Serialize)]
struct Terminal {
    name: String,
    profile: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    luno: Option<String>,
}

/// The `[[terminal]]` of one that is known, but not configured.
fn block(adopt: &Adopt, known: &Value) -> Result<String, Exit> {
    let usual = match known["known"].as_str() {
        Some("unknown") => known["heard"]["profile"].as_str(),
        Some("uploaded") => Some("atm-handler"),
        _ => return Err(Exit::usage(format!("`{}` is configured already", adopt.name))),
    };
    let profile = adopt.profile.as_deref().or(usual).filter(|profile| !profile.is_empty());
    let profile = profile.ok_or_else(|| Exit::usage("give its device profile with --profile"))?;
    let name = adopt.new.as_ref().unwrap_or(&adopt.name).clone();
    // A listener knows a terminal by its name or by what stands here.
    let luno = (name != adopt.name).then(|| adopt.name.clone());
    let time_zone = known["time_zone"].as_str().map(str::to_owned);
    let terminal = Terminal { name, profile: profile.to_owned(), time_zone, luno };
    let block = toml::to_string(&Block { terminal: [terminal] }).map_err(|error| Exit::software(error.to_string()))?;
    Config::parse(&block).map_err(|faults| Exit::from(crate::config::ConfigError::Faults(faults)))?;
    Ok(block)
}

/// Puts a block at the end of a configuration: the file is replaced at once, and only by one without faults.
fn append(file: &Path, block: &str) -> Result<(), Exit> {
    let io = |error: io::Error| Exit::io(format!("{}: {error}", file.display()));
    // A link is followed, so that it is not the link that is replaced.
    let file = fs::canonicalize(file).map_err(io)?;
    let mut text = fs::read_to_string(&file).map_err(io)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push('\n');
    text.push_str(block);
    Config::parse(&text).map_err(|faults| Exit::from(crate::config::ConfigError::Faults(faults)))?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    fresh.write_all(text.as_bytes()).map_err(io)?;
    fs::set_permissions(fresh.path(), fs::metadata(&file).map_err(io)?.permissions()).map_err(io)?;
    fresh.as_file().sync_all().map_err(io)?;
    fresh.persist(&file).map_err(|error| io(error.error))?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn adopt(name: &str, new: Option<&str>) -> Adopt {
        Adopt { name: name.to_owned(), new: new.map(str::to_owned), profile: None, write: None }
    }

    #[test]
    fn a_block_names_the_profile_it_was_heard_by() {
        let heard = json!({"known": "unknown", "heard": {"profile": "json-lines"}});
        assert_eq!(
            block(&adopt("atm-99", None), &heard).expect("a block"),
            "[[terminal]]\nname = \"atm-99\"\nprofile = \"json-lines\"\n"
        );
        let renamed = block(&adopt("001", Some("lobby")), &heard).expect("a block");
        assert!(renamed.contains("name = \"lobby\"") && renamed.contains("luno = \"001\""), "{renamed}");
        assert!(block(&adopt("atm-01", None), &json!({"known": "configured"})).is_err());
    }

    #[test]
    fn only_a_file_without_faults_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("vestibule.toml");
        fs::write(&file, "[gateway]\nid = \"gw\"").expect("is written");
        let one = block(&adopt("atm-99", None), &json!({"known": "uploaded", "time_zone": "Europe/Berlin"}));
        let one = one.expect("a block");
        append(&file, &one).expect("is appended");
        let config = Config::load(&file).expect("is a configuration");
        assert_eq!((config.gateway.id.as_str(), config.terminal[0].name.as_str()), ("gw", "atm-99"));
        let before = fs::read_to_string(&file).expect("is there");
        assert!(append(&file, &one).is_err(), "the name is taken");
        assert!(append(&file, "[[terminal]]\nname = \"x\"\nprofile = \"nobody\"\n").is_err());
        assert_eq!(fs::read_to_string(&file).expect("is there"), before);
    }
}
