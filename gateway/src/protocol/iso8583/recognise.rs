//! Which spec a message is written in: the one that explains every byte of it.

use std::sync::Arc;

use super::clear::{Broken, Clear};
use super::codes::{self, Network};
use super::digits;
use super::header::{Header, HeaderKind};
use super::notation::{Content, Length};
use super::spec::Spec;
use crate::protocol::Fault;

/// Reads a message by the first of these specs that explains it best; with one spec alone, by that.
///
/// Every spec reads the frame once at most, and most fail at the message type. What a spec explains is ranked by how
/// plausible it is, because BCD with the spare half byte in another place, say, may read as well.
pub(super) fn recognise(frame: &[u8], kind: HeaderKind, specs: &[Arc<Spec>]) -> Result<(Arc<Spec>, Clear), Fault> {
    let mut best: Option<(i32, &Arc<Spec>, Clear)> = None;
    let mut nearest: Option<Broken> = None;
    for (header, body) in Header::candidates(frame, kind) {
        for spec in specs {
            match spec.read(body) {
                Ok(mut clear) => {
                    clear.header = header;
                    let rank = plausible(&clear, spec);
                    if best.as_ref().is_none_or(|best| rank > best.0) {
                        best = Some((rank, spec, clear));
                    }
                }
                Err(broken) => {
                    if nearest.as_ref().is_none_or(|nearest| broken.at > nearest.at) {
                        nearest = Some(broken);
                    }
                }
            }
        }
        if best.is_some() {
            break;
        }
    }
    match (best, nearest) {
        (Some((_, spec, clear)), _) => Ok((Arc::clone(spec), clear)),
        (None, Some(Broken { mti: Some(mti), reason, .. })) => Err(fault(reason, &format!("{mti}, "), frame)),
        (None, Some(broken)) if specs.len() == 1 => Err(fault(broken.reason, "", frame)),
        (None, Some(_)) => Err(fault("no ISO 8583 message type".to_owned(), "", frame)),
        (None, None) => Err(fault("no header of this link".to_owned(), "", frame)),
    }
}

/// A fault that shows the message type and nothing more: in BCD or EBCDIC no mask would find a card number.
fn fault(reason: String, mti: &str, frame: &[u8]) -> Fault {
    Fault { reason, frame: format!("{mti}{} bytes", frame.len()) }
}

/// How well the fields fit what the standard wants in them: more is better.
fn plausible(clear: &Clear, spec: &Spec) -> i32 {
    let mut rank = 0;
    let mut note = |good: bool| rank += if good { 1 } else { -1 };
    for (number, value) in clear.fields() {
        match (number, value.as_slice()) {
            (7, value) => note(date(value, 0) && time(value, 4)),
            (12, value @ [_, _, _, _, _, _]) => note(time(value, 0)),
            (12, value) => note(date(value, 2) && time(value, 6)),
            (13, value) if clear.mti.version() == 0 => note(date(value, 0)),
            // The primary account number has a check digit.
            (2, value) => note(digits::checks(value)),
            // A network management code that is known.
            (70, value) if clear.mti.version() == 0 => {
                let code = std::str::from_utf8(value).unwrap_or_default();
                note(codes::network(0, code) != Network::Management(""));
            }
            _ => {}
        }
        let Some(field) = spec.field(number) else { continue };
        if field.notation.content == Content::Text && matches!(field.notation.length, Length::Fixed(_)) {
            note(value.iter().all(|byte| matches!(byte, b' '..=b'~')));
        }
    }
    rank
}

fn pair(value: &[u8], at: usize) -> u8 {
    match value.get(at..at + 2) {
        Some([tens, ones]) => tens.wrapping_sub(b'0').wrapping_mul(10).wrapping_add(ones.wrapping_sub(b'0')),
        _ => u8::MAX,
    }
}

fn date(value: &[u8], at: usize) -> bool {
    matches!(pair(value, at), 1..=12) && matches!(pair(value, at + 2), 1..=31)
}

fn time(value: &[u8], at: usize) -> bool {
    matches!(pair(value, at), 0..=23) && matches!(pair(value, at + 2), 0..=59) && matches!(pair(value, at + 4), 0..=59)
}
