//! A frame with its card data overwritten in place, for captures: numbers and tracks, PIN blocks, miscellaneous fields.

use super::line::{ETX, FS, STX, check_character};
use crate::protocol::redact::digits::{any, numbers, overwrite};

/// Hexadecimal digits of a PIN block.
const PIN_BLOCK: usize = 16;
/// Header, terminal, code, sequence number, track, two amounts, PIN block: behind these, a field's first character says
/// what it is.
const KNOWN: usize = 8;

/// Overwrites them, and makes the check character anew where there was a right one.
pub fn redact(frame: &mut [u8]) {
    let [STX, checked @ .., lrc] = frame else { return };
    let whole = checked.last() == Some(&ETX) && *lrc == check_character(checked);
    numbers(checked, any);
    for (nth, field) in checked.split_mut(|byte| matches!(*byte, FS | ETX)).enumerate() {
        if field.len() == PIN_BLOCK && field.iter().all(u8::is_ascii_hexdigit) {
            field.fill(b'0');
        } else if nth >= KNOWN {
            field.get_mut(1..).unwrap_or_default().iter_mut().for_each(overwrite);
        }
    }
    if whole {
        *lrc = check_character(checked);
    }
}
