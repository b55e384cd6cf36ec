//! `vestibule outbox status`: what became of everything that was appended.

use clap::Args;

use super::out::Out;
use crate::cli::exit::Exit;
use crate::cli::way::Folder;
use crate::log::{Records, Status as Figures};

/// Ranges that are shown to people; the rest are counted.
const SHOWN: usize = 8;

/// Show what was appended, and what became of it.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn execute(self) -> Result<(), Exit> {
        let records = Records::open(&self.folder.dir()?).map_err(|error| Exit::no_input(error.to_string()))?;
        let status = records.status().map_err(|error| Exit::io(error.to_string()))?;
        let mut out = Out::to(None)?;
        if self.json {
            out.line(&serde_json::to_string(&status).map_err(|error| Exit::software(error.to_string()))?)?;
        } else {
            for line in lines(&status) {
                out.line(&line)?;
            }
        }
        out.finish()
    }
}

/// The figures for people.
fn lines(status: &Figures) -> Vec<String> {
    let Figures { appended, forwarded, pending, dead_lettered, discarded, .. } = status;
    let sign = if status.adds_up() { "=" } else { "≠" };
    let mut lines = vec![
        format!(
            "appended {appended} {sign} forwarded {forwarded} + pending {pending} + dead-lettered {dead_lettered} + discarded \
             {discarded}"
        ),
        format!("epoch    {}", status.epoch),
        match status.first {
            Some(first) => format!("stored   {} events, from {first} on", status.stored),
            None => "stored   no events".to_owned(),
        },
    ];
    if let Some(oldest) = &status.oldest_pending {
        let since = oldest.received_at.map_or_else(String::new, |at| format!(", read {at}"));
        let age = oldest.age_s.map_or_else(String::new, |age| format!(", {} ago", span(age)));
        lines.push(format!("oldest   event {} waits{since}{age}", oldest.seq));
    }
    let ranges: Vec<String> = status.ranges.iter().take(SHOWN).map(|(first, last)| format!("{first}–{last}")).collect();
    let more = status.ranges.len().saturating_sub(SHOWN);
    let above = match (ranges.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(", and {}", ranges.join(", ")),
        (false, more) => format!(", and {}, and {more} more ranges", ranges.join(", ")),
    };
    lines.push(format!("done     all up to {}{above}", status.floor));
    for position in &status.plugins {
        lines.push(format!("rule     {} stands at {}, {} behind", position.plugin, position.cursor, position.behind));
    }
    lines.push(format!("size     {} bytes, and {} of write-ahead log", status.store_bytes, status.wal_bytes));
    lines
}

/// How long that is, roughly.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_the_sum_the_oldest_and_where_it_stands() {
        let status: Figures = Figures {
            epoch: "7f3a01bc".to_owned(),
            appended: 30,
            stored: 20,
            first: Some(11),
            forwarded: 20,
            pending: 8,
            dead_lettered: 2,
            discarded: 0,
            floor: 12,
            ranges: vec![(14, 20), (22, 24)],
            oldest_pending: Some(crate::log::Oldest { seq: 13, received_at: None, age_s: Some(7300) }),
            plugins: Vec::new(),
            store_bytes: 4096,
            wal_bytes: 0,
        };
        assert_eq!(
            lines(&status),
            [
                "appended 30 = forwarded 20 + pending 8 + dead-lettered 2 + discarded 0",
                "epoch    7f3a01bc",
                "stored   20 events, from 11 on",
                "oldest   event 13 waits, 2 h ago",
                "done     all up to 12, and 14–20, 22–24",
                "size     4096 bytes, and 0 of write-ahead log",
            ]
        );
    }
}
