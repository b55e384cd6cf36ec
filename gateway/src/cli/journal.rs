//! `vestibule journal`: the kept journal text of a terminal, from the store of a gateway that may be running.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;
use jiff::civil::Date;

use super::exit::Exit;
use crate::config::Config;
use crate::log::{Archive, KeptLine, Search, pattern};

/// Lines read at once.
const PAGE: usize = 1000;

/// Search the kept journal text of a terminal.
#[derive(Debug, Args)]
pub(super) struct Journal {
    /// The gateway's configuration, for its data folder.
    #[arg(long, short, value_name = "FILE", required_unless_present = "dir", conflicts_with = "dir")]
    config: Option<PathBuf>,
    /// The data folder.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The terminal.
    #[arg(long, value_name = "NAME")]
    terminal: String,
    /// The terminal's day: YYYY-MM-DD.
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to"])]
    date: Option<Date>,
    /// The first day.
    #[arg(long, value_name = "DAY")]
    from: Option<Date>,
    /// The last day.
    #[arg(long, value_name = "DAY")]
    to: Option<Date>,
    /// Only lines that this regular expression matches; `(?i)` in front ignores case.
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Journal {
    /// Prints every line that is found.
    pub(super) fn execute(self) -> Result<(), Exit> {
        let dir = match (self.dir, self.config) {
            (Some(dir), _) => dir,
            (None, Some(config)) => Config::load(&config)?.log.dir,
            (None, None) => return Err(Exit::usage("--config or --dir is needed")),
        };
        let pattern =
            self.grep.as_deref().map(pattern).transpose().map_err(|reason| Exit::usage(format!("--grep: {reason}")))?;
        let archive = Archive::open(&dir).map_err(|error| Exit::no_input(error.to_string()))?;
        let mut search = Search {
            terminal: self.terminal,
            from: self.date.or(self.from),
            to: self.date.or(self.to),
            pattern,
            limit: PAGE,
            after: None,
        };
        let mut out = BufWriter::new(io::stdout().lock());
        loop {
            let page = archive.search(&search).map_err(|error| Exit::io(error.to_string()))?;
            for line in &page.lines {
                match print(&mut out, line, self.json) {
                    Ok(()) => {}
                    // The reader has seen enough (`| head`).
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    Err(error) => return Err(Exit::io(error.to_string())),
                }
            }
            match page.next {
                Some(next) => search.after = Some(next),
                None => break,
            }
        }
        match out.flush() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Exit::io(error.to_string())),
            _ => Ok(()),
        }
    }
}

/// When it was printed, as far as the journal tells, else when it came; the link; the line.
fn print(out: &mut impl Write, line: &KeptLine, json: bool) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, line)?;
        return out.write_all(b"\n");
    }
    let when = line.printed_at.clone().unwrap_or_else(|| line.received_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    writeln!(out, "{when:<20}  {}  {}", line.link, line.text)
}
