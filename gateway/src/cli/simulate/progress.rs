//! A line on standard error that says how far it is; nothing where nobody looks.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

use crate::simulate::figures::Figures;

/// How often it changes.
const EVERY: Duration = Duration::from_millis(200);

/// The line.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    terminals: u64,
}

impl Progress {
    /// A bar where the end is known, else a line.
    pub(super) fn new(seconds: Option<u64>, terminals: u64) -> Progress {
        let looked_at = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let bar = looked_at.then(|| match seconds {
            Some(seconds) => styled(ProgressBar::new(seconds * 1_000), "{bar:30} {msg}"),
            None => styled(ProgressBar::new_spinner(), "{spinner} {msg}"),
        });
        Progress { bar, terminals }
    }

    /// Shows how it is, for ever.
    pub(super) async fn show(&self, figures: &Figures, begun: Instant) {
        let Some(bar) = &self.bar else { return std::future::pending().await };
        let (mut before, mut at) = (0, begun);
        loop {
            sleep(EVERY).await;
            let (tally, now) = (figures.tally(), Instant::now());
            let since = (now - at).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "shown without decimals")]
            let rate = (tally.sent - before) as f64 / since;
            (before, at) = (tally.sent, now);
            bar.set_position(u64::try_from((now - begun).as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!(
                "{}/{} connected, {} sent, {rate:.0}/s, {} acknowledged",
                figures.connected(),
                self.terminals,
                tally.sent,
                tally.accepted,
            ));
        }
    }

    /// Takes it away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    // A template that is wrong is a bug, and the usual style does as well.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
