//! XFS4IoT: one message.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vestibule::profile::Profile;

static PROFILE: LazyLock<Profile> = LazyLock::new(|| Profile::builtin("xfs4iot").expect("built in"));

fuzz_target!(|data: &[u8]| {
    vestibule_fuzz::decode(&PROFILE, PROFILE.framing, data);
});
