//! ISO 8583: framed, and one message alone, whose spec is recognised.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vestibule::profile::Profile;
use vestibule::protocol::framing::Framing;

static PROFILE: LazyLock<Profile> = LazyLock::new(|| Profile::builtin("iso8583-1987").expect("built in"));

fuzz_target!(|data: &[u8]| {
    vestibule_fuzz::decode(&PROFILE, PROFILE.framing, data);
    vestibule_fuzz::decode(&PROFILE, Framing::NONE, data);
});
