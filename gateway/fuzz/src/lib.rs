//! What every target does with its bytes.

use vestibule::normalize::{self, Context};
use vestibule::profile::Profile;
use vestibule::protocol::framing::Framing;
use vestibule::protocol::{Decoder, Fault, Message, Stream};

/// Decodes the bytes as they came and cut into pieces, which must give the same; then says what they mean.
///
/// The first byte decides where the cuts are, so that the fuzzer can choose them.
pub fn decode(profile: &Profile, framing: Framing, data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let whole = run(profile, framing, std::iter::once(bytes));
    let pieces = run(profile, framing, bytes.chunks(usize::from(cut % 61) + 1));
    assert_eq!(whole, pieces, "cutting the bytes differently changed what came out");

    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap_or(jiff::tz::TimeZone::UTC);
    let context = Context { profile, time_zone: &zone };
    for message in whole {
        match message {
            Ok(message) => {
                normalize::normalize(&message, &context);
                normalize::good(&message, &context);
            }
            Err(fault) => drop(normalize::fault(&fault)),
        }
    }
}

fn run<'a>(
    profile: &Profile,
    framing: Framing,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Vec<Result<Message, Fault>> {
    let decoder = Decoder::new(profile.protocol, profile).expect("a built-in profile has a decoder");
    let mut stream = Stream::new(framing, decoder);
    let mut out = Vec::new();
    for piece in pieces {
        stream.push(piece, &mut |message| out.push(message));
    }
    stream.finish(&mut |message| out.push(message));
    out
}
