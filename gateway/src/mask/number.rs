//! Card numbers in a text: runs of digits, and the groups they make.

use std::borrow::Cow;

use super::card::{self, SHORTEST_ISSUED};
use super::{LONGEST, SHORTEST, SHOWN_BACK, SHOWN_FRONT, steps};

/// Which numbers are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Degree {
    /// Those that are card numbers by length, first digits and check digit.
    Issued,
    /// And all that are long enough.
    Any,
}

/// Most characters between two groups of one number, and most bytes that these have.
const GAP: usize = 3;
const GAP_BYTES: usize = 4 * GAP;
/// Most digits of a group that another one follows, and fewest where groups differ in length.
const LONGEST_GROUP: usize = 12;
const SHORTEST_GROUP: usize = 4;
/// Digits of the expiry on a track.
const EXPIRY: usize = 4;
/// Digits of most card numbers: long runs are looked at for one at their beginning.
const USUAL: [usize; 2] = [16, 15];

/// Digits without anything between them: where they stand, and how many they are.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: usize,
    end: usize,
    count: usize,
}

/// A number that must be masked: its last run, and how many digits in front may be shown.
struct Found {
    last: usize,
    front: usize,
}

/// The text with its numbers masked, and where in it a masked number ends.
pub(super) fn hidden(text: &str, degree: Degree) -> (Cow<'_, str>, Vec<usize>) {
    let enough = |byte: &&u8| byte.is_ascii_digit() || !byte.is_ascii();
    steps::take(text.len());
    if text.len() < SHORTEST || text.as_bytes().iter().filter(enough).count() < SHORTEST {
        return (Cow::Borrowed(text), Vec::new());
    }
    let runs = runs(text);
    let (mut out, mut copied, mut ends) = (String::new(), 0, Vec::new());
    let mut at = 0;
    while let Some(first) = runs.get(at) {
        let Some(found) = find(text, &runs, at, degree) else {
            at += 1;
            continue;
        };
        let last = runs.get(found.last).unwrap_or(first);
        if out.is_empty() {
            out.reserve_exact(text.len());
        }
        out.push_str(&text[copied..first.start]);
        let count: usize = runs[at..=found.last].iter().map(|run| run.count).sum();
        let mut seen = 0;
        for char in text[first.start..last.end].chars() {
            let is_digit = digit(char).is_some();
            let shown = !is_digit || seen < found.front || seen + SHOWN_BACK >= count;
            seen += usize::from(is_digit);
            out.push(if shown { char } else { '*' });
        }
        (copied, at) = (last.end, found.last + 1);
        ends.push(out.len());
    }
    if copied == 0 {
        return (Cow::Borrowed(text), ends);
    }
    out.push_str(&text[copied..]);
    (Cow::Owned(out), ends)
}

/// The value of a digit, in the forms that printers and programs have for them: ASCII, full width, Arabic.
fn digit(char: char) -> Option<u8> {
    let zero = match char {
        '0'..='9' => '0',
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
        '\u{0660}'..='\u{0669}' => '\u{0660}',
        '\u{06f0}'..='\u{06f9}' => '\u{06f0}',
        _ => return None,
    };
    u8::try_from(u32::from(char) - u32::from(zero)).ok()
}

fn runs(text: &str) -> Vec<Run> {
    steps::take(text.len());
    let mut runs: Vec<Run> = Vec::new();
    for (start, char) in text.char_indices().filter(|(_, char)| digit(*char).is_some()) {
        let end = start + char.len_utf8();
        match runs.last_mut().filter(|run| run.end == start) {
            Some(run) => (run.end, run.count) = (end, run.count + 1),
            None => runs.push(Run { start, end, count: 1 }),
        }
    }
    runs
}

/// The number that begins with this run.
fn find(text: &str, runs: &[Run], at: usize, degree: Degree) -> Option<Found> {
    let run = runs.get(at)?;
    let here = |front| Some(Found { last: at, front });
    let digits = if run.count < SHORTEST_ISSUED { Vec::new() } else { beginning(text, run) };
    if run.count <= LONGEST && is_card(&digits) {
        return here(SHOWN_FRONT);
    }
    if let Some(last) = grouped(text, runs, at).or_else(|| printed(text, runs, at).filter(|_| degree == Degree::Any)) {
        return Some(Found { last, front: SHOWN_FRONT });
    }
    match (degree, run.count) {
        (Degree::Any, SHORTEST..=LONGEST) => here(SHOWN_FRONT),
        (Degree::Any, count) if count > LONGEST => here(0),
        (Degree::Issued, SHORTEST..=LONGEST) if on_track(text, run) => here(SHOWN_FRONT),
        // Somebody's card number, and more digits behind it.
        (Degree::Issued, count) if count > LONGEST => {
            USUAL.iter().any(|usual| digits.get(..*usual).is_some_and(card::is_issued)).then_some(())?;
            here(0)
        }
        _ => None,
    }
}

