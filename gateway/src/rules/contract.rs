//! The contract of `sdk/wit/rule.wit` as Rust types.

wasmtime::component::bindgen!({
    path: "../sdk/wit",
    world: "rule-plugin",
    imports: { default: trappable },
});
