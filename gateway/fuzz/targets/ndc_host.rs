//! NDC, host to terminal.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vestibule::profile::Profile;
use vestibule::protocol::ndc::Speaker;

static PROFILE: LazyLock<Profile> = LazyLock::new(|| Profile::builtin("ncr-selfserv-ndc").expect("built in").spoken_by(Speaker::Host));

fuzz_target!(|data: &[u8]| {
    vestibule_fuzz::decode(&PROFILE, PROFILE.framing, data);
});
