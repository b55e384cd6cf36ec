//! A message with its card data overwritten in place, for captures: read, overwritten and written by the same table.

use zeroize::Zeroizing;

use super::clear::Clear;
use super::notation::Content;
use super::spec::Field;
use super::{Keep, Options, decode_clear, digits};
use crate::protocol::redact::digits::{any, numbers, overwrite};

/// The frame, as long as before; nothing where no spec explains it. What fills odd digits is as the spec writes it.
pub fn redacted(frame: &[u8], options: &Options) -> Option<Vec<u8>> {
    let (spec, clear) = decode_clear(frame, options).ok()?;
    let mut shown = Clear::new(clear.mti);
    shown.header = clear.header;
    for (number, value) in clear.fields() {
        let mut value = value.clone();
        hide(spec.field(number)?, &mut value);
        shown = shown.with(number, &value);
    }
    let written = spec.encode(&shown).ok()?;
    (written.len() == frame.len()).then(|| written.to_vec())
}

fn hide(field: &Field, value: &mut Zeroizing<Vec<u8>>) {
    let binary = field.notation.content == Content::Binary;
    match field.keep {
        // Of chip data nothing is kept: where its tags stand is not ours to tell here.
        Keep::Hidden | Keep::Emv if binary => value.fill(0),
        Keep::Hidden | Keep::Emv => value.iter_mut().for_each(overwrite),
        _ if binary => {
            let mut hex = Zeroizing::new(digits::to_hex(value).as_bytes().to_vec());
            numbers(&mut hex, any);
            if let Some(bytes) = digits::from_hex(&hex) {
                value.copy_from_slice(&bytes);
            }
        }
        Keep::Pan | Keep::Open | Keep::Account | Keep::Masked => numbers(value, any),
    }
}
