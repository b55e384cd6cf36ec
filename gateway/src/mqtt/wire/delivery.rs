//! What a broker delivers to a subscriber. Read by hand, in either version: whatever is wrong with one message, the next
//! one is read, so that a message that a broker keeps for us cannot end each connection anew.

use bytes::{Buf, Bytes, BytesMut};

use super::{Garbled, Version};

/// A message that was delivered to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Its topic; what is no UTF-8 in it is replaced.
    pub(crate) topic: String,
    /// What it is acknowledged by; nothing where the broker waits for no acknowledgement.
    pub(crate) id: Option<u16>,
    /// Whether it was kept for whoever comes.
    pub(crate) retained: bool,
    /// What it says, or how many bytes the whole message has where they are too many.
    pub(crate) payload: Result<Bytes, usize>,
}

/// What stands at the front of what was heard.
pub(super) enum Front {
    /// More must be heard first.
    Half,
    /// A message; so many bytes of it are still to be passed over.
    Delivery(Delivery, usize),
}

/// Takes a message, whose first byte is the first that was heard. One with more than `most` bytes is passed over.
pub(super) fn read(version: Version, heard: &mut BytesMut, most: usize) -> Result<Front, Garbled> {
    let broken = |what: &str| Garbled(format!("a message with {what}"));
    let (kind, Some((length, width))) = (heard.first().copied().unwrap_or_default(), varint(heard.get(1..))) else {
        return if heard.len() > 4 { Err(broken("an impossible length")) } else { Ok(Front::Half) };
    };
    let whole = 1 + width + length;
    let too_large = whole > most;
    if heard.len() < whole && !too_large {
        return Ok(Front::Half);
    }
    let body = heard.get(1 + width..heard.len().min(whole)).unwrap_or_default();
    let Some(head) = Head::read(kind, body) else {
        let may_come = too_large && heard.len() < whole;
        return if may_come { Ok(Front::Half) } else { Err(broken("half a head")) };
    };
    if head.id == Some(0) || kind & 0b100 != 0 {
        return Err(broken("a QoS or packet id that cannot be"));
    }
    let (topic, id, retained, at) = (head.topic, head.id, kind & 1 == 1, 1 + width + head.bytes);
    if too_large {
        let now = heard.len().min(whole);
        heard.advance(now);
        return Ok(Front::Delivery(Delivery { topic, id, retained, payload: Err(whole) }, whole - now));
    }
    let mut rest = heard.split_to(whole).freeze();
    rest.advance(at);
    if version == Version::V5 {
        let (length, width) = varint(Some(&rest)).ok_or_else(|| broken("half a head"))?;
        if rest.len() < length + width {
            return Err(broken("properties that are longer than itself"));
        }
        rest.advance(length + width);
    }
    Ok(Front::Delivery(Delivery { topic, id, retained, payload: Ok(rest) }, 0))
}

struct Head {
    topic: String,
    id: Option<u16>,
    bytes: usize,
}

impl Head {
    fn read(kind: u8, body: &[u8]) -> Option<Head> {
        let (length, rest) = body.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (topic, rest) = (rest.get(..length)?, rest.get(length..)?);
        let acknowledged = kind & 0b110 != 0;
        let id = if acknowledged { Some(u16::from_be_bytes(*rest.first_chunk::<2>()?)) } else { None };
        let bytes = 2 + length + if acknowledged { 2 } else { 0 };
        Some(Head { topic: String::from_utf8_lossy(topic).into_owned(), id, bytes })
    }
}

/// A length of one to four bytes, and how many.
pub(super) fn varint(bytes: Option<&[u8]>) -> Option<(usize, usize)> {
    let mut value = 0;
    for (at, byte) in bytes?.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}
