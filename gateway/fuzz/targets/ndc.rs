//! NDC, terminal to host: framed, and one message alone.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vestibule::profile::Profile;
use vestibule::protocol::framing::Framing;

static PROFILE: LazyLock<Profile> = LazyLock::new(|| Profile::builtin("ncr-selfserv-ndc").expect("built in"));

fuzz_target!(|data: &[u8]| {
    vestibule_fuzz::decode(&PROFILE, PROFILE.framing, data);
    vestibule_fuzz::decode(&PROFILE, Framing::NONE, data);
});
