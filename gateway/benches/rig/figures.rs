//! Figures, the table that shows them, and what was promised of them.

use std::process::ExitCode;

/// The middle one.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    quantile(figures, 0.5)
}

/// The figure that this share of all figures does not exceed.
pub(crate) fn quantile(figures: &mut [f64], share: f64) -> f64 {
    assert!(!figures.is_empty(), "nothing was measured");
    figures.sort_unstable_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = (float(figures.len()) * share) as usize;
    figures[place.min(figures.len() - 1)]
}

/// A count as a figure.
pub(crate) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// Prints a row of a table.
pub(crate) fn row(cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| format!("{cell:>18}")).collect();
    println!("{}", cells.join(" "));
}

/// Which promises were kept.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    missed: usize,
}

impl Verdicts {
    /// This figure is promised to be no larger than that one.
    pub(crate) fn at_most(&mut self, what: &str, figure: f64, promise: f64) {
        self.judge(what, &format!("{figure:.2} ≤ {promise}"), figure <= promise);
    }

    /// This figure is promised to be no smaller than that one.
    pub(crate) fn at_least(&mut self, what: &str, figure: f64, promise: f64) {
        self.judge(what, &format!("{figure:.2} ≥ {promise}"), figure >= promise);
    }

    fn judge(&mut self, what: &str, promise: &str, is_kept: bool) {
        self.missed += usize::from(!is_kept);
        println!("{}: {what}, {promise}", if is_kept { "kept" } else { "MISSED" });
    }

    /// How the benchmark ends: with a failure where anything was missed.
    pub(crate) fn exit(&self) -> ExitCode {
        if self.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
