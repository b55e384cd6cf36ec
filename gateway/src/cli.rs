//! The command line: one file a verb.

mod check;
mod demo;
mod exit;
mod health;
mod logging;
mod run;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Exit;

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
    Health(health::Health),
}

/// Reads the arguments, does what they say, and gives the exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` arrive here too, and are no failure.
            let code = if error.use_stderr() { 64 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let done = match arguments.verb {
        Verb::Run(run) => run.execute(),
        Verb::Demo(demo) => demo.execute(),
        Verb::Check(check) => check.execute(),
        Verb::Health(health) => health.execute(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            let _ = writeln!(std::io::stderr(), "vestibule: {}", exit.sentence());
            exit.into()
        }
    }
}

/// The runtime of the verbs that need one.
fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| Exit::io(error.to_string()))
}
