//! A terminal whose journal printer hangs on a serial line: NCR journal text with CR line ends, on a pseudo-terminal.

mod hyosung;
mod printer;
mod voice;
mod wincor;

use std::io;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tokio_util::sync::CancellationToken;

pub use hyosung::Hyosung;
pub use printer::Printer;
pub use voice::Voice;
pub use wincor::Wincor;

use super::script::{Play, Script};
use super::{Pace, Tally, pause};
use crate::profile::Profile;

/// Whose words are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// [`Voice`].
    Ncr,
    /// [`Wincor`].
    Wincor,
    /// [`Hyosung`].
    Hyosung,
}

impl Words {
    /// Those of a model's dialect.
    ///
    /// # Errors
    /// Where they are of a dialect that nobody plays.
    pub fn of(profile: &Profile) -> io::Result<Words> {
        let dialect = profile.dialect().map_err(io::Error::other)?;
        match dialect.name() {
            "ncr-journal" => Ok(Words::Ncr),
            "wincor-procash" => Ok(Words::Wincor),
            "hyosung-moniplus" => Ok(Words::Hyosung),
            other => Err(io::Error::other(format!("nobody plays the words of `{other}`"))),
        }
    }
}

/// A simulated terminal with a journal printer.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// What happens at it.
    pub script: Script,
    /// Decides cards and waits.
    pub seed: u64,
    /// The terminal's time zone: it prints local time.
    pub time_zone: TimeZone,
    /// Speed of the line in bits a second; a character is ten of them.
    pub baud: u32,
    /// How fast.
    pub pace: Pace,
}

impl Terminal {
    /// Prints the script until it ends, or until `shutdown`. Where nobody reads the line, it waits.
    pub async fn run(self, printer: Arc<Printer>, shutdown: CancellationToken) -> Tally {
        let mut tally = Tally { connections: 1, ..Tally::default() };
        let mut voice = Voice::new(self.seed);
        for step in Play::new(self.script, self.seed) {
            if !pause(self.pace.wait(step.after_ms), &shutdown).await {
                return tally;
            }
            let now = Zoned::new(Timestamp::now(), self.time_zone.clone());
            for line in voice.say(step.act, &now) {
                let bits = u32::try_from(line.len()).unwrap_or(u32::MAX).saturating_mul(10_000);
                let printed = tokio::select! {
                    () = shutdown.cancelled() => return tally,
                    printed = printer.print(&line) => printed,
                };
                if printed.is_err() {
                    return tally;
                }
                tally.sent += 1;
                if !pause(self.pace.wait(bits / self.baud.max(1)), &shutdown).await {
                    return tally;
                }
            }
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::simulate::script::{Act, Step};

    #[tokio::test]
    async fn what_is_printed_comes_out_of_the_serial_device() {
        const SCRIPT: Script = Script { opening: &[Step { after_ms: 1, act: Act::SupervisorKey(7) }], round: &[] };
        let printer = Arc::new(Printer::open().unwrap());
        let path = printer.path().to_owned();
        let terminal =
            Terminal { script: SCRIPT, seed: 1, time_zone: TimeZone::UTC, baud: 9_600, pace: Pace::percent(10_000) };
        let read = tokio::task::spawn_blocking(move || {
            let mut line = std::fs::File::open(path).unwrap();
            let mut text = Vec::new();
            let mut byte = [0];
            while text.last() != Some(&b'\r') {
                line.read_exact(&mut byte).unwrap();
                text.push(byte[0]);
            }
            text
        });
        assert_eq!(terminal.run(Arc::clone(&printer), CancellationToken::new()).await.sent, 1);
        assert_eq!(read.await.unwrap(), b"\x1b[020t     *7306*1*R*07\r");
        printer.replug().unwrap();
    }
}
