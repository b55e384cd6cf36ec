//! The command line: one file a verb.

mod ask;
mod backup;
mod capture;
mod check;
mod command;
mod decode;
mod demo;
mod door;
mod events;
mod exit;
mod health;
mod import;
mod interrupt;
mod journal;
mod line;
mod logging;
mod outbox;
mod reload;
mod restore;
mod run;
mod sample;
mod signals;
mod simulate;
mod store;
mod terminals;
mod token;
mod way;
mod which;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::{Code, Exit};

/// Edge gateway for bank branches: reads ATMs, answers with rules, forwards to MQTT.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Run),
    Demo(demo::Demo),
    Check(check::Check),
    Command(command::Command),
    /// Decode recorded bytes: one event JSON a line.
    Decode(decode::Args),
    Health(health::Health),
    Import(import::Import),
    Capture(capture::Capture),
    Terminals(terminals::Terminals),
    Journal(journal::Journal),
    Events(events::Events),
    Outbox(outbox::Outbox),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Token(token::Token),
    Reload(reload::Reload),
    Simulate(simulate::Simulate),
}

/// Reads the arguments, does what they say, and gives the exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` arrive here too, and are no failure. Nobody is left to tell if this fails.
            let _ = error.print();
            return if error.use_stderr() { Code::Usage.into() } else { Code::Ok.into() };
        }
    };
    let done = match arguments.verb {
        Verb::Run(run) => run.execute(),
        Verb::Demo(demo) => demo.execute(),
        Verb::Check(check) => check.execute(),
        Verb::Command(command) => command.execute(),
        Verb::Decode(decode) => return decode::run(&decode).into(),
        Verb::Health(health) => health.execute(),
        Verb::Import(import) => import.execute(),
        Verb::Capture(capture) => capture.execute(),
        Verb::Terminals(terminals) => terminals.execute(),
        Verb::Journal(journal) => journal.execute(),
        Verb::Events(events) => events.execute(),
        Verb::Outbox(outbox) => outbox.execute(),
        Verb::Backup(backup) => backup.execute(),
        Verb::Restore(restore) => restore.execute(),
        Verb::Token(token) => token.execute(),
        Verb::Reload(reload) => reload.execute(),
        Verb::Simulate(simulate) => simulate.execute(),
    };
    match done {
        Ok(()) => Code::Ok.into(),
        Err(Exit { code, sentence }) => {
            complain(&sentence);
            code.into()
        }
    }
}

/// Says something to the person at the terminal.
fn complain(text: &str) {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "vestibule: {text}");
}

/// The runtime of the verbs that need one.
fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| Exit::io(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line as a shell takes them, up to a comment, a pipe or a redirection.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars() {
            match c {
                '\'' | '"' if quote.is_none() => quote = Some(c),
                c if quote == Some(c) => quote = None,
                '#' | '|' | '>' | '&' if quote.is_none() && word.is_empty() => break,
                ' ' if quote.is_none() => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
                c => word.push(c),
            }
        }
        words.extend((!word.is_empty()).then_some(word));
        words
    }

    #[test]
    fn every_command_of_the_documents_is_one() {
        let mut count = 0;
        for text in [include_str!("../../README.md"), include_str!("../docs/disk.md")] {
            for line in text.lines().map(|line| line.strip_prefix("sudo ").unwrap_or(line)) {
                if !line.starts_with("vestibule ") || line.starts_with("vestibule/") {
                    continue;
                }
                let words = words(line);
                let parsed = Arguments::try_parse_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
                count += 1;
            }
        }
        assert!(count > 25, "{count} found");
    }
}
