//! Figures and the table that shows them.

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
