//! The masks, alone: no panic, no text longer than it was, and time in proportion to it. Run it with
//! `-max_len=1000000 -timeout=10`: of the 4096 bytes that libFuzzer stops at else, a square takes no time either.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vestibule::mask;

fuzz_target!(|data: &[u8]| {
    mask::bytes(data, data.len());
    let text = String::from_utf8_lossy(data);
    for masked in [mask::number(&text), mask::text(&text), mask::free(&text), mask::printed(&text)] {
        assert_eq!(masked.chars().count(), text.chars().count(), "masking keeps every character's place");
    }
});
