//! The rules that come with the gateway.

/// Name and wasm of each.
const BUNDLED: [(&str, &[u8]); 2] = [
    ("cash-low", include_bytes!("../../../plugins/dist/cash-low.wasm")),
    ("dispenser-guard", include_bytes!("../../../plugins/dist/dispenser-guard.wasm")),
];

/// Their names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BUNDLED.iter().map(|row| row.0)
}

/// The wasm of the one with this name.
pub(super) fn find(name: &str) -> Option<&'static [u8]> {
    BUNDLED.iter().find(|row| row.0 == name).map(|row| row.1)
}
