//! The contract of `wit/rule.wit` as Rust types.

wit_bindgen::generate!({
    path: "wit",
    world: "rule-plugin",
    pub_export_macro: true,
    export_macro_name: "export_rule",
    default_bindings_module: "vestibule_sdk::contract",
    additional_derives: [PartialEq],
});
