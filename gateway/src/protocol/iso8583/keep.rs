//! What of a message may be shown: the step from a message in clear to one without card data.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::clear::Clear;
use super::digits;
use super::field::Value;
use super::notation::Content;
use super::spec::{Field, Keep, Spec};
use crate::mask;
use crate::protocol::ndc::emv;

/// What stands in a message instead of a field that nobody may keep.
pub const HIDDEN: &str = "<sensitive:must-not-be-kept>";

/// The shortest run of digits that is taken for a card number (ISO/IEC 7812-1).
const SHORTEST_PAN: usize = 12;

/// Every field of a message as it may be shown: text where it is printable, else `hex:` and hexadecimal digits; digits
/// alone where the field is binary.
pub(super) fn shown(clear: &Clear, spec: &Spec) -> BTreeMap<u8, String> {
    let pan = own_pan(clear);
    let fields = clear.fields().filter_map(|(number, value)| Some((number, spec.field(number)?, value)));
    fields.map(|(number, field, value)| (number, field_shown(field, value, pan))).collect()
}

fn field_shown(field: &Field, value: &Value, pan: Option<&str>) -> String {
    let text = match field.keep {
        Keep::Hidden => return HIDDEN.to_owned(),
        Keep::Pan => return mask::pan(&text(field.notation.content, value)),
        Keep::Emv => match chip_data(field.notation.content, value) {
            Some(text) => text,
            None => return HIDDEN.to_owned(),
        },
        Keep::Account if is_pan(value) => return mask::pan(&text(field.notation.content, value)),
        Keep::Open | Keep::Account | Keep::Masked => text(field.notation.content, value),
    };
    let text = pan.map_or_else(|| text.clone(), |pan| without(&text, pan));
    // A digit run of a field that should have been text is a run of anything.
    let anything = field.keep == Keep::Masked || (field.keep != Keep::Emv && text.starts_with(HEX));
    if !anything {
        mask::number(&text).into_owned()
    } else if holds_track(&text) {
        HIDDEN.to_owned()
    } else {
        mask::text(&text).into_owned()
    }
}

/// The text without this card number, also where the field's end cuts its last digit off.
fn without(text: &str, pan: &str) -> Zeroizing<String> {
    let cut = pan.get(..pan.len() - 1).filter(|cut| cut.len() >= SHORTEST_PAN).unwrap_or(pan);
    let shown = mask::pan(pan);
    let masked = text.replace(pan, &shown);
    Zeroizing::new(masked.replace(cut, shown.get(..cut.len()).unwrap_or_default()))
}

const HEX: &str = "hex:";

fn text(content: Content, value: &Value) -> Zeroizing<String> {
    if content == Content::Binary {
        return digits::to_hex(value);
    }
    match std::str::from_utf8(value) {
        Ok(text) if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Zeroizing::new(text.to_owned()),
        _ => prefixed(&digits::to_hex(value)),
    }
}

fn prefixed(hex: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(HEX.len() + hex.len()));
    text.push_str(HEX);
    text.push_str(hex);
    text
}

/// Chip data without card data, in the form it came: bytes or hexadecimal digits. Nothing where it is no BER-TLV.
fn chip_data(content: Content, value: &Value) -> Option<Zeroizing<String>> {
    if content == Content::Binary {
        return emv::kept(value).map(|kept| digits::to_hex(&kept));
    }
    match digits::from_hex(value) {
        Some(bytes) => emv::kept(&bytes).map(|kept| digits::to_hex(&kept)),
        None => emv::kept(value).map(|kept| prefixed(&digits::to_hex(&kept))),
    }
}

/// Whether a card number goes on as on a track: behind it stands a separator, in one of the forms it has in text and in
/// hexadecimal digits.
fn holds_track(text: &str) -> bool {
    let mut run = 0;
    text.bytes().any(|byte| {
        let separated = run >= SHORTEST_PAN && matches!(byte, b'=' | b'^' | b'D');
        run = if byte.is_ascii_digit() || byte == b'*' { run + 1 } else { 0 };
        separated
    })
}

/// The message's own card number, masked.
pub(super) fn card(clear: &Clear) -> Option<String> {
    own_pan(clear).map(mask::pan)
}

/// Whether an account number is a card's: banks that have no other put it there. Card numbers of payment networks have 15
/// to 19 digits and begin with 2 to 6; one in ten of other numbers as long has a right check digit as well.
fn is_pan(value: &[u8]) -> bool {
    matches!(value, [b'2'..=b'6', ..])
        && (15..=19).contains(&value.len())
        && value.iter().all(u8::is_ascii_digit)
        && digits::checks(value)
}

/// The card number that the message is about: field 2, else the beginning of track 2.
fn own_pan(clear: &Clear) -> Option<&str> {
    let digits = |field: u8| {
        let value = clear.field(field)?;
        let count = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
        value.get(..count).filter(|digits| digits.len() >= SHORTEST_PAN)
    };
    digits(2).or_else(|| digits(35)).and_then(|digits| std::str::from_utf8(digits).ok())
}
