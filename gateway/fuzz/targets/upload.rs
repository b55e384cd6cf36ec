//! Uploaded files.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vestibule::profile::Profile;

static PROFILE: LazyLock<Profile> = LazyLock::new(|| Profile::builtin("atm-handler").expect("built in"));

fuzz_target!(|data: &[u8]| {
    vestibule_fuzz::decode(&PROFILE, PROFILE.framing, data);
});