/// Whether a run is a card number, or one with zeros in front that fill it up to the length of a field, or with a digit
/// or two that say something else: a status, a descriptor.
fn is_card(digits: &[u8]) -> bool {
    let usual =
        |from: usize| digits.get(from..).is_some_and(|rest| USUAL.contains(&rest.len()) && card::is_issued(rest));
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    card::is_issued(digits) || (1..=2).chain([zeros]).any(usual)
}

/// Whether what stands behind a run is what a magnetic track has there: a number in front of it is a card's.
fn on_track(text: &str, run: &Run) -> bool {
    match text.as_bytes().get(run.end..).unwrap_or_default() {
        [b'=', expiry @ ..] => expiry.len() >= EXPIRY && expiry.iter().take(EXPIRY).all(u8::is_ascii_digit),
        [b'^', letter, ..] => letter.is_ascii_alphabetic(),
        _ => false,
    }
}

/// The values of a run's digits, no more of them than a card number has.
fn beginning(text: &str, run: &Run) -> Vec<u8> {
    steps::take(LONGEST.min(run.count));
    text[run.start..run.end].chars().take(LONGEST).filter_map(digit).collect()
}

/// What stands between a run and the next one, where that can stand between the groups of a number: up to three
/// characters that are no letters, or the end of a line.
fn gap<'a>(text: &'a str, runs: &[Run], at: usize) -> Option<&'a str> {
    let (run, next) = (runs.get(at)?, runs.get(at + 1)?);
    let gap = text.get(run.end..next.start).filter(|gap| gap.len() <= GAP_BYTES)?;
    steps::take(gap.len());
    let between = |char: char| !char.is_alphanumeric() && (!char.is_control() || char == '\t');
    let fits = gap.chars().count() <= GAP && gap.chars().all(between);
    (fits || matches!(gap, "\n" | "\r" | "\r\n")).then_some(gap)
}

/// The last run of a card number in groups, by its check digit: groups of four or more, whatever stands between them; or
/// single digits, or pairs, with the same between all of them and no more of them around.
fn grouped(text: &str, runs: &[Run], at: usize) -> Option<usize> {
    let first = runs.get(at)?;
    let even = matches!(first.count, 1 | 2);
    if !even && !(SHORTEST_GROUP..=LONGEST_GROUP).contains(&first.count) {
        return None;
    }
    let usual = gap(text, runs, at)?;
    let same = |at: usize| gap(text, runs, at) == Some(usual);
    // In the midst of a row of such groups no number begins.
    let before = at.checked_sub(1).and_then(|before| Some((runs.get(before)?, before)));
    if even && before.is_some_and(|(run, before)| run.count == first.count && same(before)) {
        return None;
    }
    let mut digits = Vec::with_capacity(LONGEST);
    let mut found = None;
    for (place, run) in runs.iter().enumerate().skip(at) {
        if digits.len() + run.count > LONGEST || (even && run.count != first.count) {
            break;
        }
        digits.extend(beginning(text, run));
        let goes_on = if even { same(place) } else { gap(text, runs, place).is_some() };
        let row_ends = !goes_on || runs.get(place + 1).is_none_or(|next| next.count != first.count);
        let whole = match first.count {
            1 => row_ends && digits.len() >= SHORTEST_ISSUED,
            2 => row_ends && USUAL.contains(&digits.len()),
            _ => true,
        };
        if place > at && whole && card::is_issued(&digits) {
            found = Some(place);
        }
        // What is written in another way behind a number is another one.
        if found.is_some() && gap(text, runs, place) != Some(usual) {
            break;
        }
        if !goes_on || (!even && !(SHORTEST_GROUP..=LONGEST_GROUP).contains(&run.count)) {
            break;
        }
    }
    found
}

/// The last run of a number in the groups of a printed card: four digits first, then groups of four to six, and a last one
/// of up to seven, with the same blank or dash between them.
fn printed(text: &str, runs: &[Run], at: usize) -> Option<usize> {
    if runs.get(at)?.count != SHORTEST_GROUP {
        return None;
    }
    let usual = gap(text, runs, at).filter(|gap| matches!(*gap, " " | "-"))?;
    let mut count = 0;
    for (place, run) in runs.iter().enumerate().skip(at) {
        count += run.count;
        let more = gap(text, runs, place) == Some(usual) && count < LONGEST;
        if run.count > if more { 6 } else { 7 } || (more && run.count < SHORTEST_GROUP) {
            return None;
        }
        if !more {
            return (place >= at + 2 && (SHORTEST_ISSUED..=LONGEST).contains(&count)).then_some(place);
        }
    }
    None
}
