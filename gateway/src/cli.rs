//! The command line: one file a verb.

pub mod decode;
mod sample;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// How a verb ends, as an exit code; the numbers are those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The command line is wrong.
    Usage = 64,
    /// The input is not what it should be.
    Data = 65,
    /// An input cannot be read.
    NoInput = 66,
    /// Output cannot be written.
    Io = 74,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Ok => 0_u8,
            Exit::Usage => 64,
            Exit::Data => 65,
            Exit::NoInput => 66,
            Exit::Io => 74,
        })
    }
}

/// An edge gateway for bank branches: reads ATMs, answers with rules, forwards to MQTT.
#[derive(Debug, Parser)]
#[command(name = "vestibule", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Decode recorded bytes: one event JSON a line.
    Decode(decode::Args),
}

/// Reads the command line, carries it out and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, everything else is a wrong command line. Nobody is left to tell if this fails.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let exit = match cli.verb {
        Verb::Decode(args) => decode::run(&args),
    };
    exit.into()
}

/// Says something to the person at the terminal.
fn complain(text: &str) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "vestibule: {text}");
}
